"""CAMELYON16/17 on disk: which files are slides, what is known of each, and what opening them shows.

Slides, annotations and masks may lie anywhere below the root; what belongs together has one stem:
tumor_001.tif, tumor_001.xml, tumor_001_mask.tif; patient_017_node_2.tif.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from acinus import params
from acinus.cohorts import reference, splits
from acinus.cohorts.reference import Verdict
from acinus.errors import AcinusError, SlideError
from acinus.records import is_safe_id
from acinus.slides.labels import LabelRow, check_source, open_labels
from acinus.slides.slide import MPP_RANGE, Slide
from acinus.slides.tiles import probe

Row = dict[str, Any]
MapSlides = Callable[[Callable[["Found"], Row], Sequence["Found"]], Iterable[Row]]

SLIDE_SUFFIXES = frozenset(
    {".bif", ".dcm", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vms", ".vmu"}
)
MASK_SUFFIXES = frozenset({".tif", ".tiff"})
NO_PROVIDER = "unknown"
_PATIENT = re.compile(r"(patient_\d+)(?:_|\Z)", re.IGNORECASE)
_NAMED = re.compile(r"(normal|tumou?r)(?:[_\W\d]|\Z)", re.IGNORECASE)
_GRID_PX = 4096  # edge in level-0 px of the squares in which tumour is looked for
_SHOWN = 5


@dataclass(frozen=True)
class Found:
    """A slide as its files tell, before it is opened. Paths are relative to the root.

    stated: what its name or a reference file says (normal, tumor, itc), else None. split: decided by
    splits.csv or by `test` in the id, else None. excluded, problem: why it is not to be used, or "".
    """

    slide_id: str
    image: str
    label_source: str | None
    patient: str
    provider: str
    split: str | None
    stated: Verdict | None
    exhaustive: bool
    fingerprint: str
    label_fingerprint: str | None
    excluded: str = ""
    problem: str = ""


def ingest(
    root: Path, settings: params.Cohort, fingerprints: Mapping[str, str], seed: int, map_slides: MapSlides = map
) -> list[Row]:
    """Return the manifest rows of the cohort: every slide found, opened once, with split and verdict.

    fingerprints: of every file of the cohort, by path relative to root (the inventory).

    Raises:
        AcinusError: what no single slide is to blame for: one id twice, unsafe ids, labels without a
            slide, a wrong splits.csv or reference.csv.
    """
    found = discover(root, fingerprints, settings)
    rows = list(map_slides(partial(examine, root=root, settings=settings, seed=seed), found))
    return with_splits(rows, found, settings, seed)


def discover(root: Path, files: Mapping[str, str], settings: params.Cohort) -> list[Found]:
    """Return the slides among `files` (relative path -> fingerprint), sorted by id; reads only the CSV files."""
    images = _by_id("slides", (path for path in files if _is_slide(path)))
    unsafe = sorted(slide_id for slide_id in images if not is_safe_id(slide_id))
    if unsafe:
        raise AcinusError(
            f"{_some([images[one] for one in unsafe])}: not safe as slide ids; rename the files to "
            "letters, digits, '_', '-' and '.'"
        )
    labels = _by_id("labels", (path for path in files if _is_label(path, settings.labels)))
    excluded = {slide_id.casefold(): reason for slide_id, reason in settings.exclude.items()}
    partial_ids = {slide_id.casefold() for slide_id in settings.not_exhaustive}
    labels = _in_the_case_of(images, labels)
    orphans = sorted(one for one in set(labels) - set(images) if one.casefold() not in excluded)
    if orphans:
        raise AcinusError(
            f"{_some([labels[one] for one in orphans])}: annotation without a slide of that name; add the slide, "
            "move the file away or list its id under cohort.exclude"
        )
    listed = _listed(root, files, images)
    stated = _stated(root, files, set(images))
    found = []
    for slide_id in sorted(images):
        verdict, problem = _verdict(slide_id, stated.get(slide_id), slide_id in labels)
        source = labels.get(slide_id) if verdict != "itc" else None  # isolated cells teach neither class
        row = listed.get(slide_id)
        found.append(
            Found(
                slide_id=slide_id,
                image=images[slide_id],
                label_source=source,
                patient=row.patient if row else _patient(slide_id),
                provider=(row.provider if row else None) or NO_PROVIDER,
                split=row.split if row else ("test" if "test" in slide_id.lower() else None),
                stated=verdict,
                exhaustive=slide_id.casefold() not in partial_ids,
                fingerprint=files[images[slide_id]],
                label_fingerprint=files[source] if source else None,
                excluded=_reason(excluded, slide_id),
                problem=problem,
            )
        )
    return found


def examine(found: Found, root: Path, settings: params.Cohort, seed: int) -> Row:
    """Return the manifest row of one slide: open it, probe its tiles, check its label, decide its um/px.

    A slide that cannot be used is a row with status bad and the reason; nothing is raised for it.
    The split is left as found (None where it is still to be drawn).
    """
    row: Row = {
        "slide_id": found.slide_id,
        "image": found.image,
        "label_source": found.label_source,
        "label_kind": "unknown",
        "exhaustive": found.exhaustive,
        "split": found.split,
        "patient": found.patient,
        "provider": found.provider,
        "slide_label": None if found.stated == "itc" else found.stated,
        "mpp_x": None,
        "mpp_y": None,
        "mpp_source": None,
        "width": None,
        "height": None,
        "status": "ok",
        "reason": "",
        "fingerprint": found.fingerprint,
        "label_fingerprint": found.label_fingerprint,
    }
    if found.excluded:
        return row | {"status": "excluded", "reason": found.excluded}
    try:
        path = _below(root, found.image)
        with Slide(path, found.slide_id) as slide:
            row |= {"width": slide.width, "height": slide.height}
            probe(path, slide, settings.probe_tiles, seed)
            row |= _resolution(slide, settings)
        row |= _label(found, root, settings, (row["width"], row["height"]))
        if found.problem:
            raise SlideError(f"slide {found.slide_id}: {found.problem}")
    except AcinusError as error:
        row |= {"status": "bad", "reason": str(error).replace(f"{root}/", "")}
    except OSError as error:
        reason = f"slide {found.slide_id}: {found.image} cannot be read ({error.strerror or error}); check the disk"
        row |= {"status": "bad", "reason": reason}
    return row


def with_splits(rows: Sequence[Row], found: Sequence[Found], settings: params.Cohort, seed: int) -> list[Row]:
    """Return the rows with every split decided.

    Only usable slides take part in the draw, so that a bad one cannot be all that a class has in
    validation. The others follow their patient, or are called train: they are not used anyway.
    """
    group = {one.slide_id: one.patient if settings.split_by == "patient" else one.slide_id for one in found}
    members = [
        splits.Member(row["slide_id"], group[row["slide_id"]], row["slide_label"] or "unknown", row["split"])
        for row in rows
        if row["status"] == "ok"
    ]
    drawn = splits.assign(members, settings.val_fraction, seed)
    of_group = {group[slide_id]: split for slide_id, split in drawn.items()}
    return [
        row | {"split": drawn.get(row["slide_id"]) or row["split"] or of_group.get(group[row["slide_id"]], "train")}
        for row in rows
    ]


def _reason(excluded: Mapping[str, str], slide_id: str) -> str:
    """Return why a slide is excluded, or "" for one that is not; ids are compared in any case."""
    if slide_id.casefold() not in excluded:
        return ""
    return excluded[slide_id.casefold()] or "listed under cohort.exclude"


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


def _listed(root: Path, files: Mapping[str, str], images: Mapping[str, str]) -> dict[str, splits.Listed]:
    """Return what splits.csv says, wherever below the root it lies; two of them are refused."""
    found = sorted(path for path in files if PurePosixPath(path).name.lower() == "splits.csv")
    if len(found) > 1:
        raise AcinusError(f"{' and '.join(found[:2])}: two split files; keep one")
    return splits.read_splits(_below(root, found[0]), images) if found else {}


def _stated(root: Path, files: Mapping[str, str], known: set[str]) -> dict[str, Verdict]:
    """Return what the reference files below the root say; files that disagree are refused."""
    result: dict[str, Verdict] = {}
    for path in sorted(path for path in files if PurePosixPath(path).name.lower() in reference.FILES):
        for slide_id, verdict in reference.parse_reference(splits.read_text(_below(root, path)), path, known).items():
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


def _resolution(slide: Slide, settings: params.Cohort) -> Row:
    """Return the um per level-0 px and where they come from: the slide's own tag, else cohort.mpp."""
    if slide.tag_mpp is not None:
        return {"mpp_x": slide.tag_mpp[0], "mpp_y": slide.tag_mpp[1], "mpp_source": "tag"}
    if settings.mpp is not None:
        return {"mpp_x": settings.mpp, "mpp_y": settings.mpp, "mpp_source": "override"}
    tag = slide.properties.get("openslide.mpp-x")
    raise SlideError(
        f"slide {slide.slide_id}: no plausible mpp ({f'the tag says {tag}' if tag else 'no tag'}; plausible is "
        f"{MPP_RANGE[0]:g} to {MPP_RANGE[1]:g} um/px); set cohort.mpp"
    )


