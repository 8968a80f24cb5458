"""What is learned of whole slides: a column of the cohort's table, or the manifest's grade or label, as numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal

from acinus import params
from acinus.errors import AcinusError
from acinus.labels.near import LONGEST, near_duplicates, slips
from acinus.scoring.decisions import CLASSED

Kind = Literal["binary", "classes", "ordinal", "regression", "survival"]
MISSING = frozenset({"", "na", "n/a", "nan", "null", "unknown", "missing", "?", "-"})
"""Texts, in lower case, that say a label is not known, unless grade.classes names them."""

OF_MANIFEST: dict[str, tuple[str, ...]] = {
    "isup": tuple(f"ISUP {grade}" for grade in range(6)),
    "tumor": ("normal", "tumor"),
}
"""Targets that the manifest has, and their classes."""
KINDS: dict[str, Kind] = {"isup": "ordinal", "tumor": "binary"}

MOST_CLASSES = 64
SHOWN = 5
"""So many slides or texts a message names."""

Texts = Mapping[str, str | None]
"""slide_id -> what its table says, None where nothing."""


@dataclass(frozen=True)
class Truth:
    """What is known of a slide. text: as in the table. value: class index, value or time; None where unknown.

    event: survival alone, 1 it happened at that time, 0 not until then.
    """

    text: str | None = None
    value: float | None = None
    event: int | None = None


@dataclass(frozen=True)
class Target:
    """A target read. name: as in grade.target. classes: what 0, 1, ... mean, () of numbers. truth: of every slide.

    notes: a line each for what a person should know of it.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    truth: Mapping[str, Truth]
    notes: tuple[str, ...] = ()

    @property
    def classed(self) -> bool:
        """Whether it is one of a few classes."""
        return self.kind in CLASSED


def read_target(
    grade: params.Grade, rows: Sequence[Mapping[str, Any]], labels: Mapping[str, Mapping[str, str]]
) -> Target:
    """Return the target of a recipe. rows: the usable slides of records.MANIFEST. labels: of Paths.slide_labels.

    Raises:
        AcinusError: a column that is absent or constant, a class that looks like a slip of the pen, no number where one
            is needed, times and events that cannot be.
    """
    ids = [row["slide_id"] for row in rows]
    if grade.target == "isup":
        texts: Texts = {row["slide_id"]: _isup(row["isup"]) for row in rows}
    elif grade.target == "tumor":
        texts = {row["slide_id"]: row["slide_label"] for row in rows}
    else:
        texts = _column(grade.target, "grade.target", ids, labels)
    kind = grade.kind or KINDS.get(grade.target)
    if kind is None:
        raise AcinusError(
            f"grade.kind: missing; say what {grade.target!r} is: binary, classes, ordinal, regression or survival"
        )
    classes = tuple(grade.classes or OF_MANIFEST.get(grade.target, ()))
    known = {slide: text for slide, text in texts.items() if text is not None and _is_known(text, classes)}
    if kind in CLASSED:
        target = _classed(grade, kind, known, classes)
    elif kind == "regression":
        target = Target(grade.target, kind, (), _numbers(known, grade.target))
    else:
        target = _survival(grade, known, ids, labels)
    _refuse_constant(target)
    truth = {slide: target.truth.get(slide, Truth()) for slide in ids}
    missing = [slide for slide, one in truth.items() if one.value is None]
    notes = [*target.notes]
    if missing:
        notes.append(f"{len(missing)} slides without {grade.target}: predicted, not learned from ({some(missing)})")
    notes += two_labels(rows, replace(target, truth=truth))
    return replace(target, truth=truth, notes=tuple(notes))


def _isup(grade: int | None) -> str | None:
    return None if grade is None else OF_MANIFEST["isup"][int(grade)]


def _is_known(text: str, classes: Sequence[str]) -> bool:
    return text in classes or text.strip().casefold() not in MISSING


