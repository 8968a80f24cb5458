"""PANDA on disk: train.csv, train_images/<id>.tiff, train_label_masks/<id>_mask.tiff, anywhere below the root.

A row of train.csv without its image is no slide here: the cohort may be a part of the data set. A slide
without a mask is legal and still serves grading; its label is unknown, also where its grade says that it
holds no cancer: a grade is a judgement of the whole slide, noisy, and no outline of benign tissue.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from acinus import params
from acinus.cohorts import adapter, grade, splits, tables
from acinus.cohorts.adapter import Order, Row, new_row, some
from acinus.cohorts.grade import Graded
from acinus.errors import AcinusError
from acinus.labels.labels import LabelRow, LabelRules, check_source
from acinus.slides import brightfield
from acinus.slides.open import below, open_slide
from acinus.slides.tiles import probe

PROVIDERS = ("karolinska", "radboud")
IMAGES, MASKS, GRADES = "train_images", "train_label_masks", "train.csv"
SUFFIXES = frozenset({".tif", ".tiff"})

BLANK_SHARE = 0.99


@dataclass(frozen=True)
class Found:
    """A slide as its files tell, before it is opened. Paths are relative to the root.

    split: decided by splits.csv, else None. doubtful: whether a list names it (and the policy keeps it).
    excluded, problem: why it is not to be used, or "".
    """

    slide_id: str
    image: str
    mask: str | None
    graded: Graded | None
    patient: str
    split: str | None
    fingerprint: str
    mask_fingerprint: str | None
    doubtful: bool = False
    excluded: str = ""
    problem: str = ""


def ingest(order: Order) -> list[Row]:
    """Return the manifest rows of the cohort: every slide found, opened once, with split and findings.

    The draw gives every ISUP grade its share, with both providers alike inside a grade.

    Raises:
        AcinusError: what no single slide is to blame for: train.csv missing or wrong, no image for any
            row of it, one id twice, unsafe ids, masks without a slide, a wrong list.
    """
    cohort = _settings(order.cohort)
    rules = LabelRules.of(order.classes, cohort)
    look = partial(examine, root=order.root, cohort=cohort, rules=rules, positive=order.positive, seed=order.seed)
    rows = list(order.map(look, discover(order)))
    return adapter.with_splits(rows, cohort, order.seed, _stratum, lambda row: row["provider"])


def discover(order: Order) -> list[Found]:
    """Return the slides among the order's files, sorted by id; reads only the CSV files."""
    cohort = _settings(order.cohort)
    graded = _grades(order)
    images, masks = _by_id(order.files, IMAGES, ""), _by_id(order.files, MASKS, "_mask")
    _refuse(images, masks, graded)
    known = set(images) | set(graded)
    listed, groups = adapter.listed_splits(order, known), adapter.groups(order, known)
    doubtful = _doubtful(order, cohort)
    excluded = adapter.exclusions(cohort)
    if cohort.doubtful_policy == "exclude":
        excluded = {slide_id.casefold(): f"doubtful: {reason}" for slide_id, reason in doubtful.items()} | excluded
    found = []
    for slide_id, image in sorted(images.items()):
        row, mask, place = graded.get(slide_id), masks.get(slide_id), listed.get(slide_id)
        found.append(
            Found(
                slide_id=slide_id,
                image=image,
                mask=mask,
                graded=row,
                patient=_patient(slide_id, place, groups),
                split=place.split if place else None,
                fingerprint=order.files[image],
                mask_fingerprint=order.files[mask] if mask else None,
                doubtful=slide_id in doubtful,
                excluded=excluded.get(slide_id.casefold(), ""),
                problem=_problem(row, place),
            )
        )
    return found


