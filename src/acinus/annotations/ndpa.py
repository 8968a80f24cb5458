"""Hamamatsu's NDPA: nanometres from the centre of the physical slide; the title of a mark is its class.

px = (nm - hamamatsu.XOffsetFromSlideCentre) / (1000 mpp_x) + width / 2, and y alike.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from acinus.annotations.areas import Drawing, distinct_points, ellipse, rectangle
from acinus.annotations.frame import Frame
from acinus.annotations.safe_xml import elements, hex_colour, points
from acinus.errors import SlideError

MAX_NM = 1e12
"""A kilometre."""
_OTHER_TYPES = {"pin": "points", "linearmeasure": "rulers", "pointer": "arrows", "freehandline": "lines"}


def read(path: Path, frame: Frame) -> Drawing:
    """Return what an NDPA file holds; a free-hand mark that is not closed is a line.

    Raises:
        SlideError: unreadable, malformed or hostile XML, a point that is no number, other units, or a slide whose
            offset or um per px is not known.
    """
    drawing = Drawing(path, "ndpa")
    origin, scale = _placed(path, frame)
    for count, state in enumerate(_ends(path)):
        name = state.get("id") or f"number {count}"
        where = f"{path.name}: mark {name!r}"
        unit = (state.findtext("coordformat") or "nanometers").strip().lower()
        if unit not in ("nanometers", "nanometres"):
            raise SlideError(f"{where} counts in {unit[:40]!r}; expected nanometers; save it again from NDP.view")
        annotation = state.find("annotation")
        if annotation is None:
            drawing.pass_over("without geometry")
            continue
        ring = _ring(drawing, annotation, where)
        if ring is not None:
            colour = hex_colour(annotation.get("color"))
            drawing.add(
                [[(ring - origin) / scale + np.array([frame.width, frame.height]) / 2]],
                state.findtext("title"),
                name,
                colour,
            )
    return drawing


def _ends(path: Path) -> Iterator[Element]:
    states = elements(path, "annotations", ("ndpviewstate",), "NDP.view")
    return (state for event, state in states if event == "end")


def _placed(path: Path, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Return the image's centre in nm from the slide's, and nm per px: (2,) each."""
    if frame.hamamatsu_offset is None or frame.mpp_x is None or frame.mpp_y is None:
        missing = "um per px" if frame.hamamatsu_offset else "hamamatsu.XOffsetFromSlideCentre"
        raise SlideError(
            f"{path.name}: counts in nanometres from the centre of the glass, and the slide does not say its"
            f" {missing}; keep the .ndpi with its tags, give its mpp in the table, or export the marks as GeoJSON"
        )
    return np.array(frame.hamamatsu_offset), 1000 * np.array([frame.mpp_x, frame.mpp_y])


def _ring(drawing: Drawing, annotation: Element, where: str) -> np.ndarray | None:
    """Return the ring (n, 2) of a mark in nm; None: it has no area, and is counted."""
    kind = annotation.get("type", "").strip().lower()
    if kind == "circle":
        (centre,) = points([_xy(annotation)], where, MAX_NM, "nanometres")
        ((radius, _),) = points([{"X": annotation.findtext("radius", ""), "Y": "0"}], where, MAX_NM, "nanometres")
        return ellipse(centre, np.array([radius, radius]))
    if kind not in ("freehand", "rectangle"):
        drawing.pass_over(_OTHER_TYPES.get(kind, f"marks of type {kind[:20]}"))
        return None
    if kind == "freehand" and annotation.findtext("closed", "1").strip() in ("0", "false"):
        drawing.pass_over("lines")
        return None
    ring = points([_xy(point) for point in annotation.iterfind("pointlist/point")], where, MAX_NM, "nanometres")
    return rectangle(ring, where) if kind == "rectangle" and distinct_points(ring) > 1 else ring


def _xy(element: Element) -> dict[str, str]:
    return {axis: element.findtext(axis.lower(), "") for axis in ("X", "Y")}