def _column(name: str, key: str, ids: Iterable[str], labels: Mapping[str, Mapping[str, str]]) -> dict[str, str | None]:
    """Return slide_id -> text of a column, whose case does not matter."""
    columns = dict.fromkeys(column for of_slide in labels.values() for column in of_slide)
    as_written = name if name in columns else {c.casefold(): c for c in columns}.get(name.casefold())
    if as_written is None:
        there = ", ".join(columns) or "none at all"
        raise AcinusError(f"{key} = {name!r}: no such column of labels; the cohort's table has: {there}")
    return {slide: labels.get(slide, {}).get(as_written) for slide in ids}


# ---------------------------------------------------------------- classes


def _classed(grade: params.Grade, kind: Kind, texts: Mapping[str, str], classes: tuple[str, ...]) -> Target:
    counts = Counter(texts.values())
    notes = []
    if len(counts) > MOST_CLASSES:
        raise AcinusError(
            f"grade.kind = {kind}: {grade.target} has {len(counts)} different texts, at most {MOST_CLASSES} can be "
            "classes; write regression if they are numbers, or name another column"
        )
    long = next((slide for slide, text in texts.items() if len(text) > LONGEST), None)
    if long is not None:
        raise AcinusError(
            f"{grade.target}: slide {long} has a text of {len(texts[long])} characters, which is no class (at most "
            f"{LONGEST}); shorten it in the table, or name another column"
        )
    if classes:
        _refuse_strangers(grade.target, counts, classes)
        absent = [name for name in classes if name not in counts]
        if absent and grade.target not in OF_MANIFEST:
            notes.append(f"grade.classes: no slide is {', '.join(absent)}; such an answer is never learned")
    else:
        _refuse_near(grade.target, counts)
        classes = _in_order(grade.target, kind, counts)
        if kind == "binary" and len(classes) == 2:
            notes.append(
                f"{grade.target}: positive is {classes[1]!r}; grade.classes: [negative, positive] says otherwise"
            )
    if kind == "binary" and len(classes) != 2:
        listed = ", ".join(f"{text} ({count})" for text, count in counts.most_common(SHOWN))
        raise AcinusError(
            f"grade.kind = binary: {grade.target} has {len(classes)} classes: {listed}; write classes or ordinal, or "
            "correct the table"
        )
    index = {name: float(place) for place, name in enumerate(classes)}
    truth = {slide: Truth(text, index[text]) for slide, text in texts.items()}
    return Target(grade.target, kind, classes, truth, tuple(notes))


def _in_order(name: str, kind: Kind, counts: Mapping[str, int]) -> tuple[str, ...]:
    """Return the texts as classes: by number where all are numbers, else by text, which an ordinal cannot be."""
    numbers = {text: _number(text) for text in counts}
    if all(number is not None for number in numbers.values()):
        return tuple(sorted(counts, key=lambda text: (numbers[text] or 0.0, text)))
    if kind == "ordinal":
        raise AcinusError(
            f"grade.classes: missing; {name} is ordinal and its texts are no numbers; write them from the least to the "
            f"worst: {', '.join(sorted(counts)[:20])}"
        )
    return tuple(sorted(counts))


def _refuse_strangers(name: str, counts: Mapping[str, int], classes: Sequence[str]) -> None:
    for text in sorted(set(counts) - set(classes)):
        near = [other for other in classes if near_duplicates(text, other)]
        meant = f"; is {near[0]!r} meant?" if near else "."
        raise AcinusError(
            f"{name}: {text!r} ({counts[text]} slides) is none of grade.classes ({', '.join(classes)}){meant} Correct "
            "the table, add it to grade.classes, or empty the cell to leave the slide out of the learning"
        )


def _refuse_near(name: str, counts: Mapping[str, int]) -> None:
    """Refuse two texts that differ by case or spaces, or of which one is rare and a slip of the pen away."""
    for text, other in slips(counts).items():
        raise AcinusError(
            f"{name}: {text!r} ({counts[text]} slides) is nearly {other!r} ({counts[other]} slides); correct the "
            "table, or name both in grade.classes if they are two classes"
        )


# ---------------------------------------------------------------- numbers


