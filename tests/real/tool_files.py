"""Outlines as the files of three tools: QuPath, Aperio ImageScope and ASAP."""

import json
from collections.abc import Sequence

import numpy as np
import shapely

Drawn = Sequence[tuple[str, shapely.Polygon]]
"""Outlines: the class in the tool, and the polygon in level-0 px of the full slide."""
RED = (200, 0, 0)
HOLE = "Hole"
"""The group of ASAP's cut-outs, which knows no holes: an outline of a class that lies on top."""


def qupath(drawn: Drawn) -> str:
    """Return GeoJSON as QuPath exports it."""
    features = [
        {
            "type": "Feature",
            "id": str(number),
            "geometry": json.loads(shapely.to_geojson(shape)),
            "properties": {"objectType": "annotation", "classification": {"name": name, "color": list(RED)}},
        }
        for number, (name, shape) in enumerate(drawn)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def rings(shape: shapely.Polygon) -> list[tuple[np.ndarray, bool]]:
    """Return every ring without its repeated first point, and whether it is a hole."""
    holes = [(np.asarray(hole.coords)[:-1], True) for hole in shape.interiors]
    return [(np.asarray(shape.exterior.coords)[:-1], False), *holes]


def imagescope(drawn: Drawn) -> str:
    """Return ImageScope's XML: a layer for each class, holes as negative regions."""
    layers = ""
    for layer, name in enumerate(dict.fromkeys(name for name, _ in drawn), start=1):
        listed = [ring for other, shape in drawn if other == name for ring in rings(shape)]
        regions = "".join(
            f'<Region Id="{number}" Type="0" NegativeROA="{int(hole)}"><Vertices>'
            + "".join(f'<Vertex X="{x!r}" Y="{y!r}" Z="0"/>' for x, y in ring.tolist())
            + "</Vertices></Region>"
            for number, (ring, hole) in enumerate(listed, start=1)
        )
        layers += (
            f'<Annotation Id="{layer}" Name="{name}" LineColor="255" Type="4"><Regions>{regions}</Regions></Annotation>'
        )
    return f"<Annotations>{layers}</Annotations>"


def asap(drawn: Drawn) -> str:
    """Return ASAP's XML: a group for each class, holes in group HOLE."""
    listed = [(HOLE if hole else name, ring) for name, shape in drawn for ring, hole in rings(shape)]
    annotations = "".join(
        f'<Annotation Name="A{number}" Type="Polygon" PartOfGroup="{group}" Color="#F4FA58"><Coordinates>'
        + "".join(f'<Coordinate Order="{place}" X="{x!r}" Y="{y!r}"/>' for place, (x, y) in enumerate(ring.tolist()))
        + "</Coordinates></Annotation>"
        for number, (group, ring) in enumerate(listed)
    )
    groups = "".join(
        f'<Group Name="{group}" PartOfGroup="None" Color="#64FE2E"><Attributes/></Group>'
        for group in dict.fromkeys(group for group, _ in listed)
    )
    return (
        f'<?xml version="1.0"?><ASAP_Annotations><Annotations>{annotations}</Annotations>'
        f"<AnnotationGroups>{groups}</AnnotationGroups></ASAP_Annotations>"
    )
