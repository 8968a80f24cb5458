"""A look at a folder of slides of one's own for its recipe: what goes together, resolutions, classes, labels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from acinus.annotations.frame import Frame
from acinus.annotations.outline import ClassCount, class_counts
from acinus.annotations.reading import read_annotations
from acinus.cohorts import dicom, slides
from acinus.cohorts.adapter import some
from acinus.cohorts.drawn import mask_values
from acinus.cohorts.matching import FLAT_SUFFIXES, is_mask
from acinus.cohorts.slide_names import patient_of, safe_id, stem_of
from acinus.cohorts.slides_table import NAME, Entry
from acinus.commands.own_labels import ClassSeen, number
from acinus.commands.own_legend import legend
from acinus.commands.own_meanings import label_columns
from acinus.commands.own_recipe import Seen
from acinus.commands.own_table import TakenOver, taken_over
from acinus.errors import AcinusError
from acinus.slides import brightfield
from acinus.slides.open import below, open_slide

MAX_BAD = 0.1
"""The recipe's cohort.max_bad_fraction."""
QUPATHS_OWN = "annotation"
"""The kind of QuPath's objects that a person draws; cells and tiles are made by programs."""


@dataclass(frozen=True)
class Opened:
    """A slide as its file has it: size in level-0 px, um per px (None: the file does not say). unread: why it cannot
    be used, else ""."""

    size: tuple[int, int] = (0, 0)
    tag_mpp: tuple[float, float] | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    unread: str = ""


@dataclass(frozen=True)
class SlideSeen:
    """One slide as file, table and annotation have it. mpp: um per px in x and y, None where nothing says it.

    kind: outlines, values or colours, of which `classes` are. unread, fault: why slide or annotation cannot be used.
    """

    path: str
    entry: Entry
    patient: str
    mpp: tuple[float, float] | None = None
    classes: tuple[ClassCount, ...] = ()
    kind: str = ""
    unread: str = ""
    fault: str = ""

    @property
    def usable(self) -> bool:
        """Whether it was opened and the table does not leave it out."""
        return not self.unread and not self.entry.excluded

    @property
    def flat(self) -> bool:
        """Whether it is a picture, which may do without um per px."""
        return self.path.lower().endswith(FLAT_SUFFIXES)


@dataclass(frozen=True)
class Look:
    """What a folder of slides shows. each: slide id -> slide, one for a DICOM series. table: the text of a slides.csv
    to be filled in, where none lies there. taken: the table that it was made from, with the slides that this names.
    faults: what is not understood, a line each. refused: what stage ingest would stop at. unread: slide id -> why it
    cannot be used, of slides that no table of ours leaves out. first: what a person has to look at, a line each.
    patients: what says whose slide each is, "" where nothing says it of all, for which `unowned` has a line."""

    found: slides.Found
    each: Mapping[str, SlideSeen]
    seen: Seen
    faults: tuple[str, ...]
    refused: tuple[str, ...]
    unread: Mapping[str, str]
    table: str | None
    taken: str = ""
    first: tuple[str, ...] = ()
    patients: str = ""
    unowned: tuple[str, ...] = ()


def look(root: Path, files: Iterable[str]) -> Look:
    """Open every slide and read every annotation file; their paths below `root` are among `files`.

    Raises:
        AcinusError: a slides.csv that cannot be read.
    """
    paths = sorted(files)
    found = slides.discover(root, paths)
    shown, of_series = one_per_series(root, found.match.slides, found.match.annotations)
    opened = {slide_id: _open(root, slide_id, path) for slide_id, path in shown.items()}
    made: TakenOver | None = None
    if found.table is None:
        unread = {path: opened[slide_id].unread for slide_id, path in shown.items() if opened[slide_id].unread}
        made = taken_over(root, paths, found, shown, unread)
        found = made.found
    known = made.known if made else None
    each = {slide_id: _slide(root, slide_id, path, opened[slide_id], found) for slide_id, path in shown.items()}
    if any(one.kind == "colours" for one in each.values()):  # then a mask of greys alone has colours too
        each |= {
            slide_id: _slide(root, slide_id, one.path, opened[slide_id], found, coloured=True)
            for slide_id, one in each.items()
            if one.kind == "values"
        }
    faults, refused, no_use = _faults(found, opened, each, made is not None)
    patients, unowned = _patients(each, known.patient_column if known else "patient")
    return Look(
        found,
        each,
        _seen(root, found, each, opened),
        (*(made.told if made else ()), *faults),
        (*annotated_twice(of_series, found.match.annotations), *refused),
        no_use,
        made.text if made else None,
        f"{known.path}, whose column {known.column} names {len(known.rows)} of the slides" if known else "",
        made.first if made else (),
        patients,
        tuple(unowned),
    )


