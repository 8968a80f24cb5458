"""What a CAMELYON cohort says of whole slides: reference.csv of the 2016 test set, stage labels of 2017."""

from collections.abc import Collection
from typing import Literal

from acinus.cohorts.tables import SEPARATORS, csv_rows
from acinus.errors import AcinusError

Verdict = Literal["normal", "tumor", "itc"]

FILES = frozenset({"reference.csv", "stage_labels.csv", "stages.csv"})
"""Names of such files, anywhere below the root."""

MEANINGS: dict[str, Verdict] = {
    "normal": "normal",
    "negative": "normal",
    "tumor": "tumor",
    "tumour": "tumor",
    "macro": "tumor",
    "micro": "tumor",
    "itc": "itc",
}
"""Second column, lower case -> what the slide is. itc: isolated tumour cells, neither positive nor normal."""

_HEADS = frozenset({"patient", "slide", "slide_id", "image", "image_id", "id", "name", "filename", "file"})
SLIDE_SUFFIXES = (".bif", ".dcm", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vms", ".vmu")
"""Of the files that are slides of family camelyon."""


def parse_reference(text: str, name: str, known: Collection[str]) -> dict[str, Verdict]:
    """Return slide_id -> normal, tumor or itc for the slides in `known`.

    Rows: id (with or without a slide's suffix, in any case), verdict, then columns that do not matter here (type,
    extent). A header may stand first. Rows of slides that are not here, and patient rows of CAMELYON17
    (patient_004.zip, pN1), are passed over: the published files list whole data sets.

    Raises:
        AcinusError: names file and row of an unknown verdict or of two that differ; a file that names none of `known`.
    """
    verdicts: dict[str, Verdict] = {}
    by_name = {slide_id.casefold(): slide_id for slide_id in known}
    rows = csv_rows(text, name)
    for place, (number, fields) in enumerate(rows):
        slide_id = by_name.get(_slide_id(fields[0]).casefold())
        if len(fields) == 1 and any(separator in fields[0] for separator in SEPARATORS):
            raise AcinusError(f"{name}: row {number}: another separator than in row {rows[0][0]}; save it with one")
        if slide_id is None or (place == 0 and fields[0].lower() in _HEADS):
            continue
        verdict = MEANINGS.get(fields[1].lower()) if len(fields) > 1 else None
        if verdict is None:
            stated = repr(fields[1]) if len(fields) > 1 else "nothing"
            raise AcinusError(
                f"{name}: row {number}: {slide_id} is {stated}; expected one of {', '.join(sorted(MEANINGS))}"
            )
        if verdicts.setdefault(slide_id, verdict) != verdict:
            raise AcinusError(
                f"{name}: row {number}: {slide_id} is {verdict} here and {verdicts[slide_id]} above; keep one row"
            )
    if not verdicts:
        first = f"; its row {rows[0][0]} begins with {rows[0][1][0]!r}" if rows else ": it is empty"
        raise AcinusError(
            f"{name}: names no slide of this cohort{first}; write a slide's id, a comma, semicolon or tab and what it "
            "is (tumor_001,Tumor), or move the file away"
        )
    return verdicts


def _slide_id(text: str) -> str:
    for suffix in SLIDE_SUFFIXES:
        if text.lower().endswith(suffix):
            return text[: -len(suffix)]
    return text
