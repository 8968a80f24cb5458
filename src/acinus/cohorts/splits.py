"""Which slide serves training, validation and test: splits.csv where given, else a seeded draw by group."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from acinus.cohorts.tables import keyed_rows
from acinus.errors import AcinusError
from acinus.params.base import SPLITS
from acinus.seeds import derive

NEEDED = ("slide_id", "split", "patient")
OPTIONAL = ("provider",)
GROUPED = ("slide_id", "patient")
NO_PROVIDER = "unknown"
"""Provider (site) of slides of which none is known."""
UNKNOWN = "unknown"
"""The stratum of slides of which nothing is known: the only one that may give nothing to val and test."""


@dataclass(frozen=True)
class Listed:
    """One row of splits.csv."""

    split: str
    patient: str
    provider: str | None


@dataclass(frozen=True)
class Member:
    """A slide that needs a split. group: patient or slide; label: what to stratify by; split: if already decided.

    within: a second trait, to be spread over the splits of its stratum as evenly as whole groups allow.
    """

    slide_id: str
    group: str
    label: str
    split: str | None
    within: str = ""


def parse_splits(text: str, name: str, known: Collection[str]) -> dict[str, Listed]:
    """Return slide_id -> Listed from the text of splits.csv (slide_id, split, patient[, provider], in any order).

    Raises:
        AcinusError: names the file and the row of an unknown slide, an unknown split, a slide that stands
            twice, an empty field, missing or unknown columns, or text that is no CSV.
    """
    listed: dict[str, Listed] = {}
    for where, row in _of_slides(keyed_rows(text, name, NEEDED, OPTIONAL), NEEDED, known):
        if row["split"] not in SPLITS:
            raise AcinusError(f"{where}: split {row['split']!r}; expected {', '.join(SPLITS)}")
        listed[row["slide_id"]] = Listed(row["split"], row["patient"], row.get("provider") or None)
    return listed


def parse_groups(text: str, name: str, known: Collection[str]) -> dict[str, str]:
    """Return slide_id -> patient from the text of groups.csv (slide_id, patient); as strict as parse_splits."""
    rows = _of_slides(keyed_rows(text, name, GROUPED), GROUPED, known)
    return {row["slide_id"]: row["patient"] for _, row in rows}


def _of_slides(
    rows: Iterable[tuple[str, dict[str, str]]], needed: Sequence[str], known: Collection[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the records after a look at their needed fields: one row per known slide."""
    seen: set[str] = set()
    for where, row in rows:
        for column in needed:
            if not row[column]:
                raise AcinusError(f"{where}: {column} is empty; give it a value")
        slide_id = row["slide_id"]
        if slide_id not in known:
            raise AcinusError(f"{where}: slide_id {slide_id!r} is no slide of this cohort; correct or remove the row")
        if slide_id in seen:
            raise AcinusError(f"{where}: slide_id {slide_id!r} stands twice; keep one row")
        seen.add(slide_id)
        yield where, row


def assign(
    members: Sequence[Member], val_fraction: float, seed: int, test_fraction: float = 0.0, table: str = "splits.csv"
) -> dict[str, str]:
    """Return slide_id -> train, val or test; slides of one group stay together.

    Undecided groups are divided stratum by stratum. A group's stratum is the largest label of its slides
    (a group with a tumour slide is a tumour group, isup5 goes before isup1), UNKNOWN only where no slide
    has another. First test_fraction of a stratum's groups go to test: with a fraction above 0 at least one where
    there are three groups or more, and always so few that train and val can have one each. Of the others
    val_fraction go to val: at least one and not all where a stratum has two groups or more, none where
    it has one. Slides of UNKNOWN may give none. A group's place in the order depends on the seed and its own
    name alone, so that one slide more moves at most one other group per stratum and draw; only where
    members have a `within` may it be a few. table: where a person says the splits, for messages.

    Raises:
        AcinusError: a group whose slides have different decided splits, or are only in part decided.
    """
    groups: dict[str, list[Member]] = {}
    for slide in sorted(members, key=lambda member: member.slide_id):
        slides = groups.setdefault(slide.group, [])
        slides.append(slide)
        if slide.split != slides[0].split:
            raise AcinusError(
                f"patient {slide.group}: slide {slides[0].slide_id} is in {slides[0].split or 'no split yet'}, "
                f"slide {slide.slide_id} in {slide.split or 'no split yet'}; list all "
                f"slides of the patient in {table} with one split, or, where an official split shares patients, with "
                "the split of each, and say why in cohort.allow_shared_patients"
            )
    decided = {group: slides[0].split for group, slides in groups.items()}
    strata: dict[str, dict[str, str]] = {}
    for group, slides in groups.items():
        if decided[group] is None:
            stratum = max({slide.label for slide in slides} - {UNKNOWN}, default=UNKNOWN)
            strata.setdefault(stratum, {})[group] = max(slide.within for slide in slides)
    for stratum, kinds in strata.items():
        least = 0 if stratum == UNKNOWN else 1
        test = _first(kinds, test_fraction, least, len(kinds) - 2, derive(seed, "test")) if test_fraction else []
        others = {group: kind for group, kind in kinds.items() if group not in set(test)}
        val = _first(others, val_fraction, least, len(others) - 1, seed)
        decided |= dict.fromkeys(others, "train") | dict.fromkeys(test, "test") | dict.fromkeys(val, "val")
    return {slide.slide_id: str(decided[slide.group]) for slide in members}


def _first(kinds: Mapping[str, str], fraction: float, least: int, most: int, seed: int) -> list[str]:
    """Return `fraction` of the groups (group -> kind), at most `most` and, as far as that allows, at least `least`.

    The kinds come in turn, each in proportion to its number.
    """
    drawn: dict[str, list[tuple[int, str]]] = {}
    for order, group in sorted((derive(seed, "split", group), group) for group in kinds):
        drawn.setdefault(kinds[group], []).append((order, group))
    turns = sorted(
        ((place + 0.5) / len(of_kind), order, group)
        for of_kind in drawn.values()
        for place, (order, group) in enumerate(of_kind)
    )
    count = min(max(int(len(kinds) * fraction + 0.5), least), max(0, most))
    return [group for _, _, group in turns[:count]]
