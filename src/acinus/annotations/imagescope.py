"""Aperio ImageScope's XML and HALO's .annotations, in level-0 pixels of the full slide.

Layers (`Annotation`) hold regions. The class of a region is its layer's Name, else the layer's attribute Description,
else the region's Text, else the layer's LineColor (decimal, 0xBBGGRR), else the layer's Id. `NegativeROA` cuts a region
out of all others of its layer.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from acinus.annotations.areas import Drawing, distinct_points, ellipse, rectangle
from acinus.annotations.frame import Frame, resolution_warning
from acinus.annotations.outline import Colour
from acinus.annotations.safe_xml import elements, points

_AREA_TYPES = {
    **{"0": "polygon", "polygon": "polygon", "freehand": "polygon"},
    **{"1": "rectangle", "rectangle": "rectangle"},
    **{"2": "ellipse", "ellipse": "ellipse"},
}
_OTHER_TYPES = {"3": "arrows", "arrow": "arrows", "4": "rulers", "ruler": "rulers", "pin": "points"}
_TRUE = ("1", "true")


def read(path: Path, frame: Frame) -> Drawing:
    """Return what an XML file of ImageScope holds.

    A free-hand region is closed, whether its last vertex is its first or not. An ellipse is a ring of the same area.

    Raises:
        SlideError: unreadable, malformed or hostile XML, or a vertex that is no number.
    """
    return _read(path, frame, "imagescope", "ImageScope")


def read_halo(path: Path, frame: Frame) -> Drawing:
    """Return what HALO's .annotations hold: as `read`, with types in words and vertices <V>."""
    return _read(path, frame, "halo", "HALO")


def _read(path: Path, frame: Frame, tool: str, title: str) -> Drawing:
    drawing = Drawing(path, tool)
    layer, since, cut_out = Element("Annotation"), 0, list[np.ndarray]()
    for event, element in elements(path, "Annotations", ("Annotations", "Annotation", "Region"), title):
        if event == "start" and element.tag == "Annotations":
            drawing.warnings += resolution_warning(path, _mpp(element), frame)
        elif event == "start" and element.tag == "Annotation":
            layer, since, cut_out = element, len(drawing), []
        elif event == "end" and element.tag == "Annotation":
            drawing.cut(since, cut_out)
        elif event == "end" and element.tag == "Region":
            where = f"layer {layer.get('Id', '?')} region {element.get('Id', '?')}"
            for ring in _rings(drawing, element, f"{path.name}: {where}"):
                if element.get("NegativeROA", "").lower() in _TRUE:
                    cut_out.append(ring)
                else:
                    drawing.add([[ring]], _class(layer, element), where, _colour(layer))
    return drawing


def _mpp(root: Element) -> float:
    """Return the um per px that the file states; 0: none."""
    try:
        return float(root.get("MicronsPerPixel", "0"))
    except ValueError:
        return 0.0


def _rings(drawing: Drawing, region: Element, where: str) -> Iterator[np.ndarray]:
    """Yield the ring (n, 2) of a region, or count it where its type has no area."""
    written = region.get("Type", "0").strip().lower()
    kind = _AREA_TYPES.get(written)
    if kind is None:
        drawing.pass_over(_OTHER_TYPES.get(written, f"marks of type {written[:20]}"))
        return
    vertices = [vertex.attrib for tag in ("Vertex", "V") for vertex in region.iterfind(f"Vertices/{tag}")]
    ring = points(vertices, where)
    if kind == "rectangle" and distinct_points(ring) > 1:
        ring = rectangle(ring, where)
    elif kind == "ellipse" and len(ring):
        low, high = ring.min(axis=0), ring.max(axis=0)
        ring = ellipse((low + high) / 2, (high - low) / 2)
    yield ring


def _class(layer: Element, region: Element) -> str | None:
    """Return the class of a region: see above."""
    description = next(
        (a.get("Value", "") for a in layer.iterfind("Attributes/Attribute") if a.get("Name") == "Description"), ""
    )
    for name in (layer.get("Name", ""), description, region.get("Text", "")):
        if name.strip():
            return name
    if _colour(layer):
        return f"LineColor {int(layer.attrib['LineColor'])}"
    return f"layer {layer.attrib['Id']}" if "Id" in layer.attrib else None


def _colour(layer: Element) -> Colour | None:
    text = layer.get("LineColor", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    value = int(text)
    return (value & 255, value >> 8 & 255, value >> 16 & 255)
