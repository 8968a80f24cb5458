"""Gleason scores and ISUP grade groups, and the table in which PANDA states both for every slide."""

from collections.abc import Collection
from dataclasses import dataclass

from acinus.cohorts.tables import csv_rows, keyed_rows
from acinus.errors import AcinusError
from acinus.records import LONGEST_ID, is_safe_id

ISUP = range(6)
"""Grade groups: 0 is no cancer, 5 the worst."""

NEEDED = ("image_id", "data_provider", "isup_grade", "gleason_score")

_ISUP_OF = {"negative": 0, "0+0": 0, "3+3": 1, "3+4": 2, "4+3": 3, "4+4": 4, "3+5": 4, "5+3": 4}
_ISUP_OF |= {"4+5": 5, "5+4": 5, "5+5": 5}
"""Primary + secondary Gleason pattern -> grade group (ISUP consensus of 2014)."""


@dataclass(frozen=True)
class Graded:
    """One row of train.csv; gleason as it is written there."""

    image_id: str
    provider: str
    isup: int
    gleason: str


def isup_of(gleason: str) -> int:
    """Return the ISUP grade group, 0..5, of a Gleason score (3+4, 0+0, negative).

    Raises:
        AcinusError: text that is no Gleason score.
    """
    text = "".join(gleason.split()).lower()
    if text not in _ISUP_OF:
        raise AcinusError(f"{gleason!r} is no Gleason score; expected one of {', '.join(_ISUP_OF)}")
    return _ISUP_OF[text]


def parse_grades(text: str, name: str, providers: Collection[str]) -> dict[str, Graded]:
    """Return image_id -> row of train.csv (image_id, data_provider, isup_grade, gleason_score, in any order).

    Other columns may stand beside these; what they say is not read.

    Raises:
        AcinusError: names the file and the row of a provider other than `providers`, a grade outside 0..5, a
            score that is none, an id that stands twice or is no safe file name, a missing column or field.
    """
    grades: dict[str, Graded] = {}
    seen: set[str] = set()
    for where, row in keyed_rows(text, name, NEEDED, optional=None):
        graded = _graded(row, where, providers)
        if graded.image_id.casefold() in seen:
            raise AcinusError(f"{where}: image_id {graded.image_id!r} stands twice; keep one row")
        seen.add(graded.image_id.casefold())
        grades[graded.image_id] = graded
    return grades


def _graded(row: dict[str, str], where: str, providers: Collection[str]) -> Graded:
    image_id, provider, isup, gleason = (row[column] for column in NEEDED)
    if len(image_id) > LONGEST_ID:
        raise AcinusError(
            f"{where}: image_id {image_id!r} is too long; rename it and its files to at most {LONGEST_ID} characters"
        )
    if not is_safe_id(image_id):
        raise AcinusError(
            f"{where}: image_id {image_id!r} is not safe as a file name; use letters, digits, '_', '-' and '.'"
        )
    if provider not in providers:
        raise AcinusError(
            f"{where}: image_id {image_id}: data_provider {provider!r}; expected {', '.join(sorted(providers))}"
        )
    if isup not in {str(grade) for grade in ISUP}:
        raise AcinusError(
            f"{where}: image_id {image_id}: isup_grade {isup!r}; expected a whole number from {ISUP[0]} to {ISUP[-1]}"
        )
    try:
        isup_of(gleason)
    except AcinusError as error:
        raise AcinusError(f"{where}: image_id {image_id}: gleason_score {error}") from error
    return Graded(image_id, provider, int(isup), gleason)


def parse_doubtful(text: str, name: str) -> dict[str, str]:
    """Return image_id -> why a slide is doubtful, from a list with image_id first and, if wanted, a column reason.

    Such lists cover whole data sets, so they may name slides that are not here; a slide that stands
    twice has both reasons.

    Raises:
        AcinusError: names the file and the row that cannot be read.
    """
    (_, header), *rows = csv_rows(text, name) or [(1, [])]
    if header[:1] != ["image_id"]:
        raise AcinusError(
            f"{name}: row 1: the first column is {header[0] if header else 'not there'}; expected image_id"
        )
    reasons: dict[str, list[str]] = {}
    for number, cells in rows:
        if len(cells) > len(header) or not cells[0]:
            raise AcinusError(
                f"{name}: row {number}: expected an image_id and {len(header)} fields at most; correct the row"
            )
        reason = cells[header.index("reason")] if "reason" in header[: len(cells)] else ""
        of_slide = reasons.setdefault(cells[0], [])
        if reason and reason not in of_slide:
            of_slide.append(reason)
    return {image_id: ", ".join(of_slide) or f"listed in {name}" for image_id, of_slide in reasons.items()}