def _label(found: Found, root: Path, settings: params.Cohort, size: tuple[int, int]) -> Row:
    """Return label_kind and slide_label, with the annotation held against what the slide is said to be."""
    if found.label_source is None:
        return {"label_kind": "none" if found.stated == "normal" else "unknown"}
    row = LabelRow(found.slide_id, found.label_source, settings.labels, found.exhaustive, *size)
    check_source(row, root, settings)
    has_tumour = _has_tumour(row, root, settings)
    seen = "tumor" if has_tumour else "normal"
    if found.stated is not None and found.stated != seen:
        raise SlideError(
            f"slide {found.slide_id}: said to be {found.stated}, but {found.label_source} "
            f"{'outlines' if has_tumour else 'has no'} tumour; correct the one or the other"
        )
    return {"label_kind": settings.labels, "slide_label": seen}


def _has_tumour(row: LabelRow, root: Path, settings: params.Cohort) -> bool:
    """Return whether any of the slide is tumour, looked for in squares so that the smallest lesion counts."""
    x, y = np.meshgrid(np.arange(0, row.width, _GRID_PX), np.arange(0, row.height, _GRID_PX))
    tumour, _ = open_labels(row, root, settings).fractions(x.ravel(), y.ravel(), float(_GRID_PX))
    return bool((tumour > 0).any())


def _below(root: Path, path: str) -> Path:
    """Return root / path; a path that leads out of the root is refused."""
    place = PurePosixPath(path)
    if place.is_absolute() or ".." in place.parts:
        raise AcinusError(f"{path!r} leads out of the cohort; only paths below cohort.root are read")
    return root / place


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
