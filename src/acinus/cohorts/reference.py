"""What a CAMELYON cohort says of whole slides: reference.csv of the 2016 test set, stage labels of 2017."""

import csv
import io
from collections.abc import Collection
from typing import Literal

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
        AcinusError: names file and row of an unknown verdict or of two that differ.
    """
    verdicts: dict[str, Verdict] = {}
    by_name = {slide_id.casefold(): slide_id for slide_id in known}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for number, cells in enumerate(reader, start=1):
            fields = [cell.strip() for cell in cells]
            if not any(fields) or (number == 1 and fields[0].lower() in _HEADS):
                continue
            slide_id = by_name.get(_slide_id(fields[0]).casefold())
            if slide_id is None:
                continue
            verdict = MEANINGS.get(fields[1].lower()) if len(fields) > 1 else None
            if verdict is None:
                found = repr(fields[1]) if len(fields) > 1 else "nothing"
                raise AcinusError(
                    f"{name}: row {number}: {slide_id} is {found}; expected one of {', '.join(sorted(MEANINGS))}"
                )
            if verdicts.setdefault(slide_id, verdict) != verdict:
                raise AcinusError(
                    f"{name}: row {number}: {slide_id} is {verdict} here and {verdicts[slide_id]} above; keep one row"
                )
    except csv.Error as error:
        raise AcinusError(f"{name}: row {reader.line_num}: not CSV ({error}); correct the row") from error
    return verdicts


def _slide_id(text: str) -> str:
    for suffix in SLIDE_SUFFIXES:
        if text.lower().endswith(suffix):
            return text[: -len(suffix)]
    return text
