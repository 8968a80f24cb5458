"""Outlines, as shapely has them, as the files of three tools: QuPath, Aperio ImageScope and ASAP."""

from collections.abc import Sequence

import shapely

from acinus_demo import tools
from acinus_demo.outline import Ring
from acinus_demo.tools import Region

Drawn = Sequence[tuple[str, shapely.Polygon]]
"""Outlines: the class in the tool, and the polygon in level-0 px of the full slide."""
HOLE = "Hole"
"""The group of ASAP's cut-outs, which knows no holes: an outline of a class that lies on top."""


def qupath(drawn: Drawn) -> str:
    """Return GeoJSON as QuPath exports it."""
    return tools.qupath(_regions(drawn))


def imagescope(drawn: Drawn) -> str:
    """Return ImageScope's XML: a layer for each class, holes as negative regions; um per px is not stated."""
    return tools.imagescope(_regions(drawn), mpp=0.0)


def asap(drawn: Drawn) -> str:
    """Return ASAP's XML: a group for each class, holes in group HOLE."""
    return tools.asap(_regions(drawn), cut_out=HOLE)


def _regions(drawn: Drawn) -> list[Region]:
    return [
        Region(name, _ring(shape.exterior), tuple(_ring(hole) for hole in shape.interiors)) for name, shape in drawn
    ]


def _ring(ring: shapely.LinearRing) -> Ring:
    """Return a ring without its repeated first point."""
    return tuple((x, y) for x, y in ring.coords[:-1])
