"""CAMELYON16/17 on disk: which files are slides, what is known of each, and what opening them shows.

Slides, annotations and masks may lie anywhere below the root; what belongs together has one stem:
tumor_001.tif, tumor_001.xml, tumor_001_mask.tif; patient_017_node_2.tif.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from acinus import params
from acinus.cohorts import adapter, dicom, reference, splits, tables
from acinus.cohorts.adapter import Order, Row, new_row, some
from acinus.cohorts.reference import SLIDE_SUFFIXES, Verdict
from acinus.errors import AcinusError, SlideError
from acinus.labels.labels import LabelRow, LabelRules, check_source, tumour_left
from acinus.slides import brightfield
from acinus.slides.open import below, open_slide
from acinus.slides.tiles import probe

MASK_SUFFIXES = frozenset({".tif", ".tiff"})
LEAST_LEFT = 0.5
"""Cut-outs that take more of the outlined tumour than they leave cannot be meant (seven files of CAMELYON: 0.998)."""
_PATIENT = re.compile(r"(patient_\d+)(?:_|\Z)", re.IGNORECASE)
_NAMED = re.compile(r"(normal|tumou?r)(?:[_\W\d]|\Z)", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A slide as its files tell, before it is opened. Paths are relative to the root.

    stated: what its name or a reference file says (normal, tumor, itc), else None. split: decided by
    splits.csv or by `test` in the id (split_rule says which), else None. excluded, problem: why it is
    not to be used, or "".
    """

    slide_id: str
    image: str
    label_source: str | None
    patient: str
    provider: str
    split: str | None
    split_rule: str
    stated: Verdict | None
    exhaustive: bool
    fingerprint: str
    label_fingerprint: str | None
    excluded: str = ""
    problem: str = ""


def ingest(order: Order) -> list[Row]:
    """Return the manifest rows of the cohort: every slide found, opened once, with split and verdict.

    Raises:
        AcinusError: what no single slide is to blame for: one id twice, unsafe ids, labels without a
            slide, a wrong splits.csv or reference.csv.
    """
    settings = _settings(order.cohort)
    rules = LabelRules.of(order.classes, settings)
    look = partial(examine, root=order.root, settings=settings, rules=rules, seed=order.seed)
    rows = dicom.one_per_series(list(order.map(look, discover(order))), order.root)
    return adapter.with_splits(rows, settings, order.seed, lambda row: row["slide_label"] or adapter.UNKNOWN)


def discover(order: Order) -> list[Found]:
    """Return the slides among the order's files, sorted by id; reads only the CSV files."""
    files, settings = order.files, _settings(order.cohort)
    images = _by_id("slides", (path for path in files if _is_slide(path)))
    adapter.refuse_unsafe(images)
    labels = _by_id("labels", (path for path in files if _is_label(path, settings.labels)))
    excluded = adapter.exclusions(settings)
    partial_ids = {slide_id.casefold() for slide_id in settings.not_exhaustive}
    labels = _in_the_case_of(images, labels)
    orphans = sorted(one for one in set(labels) - set(images) if one.casefold() not in excluded)
    if orphans:
        raise AcinusError(
            f"{some([labels[one] for one in orphans])}: annotation without a slide of that name; add the slide, "
            "move the file away or list its id under cohort.exclude"
        )
    listed, groups = adapter.listed_splits(order, images), adapter.groups(order, images)
    stated = _stated(order.root, files, set(images))
    found = []
    for slide_id in sorted(images):
        verdict, problem = _verdict(slide_id, stated.get(slide_id), slide_id in labels)
        source = labels.get(slide_id) if verdict != "itc" else None  # isolated cells teach neither class
        split, split_rule, patient, provider = _placed(slide_id, listed.get(slide_id), groups)
        found.append(
            Found(
                slide_id=slide_id,
                image=images[slide_id],
                label_source=source,
                patient=patient,
                provider=provider,
                split=split,
                split_rule=split_rule,
                stated=verdict,
                exhaustive=slide_id.casefold() not in partial_ids,
                fingerprint=files[images[slide_id]],
                label_fingerprint=files[source] if source else None,
                excluded=excluded.get(slide_id.casefold(), ""),
                problem=problem,
            )
        )
    return found


def examine(found: Found, root: Path, settings: params.CamelyonCohort, rules: LabelRules, seed: int) -> Row:
    """Return the manifest row of one slide: open it, probe its tiles, check its label, decide its um/px.

    A slide that cannot be used is a row with status bad and the reason; nothing is raised for it.
    The split is left as found (None where it is still to be drawn).
    """
    row = new_row(
        found.slide_id,
        found.image,
        found.fingerprint,
        label_source=found.label_source,
        exhaustive=found.exhaustive,
        split=found.split,
        split_rule=found.split_rule,
        patient=found.patient,
        provider=found.provider,
        slide_label=None if found.stated == "itc" else found.stated,
        label_fingerprint=found.label_fingerprint,
    )
    if found.excluded:
        return row | {"status": "excluded", "reason": found.excluded}
    with adapter.judged(row, root):
        path = below(root, found.image)
        with open_slide(path, found.slide_id) as slide:
            row |= {"width": slide.width, "height": slide.height}
            probe(slide, settings.probe_tiles, seed)
            brightfield.check(slide)
            row |= adapter.resolution(slide, settings, needed=True)
        row |= _label(found, row, root, settings.labels, rules)
        if found.problem:
            raise SlideError(f"slide {found.slide_id}: {found.problem}")
    return row


