"""A look at a folder of slides of one's own: what goes together, resolutions, classes of outlines."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path, PurePosixPath

from acinus.annotations.frame import Frame
from acinus.annotations.outline import ClassCount, class_counts
from acinus.annotations.reading import read_annotations, tool_of
from acinus.cohorts import slides_table
from acinus.cohorts.matching import Match, is_mask, match
from acinus.cohorts.slide_names import patient_of, stem_of
from acinus.cohorts.tables import read_text
from acinus.commands.own_recipe import ClassSeen, Seen
from acinus.errors import AcinusError, SlideError
from acinus.slides.open import open_slide

QUPATHS_OWN = "annotation"
"""The kind of QuPath's objects that a person draws; cells and tiles are made by programs."""


@dataclass
class Look:
    """What a folder of slides shows. mpps: slide id -> um per px, None where nothing says it. faults: a line each."""

    found: Match
    mpps: dict[str, float | None] = field(default_factory=dict)
    seen: Seen = field(default_factory=lambda: Seen((), ()))
    faults: list[str] = field(default_factory=list)


def look(root: Path, files: Iterable[str]) -> Look:
    """Open every slide and read every annotation file, whose paths below `root` are among `files`.

    What cannot be read is a fault, by name.
    """
    paths = sorted(files)
    rows = _table(root, paths)
    stated = {path: row.annotation for path, row in rows.items() if row.annotation}
    found = match(paths, lambda path: _tool(root / path), stated)
    result = Look(found, faults=list(found.faults))
    counts: list[tuple[ClassCount, float | None]] = []
    for slide_id, path in found.slides.items():
        try:
            with open_slide(root / path, slide_id) as slide:
                stated = rows[path].mpp if path in rows else None
                mpp = (stated, stated) if stated else slide.tag_mpp
                frame = Frame.of((slide.width, slide.height), slide.properties, mpp)
        except SlideError as error:
            result.faults.append(str(error).replace(f"{root}/", ""))
            continue
        result.mpps[slide_id] = max(mpp) if mpp else None
        annotation = found.annotations.get(slide_id)
        if annotation is None or is_mask(annotation):
            continue
        try:
            outlines = read_annotations(root / annotation, frame).outlines
        except SlideError as error:
            result.faults.append(str(error))
            continue
        mm2 = mpp[0] * mpp[1] / 1e6 if mpp else None
        counts += [(one, mm2) for one in class_counts(o for o in outlines if o.object_type == QUPATHS_OWN)]
    result.seen = Seen(tuple(result.mpps.values()), _classes(counts))
    return result


def table_text(look: Look) -> str:
    """Return a slides.csv of the slides, to be filled in: what names and files say of each already stands there."""
    lines = [list(slides_table.COLUMNS)]
    for slide_id, path in look.found.slides.items():
        known = {"slide": path, "patient": patient_of(stem_of(path)) or ""}
        known["annotation"] = look.found.annotations.get(slide_id, "")
        lines.append([known.get(column, "") for column in slides_table.COLUMNS])
    written = StringIO()
    csv.writer(written, lineterminator="\n").writerows(lines)
    return written.getvalue()


def _table(root: Path, paths: list[str]) -> dict[str, slides_table.Entry]:
    """Return the rows of a slides.csv below the root, slide's path -> row; none where there is no such file."""
    tables = [path for path in paths if PurePosixPath(path).name.lower() == slides_table.NAME]
    if len(tables) != 1:
        return {}
    table = slides_table.parse(read_text(root / tables[0]), tables[0])
    found = match(paths, lambda path: None)
    return slides_table.join(table, found.slides.values()).by_slide


def _tool(path: Path) -> str | None:
    try:
        return tool_of(path)
    except AcinusError:
        return "unreadable"  # reading it will say why


def _classes(counts: Iterable[tuple[ClassCount, float | None]]) -> tuple[ClassSeen, ...]:
    """Return the classes over all slides, by name; an area is unknown where a slide's resolution is."""
    classes: dict[str | None, ClassSeen] = {}
    for one, mm2 in counts:
        before = classes.get(one.class_name, ClassSeen(one.class_name, 0, 0, 0.0))
        area = None if mm2 is None or before.area_mm2 is None else before.area_mm2 + one.area_px0 * mm2
        classes[one.class_name] = ClassSeen(one.class_name, before.outlines + one.outlines, before.slides + 1, area)
    return tuple(classes[name] for name in sorted(classes, key=lambda name: (name is None, name or "")))
