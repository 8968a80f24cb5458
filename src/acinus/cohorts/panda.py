"""PANDA on disk: train.csv, train_images/<id>.tiff, train_label_masks/<id>_mask.tiff, anywhere below the root.

A row of train.csv without its image is no slide here: the cohort may be a part of the data set. A slide
without a mask is legal and still serves grading; its label is unknown, also where its grade says that it
holds no cancer: a grade is a judgement of the whole slide, noisy, and no outline of benign tissue.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from acinus import params
from acinus.cohorts import adapter, grade, tables
from acinus.cohorts.adapter import Order, Row, new_row, some
from acinus.cohorts.grade import Graded
from acinus.cohorts.splits import Listed
from acinus.errors import AcinusError
from acinus.labels.labels import LabelRow, LabelRules, check_source
from acinus.slides import brightfield
from acinus.slides.open import below

PROVIDERS = ("karolinska", "radboud")
IMAGES, MASKS, GRADES = "train_images", "train_label_masks", "train.csv"
TABLES = frozenset({GRADES})
SUFFIXES = frozenset({".tif", ".tiff"})
BLANK_SHARE = 0.99


def ingest(order: Order[params.PandaCohort]) -> list[Row]:
    """Return the manifest rows of the cohort: every slide found, opened once, with split and findings.

    The draw gives every ISUP grade its share, with both providers alike inside a grade.

    Raises:
        AcinusError: what no single slide is to blame for: train.csv missing or wrong, no image for any
            row of it, one id twice, unsafe ids, masks without a slide, a wrong list.
    """
    rules = LabelRules.of(order.classes, order.cohort)
    look = partial(examine, root=order.root, cohort=order.cohort, rules=rules, positive=order.positive, seed=order.seed)
    rows = list(order.map(look, discover(order)))
    return adapter.with_splits(
        rows, order.cohort, order.seed, lambda row: f"isup{row['isup']}", lambda row: row["provider"]
    )


def discover(order: Order[params.PandaCohort]) -> list[Row]:
    """Return the slides among the order's files, sorted by id, as rows; reads only the CSV files.

    A slide without a grade is bad; one that a list of doubtful slides names has that as its finding, or is excluded.
    """
    grades = _grades(order)
    images = adapter.by_id("files", order.files, adapter.in_folder(IMAGES, SUFFIXES))
    masks = adapter.by_id("files", order.files, adapter.in_folder(MASKS, SUFFIXES, "_mask"))
    _refuse(images, masks, grades)
    known = set(images) | set(grades)
    listed, patients = adapter.user_tables(order, known)
    doubtful = _doubtful(order)
    excluded = adapter.exclusions(order.cohort)
    if order.cohort.doubtful_policy == "exclude":
        excluded = {slide_id.casefold(): f"doubtful: {reason}" for slide_id, reason in doubtful.items()} | excluded
    rows = []
    for slide_id, image in sorted(images.items()):
        place, patient, mask = listed.get(slide_id), patients.get(slide_id), masks.get(slide_id)
        if place and patient and place.patient != patient:
            raise AcinusError(
                f"{slide_id}: patient {place.patient} in splits.csv and {patient} in groups.csv; correct one of them"
            )
        row = new_row(slide_id, image, order.files[image])
        if mask:
            row |= {"label_source": mask, "label_fingerprint": order.files[mask], "label_kind": "mask"}
        rows.append(row)
    return [
        _graded(row, grades.get(row["slide_id"]), listed.get(row["slide_id"]), doubtful)
        for row in adapter.placed(rows, listed, patients, excluded)
    ]


def _graded(row: Row, graded: Graded | None, place: Listed | None, doubtful: Collection[str]) -> Row:
    """Return a row with its slide's grade and, where it can be used, what is odd so far; without a grade it is bad."""
    slide_id = row["slide_id"]
    problem = ""
    if graded is None:
        problem = "train.csv has no row for it; add the row or list the slide under cohort.exclude"
        row = row | {"provider": adapter.NO_PROVIDER}
    else:
        if place and place.provider and place.provider != graded.provider:
            problem = f"provider {place.provider} in splits.csv and {graded.provider} in train.csv; correct one of them"
        row = row | {"provider": graded.provider, "isup": graded.isup, "gleason": graded.gleason}
        row["slide_label"] = "tumor" if graded.isup > 0 else "normal"
    if row["status"] != "ok":
        return row
    if problem:
        return row | {"status": "bad", "reason": f"slide {slide_id}: {problem}"}
    return row | {"findings": "doubtful" if slide_id in doubtful else ""}