def _seen(root: Path, found: slides.Found, each: Mapping[str, SlideSeen], opened: Mapping[str, Opened]) -> Seen:
    """Return what the recipe is made from."""
    usable = [one for one in each.values() if one.usable]
    columns = tuple(label_columns(found.table, found.joined))
    label = columns[0] if columns and columns[0].values else None
    normal = {text for text, meaning in label.values.items() if meaning != "unknown"} if label else set()
    return Seen(
        [max(one.mpp) if one.mpp else None for one in usable],
        _summed(usable, "outlines"),
        _summed(usable, "values"),
        sum(not one.classes and not (label and one.entry.labels.get(label.name) in normal) for one in usable),
        _summed(usable, "colours"),
        columns,
        legend(root, found.match.tables)[0],
        [min(opened[slide_id].size) for slide_id, one in each.items() if one.usable],
    )


def _patients(each: Mapping[str, SlideSeen], column: str | None) -> tuple[str, list[str]]:
    """Return what says whose slide each is, or a line that nothing says it, of all or of some."""
    usable = [one for one in each.values() if one.usable]
    bare = [one.path for one in usable if not one.entry.patient and not patient_of(stem_of(one.path))]
    barcodes = all(one.entry.patient in ("", patient_of(stem_of(one.path))) for one in usable)
    where = "TCGA barcodes of the slides" if barcodes else f"column {column}"
    if not bare:
        return f"patients: {where}", []
    remedy = f"fill in column patient of {NAME} where a patient has several"
    if len(bare) == len(usable):
        return "", [f"no column says whose slide it is: each slide is a patient of its own; {remedy}"]
    return "", [
        f"patients: {where}, but nothing for {number(len(bare), 'slide')} ({some(bare)}): each is a patient of its "
        f"own; {remedy}"
    ]


def _faults(
    found: slides.Found, opened: Mapping[str, Opened], each: Mapping[str, SlideSeen], own_table: bool
) -> tuple[list[str], list[str], dict[str, str]]:
    """Return what is not understood, what ingest would stop at, and slide id -> why nothing can read it.

    own_table: the table is to be written by `init`, and leaves out what does not open.
    """
    match, joined = found.match, found.joined
    refused = [*match.faults, *joined.faults, *joined.rows_without]
    refused += [f"{path}: {found.table.name} has no row for it" for path in joined.slides_without if found.table]
    refused += [f"{path}: an annotation without a slide: {why}" for path, why in match.orphans.items()]
    foreign = {safe_id(stem_of(path)): f"{path}: {why}" for path, why in match.foreign.items()}
    unread = {slide_id: why for slide_id, why in foreign.items() if slide_id not in match.slides}
    faults = []
    if own_table:
        faults = [f"{one.unread}; column exclude of slides.csv leaves it out" for one in opened.values() if one.unread]
    else:
        unread |= {slide_id: one.unread for slide_id, one in opened.items() if one.unread}
    faults += [f"{why}; cohort.exclude leaves it out" for why in unread.values()]
    spoilt = [one.fault for one in each.values() if one.fault]
    if len(spoilt) > MAX_BAD * len(each):  # ingest stops where so many slides are bad
        return faults, refused + spoilt, unread
    return faults + spoilt, refused, unread