def examine(
    found: Found, root: Path, cohort: params.PandaCohort, rules: LabelRules, positive: Collection[str], seed: int
) -> Row:
    """Return the manifest row of one slide: open it, probe its tiles, check and count its mask, decide its um/px.

    A slide that cannot be used is a row with status bad and the reason; nothing is raised for it.
    """
    graded = found.graded
    row = new_row(
        found.slide_id,
        found.image,
        found.fingerprint,
        label_source=found.mask,
        label_fingerprint=found.mask_fingerprint,
        label_kind="mask" if found.mask else "unknown",
        patient=found.patient,
        split=found.split,
        split_rule="splits.csv" if found.split else "drawn",
    )
    if graded:
        row |= {"provider": graded.provider, "isup": graded.isup, "gleason": graded.gleason}
        row["slide_label"] = "tumor" if graded.isup > 0 else "normal"
    if found.excluded:
        return row | {"status": "excluded", "reason": found.excluded}
    if graded is None or found.problem:
        return row | {"status": "bad", "reason": f"slide {found.slide_id}: {found.problem}"}
    findings = {"doubtful"} if found.doubtful else set()
    findings |= {"gleason_isup_mismatch"} if grade.label_checks([graded]) else set()
    with adapter.judged(row, root):
        path = below(root, found.image)
        with open_slide(path, found.slide_id) as slide:
            row |= {"width": slide.width, "height": slide.height}
            probe(slide, cohort.probe_tiles, seed)
            row |= adapter.resolution(slide, cohort, needed=True)
            overview = brightfield.overview_of(slide)
            brightfield.check(slide, overview)
            findings |= {"blank_slide"} if near_white(overview) > BLANK_SHARE else set()
        findings |= _mask_findings(row, root, rules, positive)
    return row | {"findings": ";".join(sorted(findings))}


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
    if counts is None:
        raise TypeError("a mask has pixel counts")
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


def _stratum(row: Row) -> str:
    return f"isup{row['isup']}"


def _settings(cohort: params.Cohort) -> params.PandaCohort:
    """Return the order's cohort as what it must be here; the recipe's family has seen to that."""
    if not isinstance(cohort, params.PandaCohort):
        raise TypeError(f"the panda adapter was given a {type(cohort).__name__}")
    return cohort


def _grades(order: Order) -> dict[str, Graded]:
    """Return train.csv, wherever below the root it lies."""
    path = adapter.only(order.files, GRADES, "grade tables")
    if path is None:
        raise AcinusError(f"{order.root}: no train.csv below this folder; set cohort.root to the folder that holds it")
    return grade.parse_grades(tables.read_text(below(order.root, path)), path, PROVIDERS)


def _doubtful(order: Order, cohort: params.PandaCohort) -> dict[str, str]:
    """Return slide_id -> why it is doubtful, from every list of cohort.doubtful."""
    reasons: dict[str, str] = {}
    for path in cohort.doubtful:
        file = below(order.root, path)
        if path not in order.files:
            raise AcinusError(f"{path}: no such file below cohort.root; correct cohort.doubtful or add the list")
        for slide_id, reason in grade.parse_doubtful(tables.read_text(file), path).items():
            reasons[slide_id] = f"{reasons[slide_id]}, {reason}" if slide_id in reasons else reason
    return reasons


def _by_id(paths: Iterable[str], folder: str, ending: str) -> dict[str, str]:
    """Return id -> path of the TIFFs in a folder of this name; two files with one id, in any case, are refused."""
    result: dict[str, str] = {}
    first: dict[str, str] = {}
    for path in sorted(paths):
        place = PurePosixPath(path)
        if place.parent.name != folder or place.suffix.lower() not in SUFFIXES or not place.stem.endswith(ending):
            continue
        slide_id = place.stem.removesuffix(ending)
        other = first.setdefault(slide_id.casefold(), path)
        if other != path:
            raise AcinusError(f"two files with the id {slide_id}: {other} and {path}; rename one or move it away")
        result[slide_id] = path
    return result


def _refuse(images: Mapping[str, str], masks: Mapping[str, str], graded: Collection[str]) -> None:
    """Refuse a cohort whose files do not go with each other."""
    adapter.refuse_unsafe(images)
    if not set(images) & set(graded):
        raise AcinusError(
            f"train.csv: none of its {len(graded)} slides has an image {IMAGES}/<image_id>.tiff "
            f"({len(images)} images found); set cohort.root to the folder that holds both"
        )
    orphans = sorted(set(masks) - set(images) - set(graded))
    if orphans:
        raise AcinusError(
            f"{some([masks[one] for one in orphans])}: mask of no slide of train.csv; rename the file or move it away"
        )


def _patient(slide_id: str, place: splits.Listed | None, groups: Mapping[str, str]) -> str:
    group = groups.get(slide_id)
    if place and group and place.patient != group:
        raise AcinusError(
            f"{slide_id}: patient {place.patient} in splits.csv and {group} in groups.csv; correct one of them"
        )
    return place.patient if place else group or slide_id


def _problem(row: Graded | None, place: splits.Listed | None) -> str:
    if row is None:
        return "train.csv has no row for it; add the row or list the slide under cohort.exclude"
    if place and place.provider and place.provider != row.provider:
        return f"provider {place.provider} in splits.csv and {row.provider} in train.csv; correct one of them"
    return ""