def examine(
    row: Row, root: Path, cohort: params.PandaCohort, rules: LabelRules, positive: Collection[str], seed: int
) -> Row:
    """Return the manifest row of one slide: open it, probe its tiles, check and count its mask, decide its um/px.

    A slide that cannot be used is a row with status bad and the reason; nothing is raised for it.
    """
    if row["status"] != "ok":
        return row
    row = dict(row)
    findings = {"gleason_isup_mismatch"} if grade.isup_of(row["gleason"]) != row["isup"] else set()
    with adapter.judged(row, root):
        with adapter.opened(row, root, cohort, seed) as slide:
            row |= adapter.resolution(slide, cohort, needed=True)
            overview = brightfield.overview_of(slide)
            brightfield.check(slide, overview)
            findings |= {"blank_slide"} if near_white(overview) > BLANK_SHARE else set()
        findings |= _mask_findings(row, root, rules, positive)
    return row | {"findings": ";".join(sorted(findings | ({row["findings"]} - {""})))}


def near_white(overview: np.ndarray) -> float:
    """Return the share of uint8 (rows, columns, 3) that is near white, [0, 1]."""
    return float(np.mean(overview.min(axis=2) >= brightfield.NEAR_WHITE))


def _mask_findings(row: Row, root: Path, rules: LabelRules, positive: Collection[str]) -> set[str]:
    """Return what the mask's pixels say against the slide's grade; every value is checked on the way.

    Raises:
        SlideError: a mask that cannot be used; a value or provider that cohort.mask_values does not have.
    """
    if row["label_source"] is None:
        return {"mask_missing"}
    label = LabelRow.of(row, below(root, row["label_source"]))
    counts = check_source(label, rules)
    assert counts is not None, "a mask has pixels"
    cancer = sum(int(counts[rules.classes.index(name)]) for name in positive)
    findings = set()
    if row["isup"] > 0 and not cancer and not counts[-1]:  # where pixels are ignored cancer may be among them
        findings.add("isup_without_cancer")
    if row["isup"] == 0 and cancer:
        findings.add("cancer_without_isup")
    if np.count_nonzero(counts) == 1:
        if not cancer and _is_blank(label, rules):
            findings.add("blank_mask")
        elif not counts[0]:
            findings.add("one_class_mask")
    return findings


def _is_blank(label: LabelRow, rules: LabelRules) -> bool:
    """Return whether a mask has no value but 0, by values: benign tissue may be of one class with the background."""
    values = {
        provider: {value: "drawn" if value else "blank" for value in meanings}
        for provider, meanings in rules.mask_values.items()
    }
    counts = check_source(label, replace(rules, classes=("blank", "drawn"), mask_values=values))
    return counts is not None and int(counts[1]) == 0


def _grades(order: Order[params.PandaCohort]) -> dict[str, Graded]:
    """Return train.csv, wherever below the root it lies."""
    path = adapter.only(order.files, GRADES, "grade tables")
    if path is None:
        raise AcinusError(f"{order.root}: no train.csv below this folder; set cohort.root to the folder that holds it")
    return grade.parse_grades(tables.read_text(below(order.root, path)), path, PROVIDERS)


def _doubtful(order: Order[params.PandaCohort]) -> dict[str, str]:
    """Return slide_id -> why it is doubtful, from every list of cohort.doubtful."""
    reasons: dict[str, str] = {}
    for path in order.cohort.doubtful:
        file = below(order.root, path)
        if path not in order.files:
            raise AcinusError(f"{path}: no such file below cohort.root; correct cohort.doubtful or add the list")
        for slide_id, reason in grade.parse_doubtful(tables.read_text(file), path).items():
            reasons[slide_id] = f"{reasons[slide_id]}, {reason}" if slide_id in reasons else reason
    return reasons


def _refuse(images: Mapping[str, str], masks: Mapping[str, str], grades: Collection[str]) -> None:
    """Refuse a cohort whose files do not go with each other."""
    adapter.refuse_unsafe(images)
    if not set(images) & set(grades):
        raise AcinusError(
            f"train.csv: none of its {len(grades)} slides has an image {IMAGES}/<image_id>.tiff "
            f"({len(images)} images found); set cohort.root to the folder that holds both"
        )
    orphans = sorted(set(masks) - set(images) - set(grades))
    if orphans:
        files = some([masks[slide_id] for slide_id in orphans])
        raise AcinusError(f"{files}: mask of no slide of train.csv; rename the file or move it away")