def _settings(cohort: params.Cohort) -> params.CamelyonCohort:
    """Return the order's cohort as what it must be here; the recipe's family has seen to that."""
    if not isinstance(cohort, params.CamelyonCohort):
        raise TypeError(f"the camelyon adapter was given a {type(cohort).__name__}")
    return cohort


def _placed(slide_id: str, listed: splits.Listed | None, groups: Mapping[str, str]) -> tuple[str | None, str, str, str]:
    """Return split, the rule that decided it, patient and provider: from splits.csv, else from the name.

    groups: slide_id -> patient of groups.csv, which goes before the name's.
    """
    if listed:
        return listed.split, "splits.csv", listed.patient, listed.provider or adapter.NO_PROVIDER
    named = "test" in slide_id.lower()
    return (
        "test" if named else None,
        "name" if named else "drawn",
        groups.get(slide_id) or _patient(slide_id),
        adapter.NO_PROVIDER,
    )


def _in_the_case_of(images: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels under the ids as the slides write them (Tumor_001.tif, tumor_001.xml)."""
    written = {slide_id.casefold(): slide_id for slide_id in images}
    return {written.get(label_id.casefold(), label_id): path for label_id, path in labels.items()}


def _is_slide(path: str) -> bool:
    place = PurePosixPath(path)
    return place.suffix.lower() in SLIDE_SUFFIXES and not _is_mask(place)


def _is_mask(place: PurePosixPath) -> bool:
    return place.suffix.lower() in MASK_SUFFIXES and place.stem.lower().endswith("_mask")


def _is_label(path: str, kind: str) -> bool:
    place = PurePosixPath(path)
    return place.suffix.lower() == ".xml" if kind == "asap_xml" else _is_mask(place)


def _by_id(what: str, paths: Iterable[str]) -> dict[str, str]:
    """Return id -> path; two files with one id (upper and lower case are one) are refused."""
    result: dict[str, str] = {}
    first: dict[str, str] = {}
    for path in sorted(paths):
        place = PurePosixPath(path)
        slide_id = place.stem[: -len("_mask")] if _is_mask(place) else place.stem
        other = first.setdefault(slide_id.casefold(), path)
        if other != path:
            raise AcinusError(f"two {what} with the id {slide_id}: {other} and {path}; rename one or move it away")
        result[slide_id] = path
    return result


def _stated(root: Path, files: Mapping[str, str], known: set[str]) -> dict[str, Verdict]:
    """Return what the reference files below the root say; files that disagree are refused."""
    result: dict[str, Verdict] = {}
    for path in sorted(path for path in files if PurePosixPath(path).name.lower() in reference.FILES):
        for slide_id, verdict in reference.parse_reference(tables.read_text(below(root, path)), path, known).items():
            if result.setdefault(slide_id, verdict) != verdict:
                raise AcinusError(
                    f"{path}: {slide_id} is {verdict} here and {result[slide_id]} in another file; correct one"
                )
    return result


def _verdict(slide_id: str, stated: Verdict | None, has_label: bool) -> tuple[Verdict | None, str]:
    """Return what a slide is said to be, by its name first, and what is wrong with that."""
    match = _NAMED.match(slide_id)
    if match is None:
        return stated, ""
    named: Literal["normal", "tumor"] = "normal" if match[1].lower() == "normal" else "tumor"
    if stated is not None and stated != named:
        return named, f"its name says {named}, the reference file says {stated}; correct the reference file"
    if named == "tumor" and not has_label:
        return (
            named,
            "its name says tumor, but it has no annotation; add the annotation or list it under cohort.exclude",
        )
    return named, ""


def _patient(slide_id: str) -> str:
    match = _PATIENT.match(slide_id)
    return match[1] if match else slide_id


def _label(found: Found, row: Row, root: Path, kind: str, rules: LabelRules) -> Row:
    """Return label_kind, slide_label and findings, with the annotation held against what the slide is said to be.

    That a file outlines no tumour says nothing by itself: without another word for it the slide has no label.
    """
    if found.label_source is None:
        return {"label_kind": "none" if found.stated == "normal" else "unknown"}
    label = LabelRow.of(row | {"label_kind": kind}, below(root, found.label_source))
    has_tumour, known, findings = _look(label, rules)
    seen = "tumor" if has_tumour else "normal"
    if found.stated is not None and found.stated != seen:
        raise SlideError(
            f"slide {found.slide_id}: said to be {found.stated}, but {found.label_source} "
            f"{'outlines' if has_tumour else 'has no'} tumour; correct the one or the other"
        )
    if not has_tumour and found.stated == "normal":
        return {"label_kind": kind, "slide_label": "normal"}
    judged = {"label_kind": kind, "slide_label": seen} if known else {"label_kind": "unknown", "slide_label": None}
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
