"""DICOM slides are several files, a level each, and open from any of them: which of them stands for the slide."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from acinus.cohorts.adapter import Row, some
from acinus.errors import AcinusError
from acinus.slides import dicom
from acinus.slides.open import below

SUFFIXES = frozenset({"", ".dcm", ".dicom"})
"""Of files that may be DICOM: archives give theirs none."""


def one_per_series(rows: Sequence[Row], root: Path) -> list[Row]:
    """Return the manifest rows with one slide for every DICOM series; all files else would be slides with one picture.

    The file that has an annotation stands for the slide, else one that splits.csv names, else the first by id; its
    fingerprint covers them all. Among equals one that opened is taken. The others become excluded; a bad one keeps its
    reason. A series with two annotations is bad. Rows that are excluded already, and files without a DICOM header,
    belong to no series.
    """
    members: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        if PurePosixPath(row["image"]).suffix.lower() in SUFFIXES and row["status"] != "excluded":
            series = series_of(root, row["image"])
            if series is not None:
                members.setdefault(series, []).append(number)
    result = list(rows)
    for numbers in members.values():
        if len(numbers) > 1:
            for number, row in zip(numbers, _settled([rows[number] for number in numbers]), strict=True):
                result[number] = row
    return result


def series_of(root: Path, image: str) -> str | None:
    """Return the series that a DICOM file below the root is of (one acquisition of one slide), None where none is."""
    try:
        return dicom.series_of(below(root, image))
    except AcinusError:  # it leads out of the root, which whoever examined the file has said
        return None


def first_of_series(root: Path, images: Iterable[str]) -> dict[str, str]:
    """Return DICOM file -> the first by name of the files of its series among `images`; other files are left out."""
    first: dict[str, str] = {}
    result = {}
    for image in sorted(images):
        if PurePosixPath(image).suffix.lower() in SUFFIXES:
            series = series_of(root, image)
            if series is not None:
                result[image] = first.setdefault(series, image)
    return result


def _settled(rows: list[Row]) -> list[Row]:
    """Return the rows of one series, one of them for the slide."""
    first = min(rows, key=_standing)
    fingerprints = "\n".join(sorted(row["fingerprint"] for row in rows))
    slide = first | {"fingerprint": hashlib.blake2b(fingerprints.encode(), digest_size=16).hexdigest()}
    labelled = sorted(row["slide_id"] for row in rows if row["label_source"] is not None)
    if len(labelled) > 1:
        reason = f"annotations of several files of one DICOM series ({some(labelled)}); keep one"
        slide |= {"status": "bad", "reason": f"slide {first['slide_id']}: {reason}"}
    why = f"a file of the DICOM series of slide {first['slide_id']}"
    return [
        slide if row is first else row | {"status": "excluded", "reason": "; ".join(filter(None, [why, row["reason"]]))}
        for row in rows
    ]


def _standing(row: Row) -> tuple[bool, bool, bool, str]:
    """Return what the file that stands for its series has less of than all others."""
    return row["label_source"] is None, row["split_rule"] != "splits.csv", row["status"] != "ok", row["slide_id"]