def one_per_series(
    root: Path, by_id: Mapping[str, str], annotations: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the slides (id -> path) with one file of each DICOM series: the annotated one, else the first by name.

    And of each series of several files: that slide's id -> the ids of the others.
    """
    first = dicom.first_of_series(root, by_id.values())
    members: dict[str, list[str]] = {}
    for slide_id, path in sorted(by_id.items(), key=lambda item: (item[0] not in annotations, item[1])):
        members.setdefault(first.get(path, path), []).append(slide_id)
    shown = {slide_id: by_id[slide_id] for slide_id, *_ in sorted(members.values())}
    return shown, {slide_id: others for slide_id, *others in members.values() if others}


def annotated_twice(of_series: Mapping[str, Sequence[str]], annotations: Mapping[str, str]) -> list[str]:
    """Return a line for each DICOM series of which several files have an annotation."""
    every = [
        [annotations[one] for one in (slide_id, *others) if one in annotations]
        for slide_id, others in of_series.items()
    ]
    return [
        f"{' and '.join(files)}: annotations of files of one DICOM series; keep one"
        for files in every
        if len(files) > 1
    ]


def _open(root: Path, slide_id: str, path: str) -> Opened:
    try:
        with open_slide(below(root, path), slide_id) as slide:
            brightfield.check(slide)
            return Opened((slide.width, slide.height), slide.tag_mpp, slide.properties)
    except AcinusError as error:
        said = _plain(error, root).removeprefix(f"slide {slide_id}: ")
        return Opened(unread=said if path in said else f"{path}: {said}")


def _plain(error: AcinusError, root: Path) -> str:
    return str(error).replace(f"{root}/", "")


def _slide(
    root: Path, slide_id: str, path: str, opened: Opened, found: slides.Found, coloured: bool = False
) -> SlideSeen:
    """Return what is seen of one slide; an annotation that cannot be read is its fault. coloured: of `mask_values`."""
    entry, annotation = found.joined.by_slide.get(path, Entry(0)), found.match.annotations.get(slide_id)
    mpp = (entry.mpp, entry.mpp) if entry.mpp else opened.tag_mpp
    patient = entry.patient or patient_of(stem_of(path)) or slide_id
    said = SlideSeen(path, entry, patient, mpp, unread=opened.unread)
    if annotation is None or not said.usable:
        return said
    try:
        if is_mask(annotation):
            counts, small = mask_values(below(root, annotation), opened.size, (1, 1), coloured)
            return replace(said, classes=tuple(counts), kind="colours" if small.ndim == 3 else "values")
        outlines = read_annotations(below(root, annotation), Frame.of(opened.size, opened.properties, mpp)).outlines
    except AcinusError as error:
        return replace(said, fault=_plain(error, root))
    drawn = class_counts(outline for outline in outlines if outline.object_type == QUPATHS_OWN)
    return replace(said, classes=tuple(drawn), kind="outlines")


def _summed(looked: Iterable[SlideSeen], kind: str) -> list[ClassSeen]:
    """Return the classes of one kind over all slides, by name; an area is unknown where a slide's resolution is."""
    parts: dict[str | None, list[tuple[SlideSeen, ClassCount]]] = {}
    for one in looked:
        for count in one.classes if one.kind == kind else ():
            parts.setdefault(count.class_name, []).append((one, count))
    classes = []
    for name, of_class in parts.items():
        areas = [count.area_px0 * math.prod(one.mpp) / 1e6 for one, count in of_class if one.mpp]
        area = sum(areas) if kind == "outlines" and len(areas) == len(of_class) else None
        patients = len({one.patient for one, _ in of_class})
        px = 0 if kind == "outlines" else int(sum(count.area_px0 for _, count in of_class))
        outlines = sum(count.outlines for _, count in of_class)
        classes.append(ClassSeen(name, outlines, len(of_class), area, patients, px))
    return sorted(classes, key=_order)


def _order(one: ClassSeen) -> tuple[bool, int, str]:
    """Order classes by name, that without one last, values of masks as numbers, colours by their px."""
    name = one.name or ""
    return one.name is None, int(name) if name.isdecimal() else -one.px if name.startswith("#") else 0, name