def _number(text: str) -> float | None:
    """Return a text as a finite number; None where it is none (1_000, inf and nan are none)."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and "_" not in text else None


def _numbers(texts: Mapping[str, str], name: str) -> dict[str, Truth]:
    bad = [f"{slide}: {text!r}" for slide, text in texts.items() if _number(text) is None]
    if bad:
        raise AcinusError(
            f"{name}: {len(bad)} texts are no finite number ({some(bad)}); write numbers with a point and without a "
            "unit, or empty the cell"
        )
    return {slide: Truth(text, _number(text)) for slide, text in texts.items()}


def _survival(
    grade: params.Grade, texts: Mapping[str, str], ids: Iterable[str], labels: Mapping[str, Mapping[str, str]]
) -> Target:
    if grade.event is None:
        raise AcinusError("grade.event: missing; name the column that is 1 where the event happened, 0 where not")
    times = _numbers(texts, grade.target)
    bad = [f"{slide}: {time.text}" for slide, time in times.items() if (time.value or 0.0) <= 0]
    if bad:
        raise AcinusError(
            f"{grade.target}: {len(bad)} times are not above 0 ({some(bad)}); a time counts from the start of "
            "observation; correct the table, or empty the cell"
        )
    column = _column(grade.event, "grade.event", ids, labels)
    events = {slide: text for slide, text in column.items() if text is not None and _is_known(text, ())}
    known = {slide: _number(text) for slide, text in events.items()}
    odd = [f"{slide}: {events[slide]!r}" for slide, value in known.items() if value not in (0.0, 1.0)]
    if odd:
        raise AcinusError(
            f"{grade.event}: {len(odd)} texts are neither 1 nor 0 ({some(odd)}); write 1 where the event happened at "
            f"{grade.target}, 0 where the patient was last seen without it"
        )
    both = {slide: time for slide, time in times.items() if slide in known}
    half = sorted(set(times) ^ set(known))
    truth = {slide: replace(time, event=int(known[slide] or 0)) for slide, time in both.items()}
    notes = (f"{len(half)} slides have only one of {grade.target} and {grade.event} ({some(half)})",) if half else ()
    if truth and not any(one.event for one in truth.values()):
        raise AcinusError(f"{grade.event}: 0 for all {len(truth)} slides; without an event there is nothing to learn")
    return Target(grade.target, "survival", (), truth, notes)


# ---------------------------------------------------------------- all kinds


def _refuse_constant(target: Target) -> None:
    values = {known.value for known in target.truth.values() if known.value is not None}
    if len(values) < 2:
        texts = {known.text for known in target.truth.values()} - {None}
        what = (
            f"is {texts.pop()!r} for all {len(target.truth)} labelled slides" if texts else "says nothing of any slide"
        )
        raise AcinusError(f"grade.target = {target.name!r}: {what}; there is nothing to learn")


def two_labels(rows: Sequence[Mapping[str, Any]], target: Target) -> Iterator[str]:
    """Yield a line where slides of one patient have different labels.

    That is right where the label is of the slide, and folds by patient keep them together; of an outcome it is wrong.

    Raises:
        AcinusError: two times or events of one patient.
    """
    of_patient: dict[str, dict[tuple[float | None, int | None], str]] = {}
    for row in rows:
        known = target.truth[row["slide_id"]]
        if known.value is not None:
            of_patient.setdefault(row["patient"], {}).setdefault((known.value, known.event), row["slide_id"])
    mixed = {patient: slides for patient, slides in of_patient.items() if len(slides) > 1}
    if not mixed or target.kind == "regression":
        return
    patient, slides = next(iter(sorted(mixed.items())))
    pairs = " and ".join(f"{_said(target.truth[slide])} ({slide})" for slide in sorted(slides.values())[:2])
    if target.kind == "survival":
        raise AcinusError(f"{target.name}: patient {patient} has {pairs}; a patient has one outcome; correct the table")
    yield (
        f"{len(mixed)} patient{'s' if len(mixed) > 1 else ''} with slides of several labels, as {patient}: {pairs}; "
        f"correct the table if {target.name} is of the patient and not of the slide"
    )


def _said(known: Truth) -> str:
    return f"{known.text}" if known.event is None else f"{known.text} with event {known.event}"


def some(names: Sequence[str]) -> str:
    """Return the first few names."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
