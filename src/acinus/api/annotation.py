"""What people drew on a slide with any tool, as a table of polygons."""

import math
import warnings

import numpy as np
import pandas as pd
import shapely

from acinus.annotations import reading
from acinus.annotations.frame import Frame
from acinus.annotations.outline import AnnotationFile
from acinus.api.arguments import AnyPath, path_of
from acinus.api.slide import Slide, a_slide
from acinus.api.wording import AcinusWarning, in_calls

COLUMNS = ("id", "class", "tool", "geometry", "area_px", "area_um2", "colour", "object_type")


def read_annotations(path: AnyPath, slide: Slide) -> pd.DataFrame:
    """Return the outlines of an annotation file (QuPath, ASAP, ImageScope, HALO, NDP.view), one a row in its order.

    Columns: id: of the object in its file. class: as the tool has it, None without one. tool. geometry: shapely
    (Multi)Polygon with holes, valid, level-0 px of the full slide. area_px: level-0 px. area_um2: NaN where the
    slide's um/px are not known. colour: #rrggbb of the tool, or None. object_type: QuPath's (annotation, cell, ...).

    What has no area (points, lines, rulers) is no row: attrs["passed_over"] counts it by kind. attrs has the file's
    `path`, `tool`, `repaired` (outlines that crossed themselves) and `warnings` too. All of it is also an
    AcinusWarning. `geopandas.GeoDataFrame(table, geometry="geometry")` makes it a GeoDataFrame.

    Raises:
        AcinusError: not the annotations of a known tool, damaged, hostile, or not of this slide.
    """
    file_path, slide = path_of(path), a_slide(slide)
    with in_calls():
        frame = Frame.of(slide.dimensions, slide.properties, slide.mpp)
        file = reading.read_annotations(file_path, frame)
    for text in _remarks(file):
        warnings.warn(text, AcinusWarning, stacklevel=2)
    return outline_table(file, slide.mpp)


def outline_table(file: AnnotationFile, mpp: tuple[float, float] | None) -> pd.DataFrame:
    """Return a file's outlines as the table of `read_annotations`."""
    outlines = file.outlines
    area_px = shapely.area(np.array([outline.area for outline in outlines], dtype=object)).astype(np.float64)
    objects = {
        "id": [outline.source_id for outline in outlines],
        "class": [outline.class_name for outline in outlines],
        "tool": [file.tool] * len(outlines),
        "geometry": [outline.area for outline in outlines],
        "colour": [outline.colour and "#{:02x}{:02x}{:02x}".format(*outline.colour) for outline in outlines],
        "object_type": [outline.object_type for outline in outlines],
    }
    columns = {
        name: pd.Series(values, dtype=object) for name, values in objects.items()
    }  # text columns turn None to NaN
    areas = {"area_px": area_px, "area_um2": area_px * (math.nan if mpp is None else mpp[0] * mpp[1])}
    table = pd.DataFrame(columns | areas, columns=list(COLUMNS))
    table.attrs = {
        "path": str(file.path),
        "tool": file.tool,
        "passed_over": dict(file.passed_over),
        "repaired": file.repaired,
        "warnings": _remarks(file),
    }
    return table


def _remarks(file: AnnotationFile) -> list[str]:
    """Return what is not used of a file, was changed, or is doubtful."""
    remarks = list(file.warnings)
    if file.passed_over:
        kinds = ", ".join(f"{count} {kind}" for kind, count in file.passed_over.items())
        remarks.append(f"{file.path.name}: {kinds}: not used, since only areas are; draw them as outlines")
    if file.repaired:
        remarks.append(f"{file.path.name}: {file.repaired} outlines touched or crossed themselves and were made valid")
    return remarks
