"""Annotation files as three programs write them, from the same regions: QuPath, Aperio ImageScope and ASAP."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import quoteattr

from shapely.geometry import Polygon

from acinus_demo.outline import Outline, Ring, asap_text

Colour = tuple[int, int, int]
COLOURS: Mapping[str, Colour] = {
    **{"Stroma": (150, 200, 150), "Immune cells": (160, 90, 160), "Tumor": (200, 0, 0)},  # QuPath's own classes
    **{"Lymphocytes": (0, 0, 255), "Tumour": (255, 255, 0)},
}
OTHER: Colour = (100, 254, 46)


@dataclasses.dataclass(frozen=True)
class Region:
    """One annotated area of a class, level-0 pixels; holes are not of the class."""

    name: str
    ring: Ring
    holes: tuple[Ring, ...] = ()

    @property
    def polygon(self) -> Polygon:
        """The area itself."""
        return Polygon(self.ring, self.holes)


def qupath(regions: Sequence[Region], ruler: Ring = ()) -> str:
    """Return the GeoJSON that QuPath exports; ruler: a line without a class, as its line tool leaves."""
    features = []
    for number, region in enumerate(regions):
        rings = [[*ring, ring[0]] for ring in (region.ring, *region.holes)]
        kind = {"classification": {"name": region.name, "color": list(COLOURS.get(region.name, OTHER))}}
        features.append(_feature(number, {"type": "Polygon", "coordinates": rings}, kind))
    if ruler:
        features.append(_feature(len(regions), {"type": "LineString", "coordinates": list(ruler)}, {}))
    return json.dumps({"type": "FeatureCollection", "features": features})


def _feature(number: int, geometry: Mapping[str, object], kind: Mapping[str, object]) -> dict[str, object]:
    identity = f"00000000-0000-4000-8000-{number:012x}"
    return {
        "type": "Feature",
        "id": identity,
        "geometry": geometry,
        "properties": {"objectType": "annotation", **kind, "isLocked": False},
    }


def imagescope(regions: Sequence[Region], mpp: float, ruler: Ring = ()) -> str:
    """Return the XML that ImageScope writes: a layer per class, holes as negative regions, a ruler in a last layer."""
    layers = []
    for name in dict.fromkeys(region.name for region in regions):
        drawn = [region for region in regions if region.name == name]
        marks = [(region.ring, 0, 0) for region in drawn]
        layers.append((name, marks + [(hole, 0, 1) for region in drawn for hole in region.holes]))
    if ruler:
        layers.append(("", [(ruler, 4, 0)]))
    lines = [f'<Annotations MicronsPerPixel="{mpp:.4f}">']
    for number, (name, marks) in enumerate(layers, 1):
        red, green, blue = COLOURS.get(name, OTHER)
        colour = red | green << 8 | blue << 16
        lines.append(f'<Annotation Id="{number}" Name={quoteattr(name)} LineColor="{colour}" Type="4" Visible="1">')
        lines.append("<Regions>")
        for identity, (ring, kind, negative) in enumerate(marks, 1):
            vertices = "".join(f'<Vertex X="{x!r}" Y="{y!r}" Z="0"/>' for x, y in ring)
            head = f'<Region Id="{identity}" Type="{kind}" NegativeROA="{negative}">'
            lines.append(f"{head}<Vertices>{vertices}</Vertices></Region>")
        lines.append("</Regions></Annotation>")
    return "\n".join([*lines, "</Annotations>"]) + "\n"


def asap(regions: Sequence[Region], cut_out: str) -> str:
    """Return the XML that ASAP writes; it knows no holes, so that one is an outline of the group `cut_out`."""
    outlines = []
    for region in regions:
        outlines += [Outline(region.name, region.ring), *(Outline(cut_out, hole) for hole in region.holes)]
    return asap_text(outlines)
