"""A look at a folder of slides of one's own for its recipe: what goes together, resolutions, classes of outlines."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from acinus.annotations.frame import Frame
from acinus.annotations.outline import class_counts
from acinus.annotations.reading import read_annotations
from acinus.cohorts import slides
from acinus.cohorts.drawn import mask_values
from acinus.cohorts.matching import is_mask
from acinus.cohorts.slide_names import patient_of, stem_of
from acinus.cohorts.slides_table import COLUMNS
from acinus.commands.own_recipe import ClassSeen, Seen
from acinus.errors import AcinusError
from acinus.slides.open import below, open_slide

QUPATHS_OWN = "annotation"
"""The kind of QuPath's objects that a person draws; cells and tiles are made by programs."""


@dataclass(frozen=True)
class SlideSeen:
    """One slide: um per px (None: nothing says it), its classes of outlines, its mask's values; fault: or why not."""

    mpp: float | None = None
    classes: tuple[ClassSeen, ...] = ()
    values: tuple[ClassSeen, ...] = ()
    opened: bool = False
    fault: str = ""


@dataclass(frozen=True)
class Look:
    """What a folder of slides shows. faults: what is not understood of it, a line each."""

    found: slides.Found
    seen: Seen
    faults: tuple[str, ...]


def look(root: Path, files: Iterable[str]) -> Look:
    """Open every slide and read every annotation file; their paths below `root` are among `files`.

    Raises:
        AcinusError: a slides.csv that cannot be read.
    """
    found = slides.discover(root, sorted(files))
    each = [_slide(root, slide_id, path, found) for slide_id, path in found.match.slides.items()]
    faults = [*found.match.faults, *found.joined.faults, *found.joined.rows_without]
    faults += [f"{path}: {why}" for path, why in {**found.match.foreign, **found.match.orphans}.items()]
    seen = Seen(
        [one.mpp for one in each if one.opened],
        _summed(part for one in each for part in one.classes),
        _summed(part for one in each for part in one.values),
        sum(one.opened and not one.classes and not one.values for one in each),
    )
    return Look(found, seen, tuple(faults + [one.fault for one in each if one.fault]))


def table_text(look: Look) -> str:
    """Return a slides.csv of the slides, to be filled in: what names and files say of each already stands there."""
    found, written = look.found.match, StringIO()
    table = csv.DictWriter(written, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    for slide_id, path in sorted(found.slides.items()):
        known = {"slide": path, "patient": patient_of(stem_of(path)) or ""}
        table.writerow(known | {"annotation": found.annotations.get(slide_id, "")})
    return written.getvalue()


def _slide(root: Path, slide_id: str, path: str, found: slides.Found) -> SlideSeen:
    """Return what is seen of one slide; what cannot be read is its fault."""
    entry, annotation = found.joined.by_slide.get(path), found.match.annotations.get(slide_id)
    seen = SlideSeen()
    try:
        with open_slide(below(root, path), slide_id) as slide:
            stated = entry.mpp if entry else None
            mpp = (stated, stated) if stated else slide.tag_mpp
            size, properties = (slide.width, slide.height), slide.properties
        seen = SlideSeen(max(mpp) if mpp else None, opened=True)
        mm2 = mpp[0] * mpp[1] / 1e6 if mpp else None
        if annotation is None:
            return seen
        file = below(root, annotation)
        if is_mask(annotation):
            counts, _ = mask_values(file, size, (1, 1))
            return SlideSeen(seen.mpp, (), tuple(ClassSeen(one.class_name, 1, 1, None) for one in counts), True)
        outlines = read_annotations(file, Frame.of(size, properties, mpp)).outlines
        counts = class_counts(outline for outline in outlines if outline.object_type == QUPATHS_OWN)
        classes = [ClassSeen(one.class_name, one.outlines, 1, one.area_px0 * mm2 if mm2 else None) for one in counts]
        return SlideSeen(seen.mpp, tuple(classes), (), True)
    except AcinusError as error:
        return SlideSeen(seen.mpp, opened=seen.opened, fault=str(error).replace(f"{root}/", ""))


def _summed(parts: Iterable[ClassSeen]) -> list[ClassSeen]:
    """Return the classes over all slides, by name; an area is unknown where a slide's resolution is."""
    classes: dict[str | None, ClassSeen] = {}
    for part in parts:
        before = classes.get(part.name, ClassSeen(part.name, 0, 0, 0.0))
        known = None not in (part.area_mm2, before.area_mm2)
        area = (part.area_mm2 or 0.0) + (before.area_mm2 or 0.0) if known else None
        classes[part.name] = ClassSeen(part.name, before.outlines + part.outlines, before.slides + 1, area)
    return sorted(classes.values(), key=_order)


def _order(one: ClassSeen) -> tuple[bool, int, str]:
    """Order classes by name, that without one last, and values of masks as numbers."""
    name = one.name or ""
    return one.name is None, int(name) if name.isdecimal() else 0, name
