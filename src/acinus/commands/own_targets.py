"""Which columns of a table can be learned as labels of whole slides, and what kind of label each holds: a guess."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from acinus.cohorts.slides_table import Joined, SlidesTable
from acinus.commands.own_meanings import MOST_VALUES, LabelColumn, is_patient, label_columns
from acinus.labels.near import LONGEST, slips

Kind = Literal["binary", "classes", "ordinal", "regression", "survival"]
FEWEST = 2
"""A text of fewer slides is in no fold of its own: said, but kept."""
_TIME = re.compile(r"(overall|progression|disease|os|pfs|dfs|rfs|survival|follow).*|(time|months?|days?|years?)\b.*")
_EVENT = re.compile(r"(.*\b)?(event|status|censor(ed|ing)?|death|dead|died|deceased|relapse|recurrence)(\b.*)?")
_GRADED = re.compile(r"(.*\b)?(grade|isup|stage|score|gleason|degree|level)(\b.*)?")
_UNKNOWN = frozenset({"", "na", "n/a", "nan", "null", "unknown", "missing", "?", "-"})
"""Texts that the learning takes for unknown (grading.targets)."""


@dataclass(frozen=True)
class TargetSeen:
    """A column that can be learned. classes: its texts in order, the negative first; empty for numbers and times.

    event: with survival, the column of events. slides: that have a label. why: what the guess rests on. slips: text ->
    the class that is probably meant; no class itself.
    """

    column: str
    kind: Kind
    slides: int
    why: str
    classes: tuple[str, ...] = ()
    event: str | None = None
    slips: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """The column, its kind and how many slides have it, for a comment."""
        event = f" with {self.event}" if self.event else ""
        return f"{self.column}{event} ({self.kind}, {self.slides} slides)"


def targets_of(table: SlidesTable | None, joined: Joined) -> list[TargetSeen]:
    """Return the columns that can be learned, the likeliest to be meant first.

    First those that tell normal from tumour, then other classes, grades, times with an event, numbers; within a kind
    in the table's order.
    """
    texts = {
        name: [text for entry in joined.by_slide.values() if (text := entry.labels.get(name, "")).strip()]
        for name in (table.label_columns if table else ())
    }
    known = {name: [text for text in of_column if not _is_unknown(text)] for name, of_column in texts.items()}
    of_tumour = {one.name: one for one in label_columns(table, joined) if one.values}
    events = [name for name in known if _EVENT.fullmatch(_plain(name)) and set(known[name]) <= {"0", "1"}]
    found = [
        seen
        for name, of_column in known.items()
        if (seen := _target(name, of_column, of_tumour.get(name), events)) is not None
    ]
    order = ["binary", "classes", "ordinal", "survival", "regression"]
    return sorted(found, key=lambda one: (one.column not in of_tumour, order.index(one.kind)))


def _target(name: str, texts: Sequence[str], tumour: LabelColumn | None, events: Sequence[str]) -> TargetSeen | None:
    """Return what a column holds; None of one that cannot be learned: constant, a name of each slide, a patient's."""
    counts, numbers = Counter(texts), [_number(text) for text in texts]
    if len(counts) < 2 or is_patient(name) or name in events:
        return None
    numeric = all(number is not None for number in numbers)
    if numeric and len(counts) > 2 and _TIME.fullmatch(_plain(name)) and events and min(n or 0 for n in numbers) > 0:
        why = f"Times, and {events[0]} says whether the event was seen."
        return TargetSeen(name, "survival", len(texts), why, event=events[0])
    if numeric and len(counts) > 2 and (len(counts) > MOST_VALUES or not _graded(name, counts)):
        return TargetSeen(name, "regression", len(texts), f"{len(counts)} different numbers.")
    if len(counts) > MOST_VALUES or any(len(text) > LONGEST for text in counts):
        return None
    meant = slips(counts)
    if meant and len(counts) - len(meant) >= 2:
        counts = Counter({text: count for text, count in counts.items() if text not in meant})
    else:  # one class under two names is none to learn; a person sees both
        meant = {}
    kind: Kind = "binary" if len(counts) == 2 else "ordinal" if numeric else "classes"
    return TargetSeen(name, kind, len(texts), _why(counts, kind), _order(counts, tumour, numeric), slips=meant)


def _graded(name: str, counts: Mapping[str, int]) -> bool:
    """Return whether numbers are grades: so called, or a few whole ones that begin at 0 or 1."""
    whole = [
        int(number) for text in counts if (number := _number(text)) is not None and number >= 0 and number % 1 == 0
    ]
    if len(whole) < len(counts):
        return False
    return _GRADED.fullmatch(_plain(name)) is not None or (min(whole) <= 1 and max(whole) <= len(whole) + 1)


def _order(counts: Mapping[str, int], tumour: LabelColumn | None, numeric: bool) -> tuple[str, ...]:
    """Return the texts as classes: by number; else what means normal first, the rest by the alphabet."""
    if numeric:
        return tuple(sorted(counts, key=float))
    means = tumour.values if tumour else {}
    return tuple(sorted(counts, key=lambda text: (means.get(text) == "tumor", text)))


def _why(counts: Mapping[str, int], kind: Kind) -> str:
    shown = ", ".join(f"{text!r} {count}" for text, count in sorted(counts.items()))
    few = [repr(text) for text, count in counts.items() if count < FEWEST]
    guess = {"ordinal": "Numbers in an order: ", "binary": "Two texts: ", "classes": "Texts: "}[kind]
    return f"{guess}{shown}." + (f" Rare: {', '.join(sorted(few))}." if few else "")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and "_" not in text else None


def _is_unknown(text: str) -> bool:
    return text.strip().casefold() in _UNKNOWN


def _plain(title: str) -> str:
    return re.sub(r"[\s_.-]+", " ", title.casefold()).strip()
