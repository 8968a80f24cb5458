"""CAMELYON16/17 on disk: which files are slides, what is known of each, and what opening them shows.

Slides, annotations and masks may lie anywhere below the root; what belongs together has one stem:
tumor_001.tif, tumor_001.xml, tumor_001_mask.tif; patient_017_node_2.tif.
"""

import re
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from acinus import params
from acinus.cohorts import adapter, dicom, tables
from acinus.cohorts.adapter import Order, Row, new_row
from acinus.cohorts.slide_names import stem_of
from acinus.cohorts.tables import SEPARATORS, csv_rows
from acinus.errors import AcinusError, SlideError
from acinus.labels.labels import LabelRow, LabelRules, check_source, tumour_left
from acinus.slides import brightfield
from acinus.slides.open import below

Verdict = Literal["normal", "tumor", "itc"]

TABLES = frozenset({"reference.csv", "stage_labels.csv", "stages.csv"})
"""What says of whole slides what they are: reference.csv of the 2016 test set, stage labels of 2017; anywhere."""

MEANINGS: dict[str, Verdict] = {"normal": "normal", "negative": "normal", "tumor": "tumor", "tumour": "tumor"}
MEANINGS |= {"macro": "tumor", "micro": "tumor", "itc": "itc"}
"""Their second column, lower case -> what the slide is. itc: isolated tumour cells, neither positive nor normal."""

