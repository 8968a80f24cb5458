"""ASAP XML: what is drawn, in level-0 pixels of the full slide. The group of an annotation is its class.

Source: the files that CAMELYON16/17 ship and that ASAP writes.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from acinus.annotations.areas import Drawing, distinct_points, rectangle
from acinus.annotations.frame import Frame
from acinus.annotations.safe_xml import elements, hex_colour, number, points
from acinus.errors import SlideError

AREA_TYPES = ("Polygon", "Spline", "Rectangle")
POINT_TYPES = ("Dot", "PointSet", "Measurement")
_ORDER = re.compile(r"\s*\d{1,9}\s*\Z")


def read(path: Path, frame: Frame) -> Drawing:
    """Return what an ASAP XML file holds; without a group (or in group None) an annotation has no class.

    A Spline is the polygon through its control points, not the smooth curve.

    Raises:
        SlideError: unreadable, malformed or hostile XML, an unknown type, a vertex that is no number.
    """
    del frame  # ASAP counts from the corner of the full slide
    drawing = Drawing(path, "asap")
    for name, annotation, where in annotations(path):
        kind = checked_type(annotation, where)
        if kind in POINT_TYPES:
            drawing.pass_over("points" if kind != "Measurement" else "rulers")
            continue
        ring = vertices(annotation, where)
        if kind == "Rectangle" and distinct_points(ring) > 1:
            ring = rectangle(ring, where)
        group = annotation.get("PartOfGroup") or "None"
        colour = hex_colour(annotation.get("Color"))
        drawing.add([[ring]], None if group == "None" else group, name, colour)
    return drawing


def annotations(path: Path) -> Iterator[tuple[str, Element, str]]:
    """Yield (name, element, where) of every annotation; `where` begins a message about it."""
    drawn = elements(path, "ASAP_Annotations", ("Annotation",), "ASAP", "Annotations")
    for count, annotation in enumerate(element for event, element in drawn if event == "end"):
        name = annotation.get("Name") or f"number {count}"
        yield name, annotation, f"{path.name}: annotation {name!r}"


def checked_type(annotation: Element, where: str) -> str:
    """Return the type of an annotation, one of AREA_TYPES and POINT_TYPES."""
    kind = annotation.get("Type", "")
    if kind not in AREA_TYPES + POINT_TYPES:
        types = ", ".join(AREA_TYPES + POINT_TYPES)
        raise SlideError(f"{where} has unknown type {kind!r}; allowed: {types}; redraw it as a polygon")
    return kind


def vertices(annotation: Element, where: str) -> np.ndarray:
    """Return the vertices in Order, float64 (n, 2) of x0, y0; Order must count up without gap or repetition."""
    attributes = [coordinate.attrib for coordinate in annotation.iterfind("Coordinates/Coordinate")]
    if [values.get("Order") for values in attributes] == [str(place) for place in range(len(attributes))]:
        return points(attributes, where)
    rows = []
    for values in attributes:
        order = values.get("Order")
        if order is None or not _ORDER.match(order):
            raise SlideError(f"{where}: a coordinate has Order {order!r}; expected a whole number from 0")
        rows.append((int(order), *(number(values.get(axis), axis, where) for axis in ("X", "Y"))))
    rows.sort(key=lambda row: row[0])
    for (before, *_), (after, *_) in itertools.pairwise(rows):
        if after != before + 1:
            what = f"Order {after} stands twice" if after == before else f"Order {before + 1} is missing"
            raise SlideError(f"{where}: {what}; number its coordinates 0, 1, 2, ... without gap or repetition")
    return np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 2)