_HEADS = frozenset({"patient", "slide", "slide_id", "image", "image_id", "id", "name", "filename", "file"})
SLIDE_SUFFIXES = (
    *(".bif", ".dcm", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vms", ".vmu", ".zarr"),
)
"""Of the files that are slides."""
MASK_SUFFIXES = frozenset({".tif", ".tiff"})
LEAST_LEFT = 0.5
"""Cut-outs that take more of the outlined tumour than they leave cannot be meant (seven files of CAMELYON: 0.998)."""
_PATIENT = re.compile(r"(patient_\d+)(?:_|\Z)", re.IGNORECASE)
_NAMED = re.compile(r"(normal|tumou?r)(?:[_\W\d]|\Z)", re.IGNORECASE)


def ingest(order: Order[params.CamelyonCohort]) -> list[Row]:
    """Return the manifest rows of the cohort: every slide found, opened once, with split and verdict.

    Raises:
        AcinusError: what no single slide is to blame for: one id twice, unsafe ids, labels without a
            slide, a wrong splits.csv or reference.csv.
    """
    rules = LabelRules.of(order.classes, order.cohort)
    look = partial(examine, root=order.root, settings=order.cohort, rules=rules, seed=order.seed)
    rows = dicom.one_per_series(list(order.map(look, discover(order))), order.root)
    return adapter.with_splits(rows, order.cohort, order.seed, lambda row: row["slide_label"] or adapter.UNKNOWN)


def discover(order: Order[params.CamelyonCohort]) -> list[Row]:
    """Return the slides among the order's files, sorted by id, as rows; reads only the CSV files.

    slide_label: what a name or a reference file says. A slide of which two of them say different things is bad.
    """
    files, settings = order.files, order.cohort
    images = adapter.by_id("slides", files, _slide_id)
    adapter.refuse_unsafe(images)
    written = {slide_id.casefold(): slide_id for slide_id in images}  # Tumor_001.tif goes with tumor_001.xml
    labels = {
        written.get(label_id.casefold(), label_id): path
        for label_id, path in adapter.by_id("labels", files, partial(_label_id, kind=settings.labels)).items()
    }
    excluded = adapter.exclusions(settings)
    adapter.refuse_orphans(labels, images, excluded, "annotation without a slide of that name; add the slide")
    listed, patients = adapter.user_tables(order, images)
    stated = _stated(order.root, files, set(images))
    partly = {slide_id.casefold() for slide_id in settings.not_exhaustive}
    rows = []
    for slide_id, image in sorted(images.items()):
        verdict, problem = _verdict(slide_id, stated.get(slide_id), slide_id in labels)
        label = labels.get(slide_id) if verdict != "itc" else None  # isolated cells teach neither class
        patient, in_test = _PATIENT.match(slide_id), "test" in slide_id.lower()
        row = new_row(
            slide_id,
            image,
            files[image],
            label_source=label,
            label_fingerprint=files[label] if label else None,
            exhaustive=slide_id.casefold() not in partly,
            patient=patient[1] if patient else slide_id,
            split="test" if in_test else None,
            split_rule="name" if in_test else "drawn",
            slide_label=None if verdict == "itc" else verdict,
        )
        rows.append(row | {"status": "bad", "reason": f"slide {slide_id}: {problem}"} if problem else row)
    return adapter.placed(rows, listed, patients, excluded)


def examine(row: Row, root: Path, settings: params.CamelyonCohort, rules: LabelRules, seed: int) -> Row:
    """Return the manifest row of one slide: open it, probe its tiles, check its label, decide its um/px.

    A slide that cannot be used is a row with status bad and the reason; nothing is raised for it.
    The split is left as it is (None where it is still to be drawn).
    """
    if row["status"] == "excluded":
        return row
    row = dict(row)
    with adapter.judged(row, root):
        with adapter.opened(row, root, settings, seed) as slide:
            brightfield.check(slide)
            row |= adapter.resolution(slide, settings, needed=True)
        row |= _label(row, root, settings.labels, rules)
    return row


def _is_mask(path: PurePosixPath) -> bool:
    return path.suffix.lower() in MASK_SUFFIXES and stem_of(path.name).lower().endswith("_mask")


def _slide_id(path: PurePosixPath) -> str | None:
    return stem_of(path.name) if path.suffix.lower() in SLIDE_SUFFIXES and not _is_mask(path) else None


def _label_id(path: PurePosixPath, kind: str) -> str | None:
    if kind == "mask":
        return stem_of(path.name)[: -len("_mask")] if _is_mask(path) else None
    return path.stem if path.suffix.lower() == ".xml" else None


def _stated(root: Path, files: Iterable[str], known: set[str]) -> dict[str, Verdict]:
    """Return what the reference files below the root say; files that disagree are refused."""
    result: dict[str, Verdict] = {}
    for path in sorted(path for path in files if PurePosixPath(path).name.lower() in TABLES):
        for slide_id, verdict in parse_reference(tables.read_text(below(root, path)), path, known).items():
            if result.setdefault(slide_id, verdict) != verdict:
                raise AcinusError(
                    f"{path}: {slide_id} is {verdict} here and {result[slide_id]} in another file; correct one"
                )
    return result


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
        slide_id = by_name.get(_without_suffix(fields[0]).casefold())
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


def _without_suffix(name: str) -> str:
    stem = next((name[: -len(suffix)] for suffix in SLIDE_SUFFIXES if name.lower().endswith(suffix)), name)
    return stem[: -len(".ome")] if stem.lower().endswith(".ome") else stem


def _verdict(slide_id: str, stated: Verdict | None, has_label: bool) -> tuple[Verdict | None, str]:
    """Return what a slide is said to be, by its name first, and what is wrong with that."""
    match = _NAMED.match(slide_id)
    if match is None:
        return stated, ""
    named: Literal["normal", "tumor"] = "normal" if match[1].lower() == "normal" else "tumor"
    problem = ""
    if stated is not None and stated != named:
        problem = f"its name says {named}, the reference file says {stated}; correct the reference file"
    elif named == "tumor" and not has_label:
        problem = "its name says tumor, but it has no annotation; add the annotation or list it under cohort.exclude"
    return named, problem


def _label(row: Row, root: Path, kind: str, rules: LabelRules) -> Row:
    """Return label_kind, slide_label and findings, with the annotation held against what the slide is said to be.

    That a file outlines no tumour says nothing by itself: without another word for it the slide has no label.
    """
    stated = row["slide_label"]
    if row["label_source"] is None:
        return {"label_kind": "none" if stated == "normal" else "unknown"}
    label = LabelRow.of(row | {"label_kind": kind}, below(root, row["label_source"]))
    has_tumour, is_label, findings = _look(label, rules)
    seen = "tumor" if has_tumour else "normal"
    if stated is not None and stated != seen:
        raise SlideError(
            f"slide {row['slide_id']}: said to be {stated}, but {row['label_source']} "
            f"{'outlines' if has_tumour else 'has no'} tumour; correct the one or the other"
        )
    if not has_tumour and stated == "normal":
        return {"label_kind": kind, "slide_label": "normal"}
    judged = {"label_kind": kind, "slide_label": seen} if is_label else {"label_kind": "unknown", "slide_label": None}
    return judged | {"findings": ";".join(sorted(findings))}


def _look(label: LabelRow, rules: LabelRules) -> tuple[bool, bool, set[str]]:
    """Return whether any of the slide is tumour, whether its label is one, and what is odd about it.

    The whole label is checked on the way; the smallest lesion counts.
    """
    pixels = check_source(label, rules)
    if pixels is not None:  # a mask: counted exactly
        normal, tumour = (bool(px) for px in pixels[:2])
        findings = set() if normal == tumour or pixels[-1] else {"one_class_mask" if tumour else "blank_mask"}
        return tumour, normal or tumour, findings if normal or tumour else {"blank_mask"}
    left = tumour_left(label, rules)
    if left is None:
        return False, False, {"no_tumor_outlined"}
    return left > 0, left > 0, {"tumor_cut_away"} if left < LEAST_LEFT else set()
