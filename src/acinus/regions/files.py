"""The regions of a slide as files for other programs, written while the cleaned map passes by.

GeoJSON for QuPath, which imports it as annotations (File, Import objects; or by dropping the file on the slide). Read
by its QuPathTypeAdapters: objectType, name, classification {name, color}, measurements (a map of numbers, without
null). Coordinates are level-0 px, y down, as QuPath has them, not degrees as RFC 7946 has them; where a slide says
which part of it holds pixels (`openslide.bounds-*`: MRXS, SCN) they are relative to that part: QuPath shows no more.

ASAP XML, in level-0 px: what ASAP opens beside the slide, and `labels.asap` reads back.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from scipy import ndimage

from acinus.files import atomic_path
from acinus.labels.palette import Colour, palette
from acinus.maps.geometry import MapGeometry
from acinus.regions.cleaned import FOUR
from acinus.regions.outlines import Polygon, Shape, Shapes, cut, outlines
from acinus.regions.table import CleanBand, Found

TUMOUR_GROUP = "Tumor"
"""The ASAP group of the positive class where there is only one: the name that CAMELYON's readers know."""
EXCLUSION = "Exclusion"
"""The ASAP group of what is cut out of all others."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Legend:
    """Names and colours of the classes, in class order, for exported regions."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    @classmethod
    def of(cls, names: tuple[str, ...], colours: tuple[Colour, ...] = ()) -> "Legend":
        """Return the legend of these classes; without colours in those of the report's pictures."""
        return cls(names, colours or tuple(palette(names).values()))

    def group(self, index: int) -> str:
        """Return the ASAP group of a class."""
        return TUMOUR_GROUP if len(self.names) == 2 else self.names[index]


def exported(
    found: Found, legend: Legend, geojson_path: Path, asap_path: Path, corner0: tuple[int, int] = (0, 0)
) -> Iterator[CleanBand]:
    """Yield the bands of `found.bands()`, and leave the regions as GeoJSON (QuPath) and ASAP XML when they are through.

    Regions stand in the order in which they end, so that memory holds only those that a band passes through.
    Outlines follow the borders of map px in level-0 px, cut at the slide's border. The files appear whole at the end
    or not at all. corner0: the level-0 px (x0, y0) that QuPath counts from, which the GeoJSON is relative to; ASAP
    counts from the full slide.
    """
    shapes, separator = Shapes(found.boxes), ""
    colours = {legend.group(index): colour for index, colour in enumerate(legend.colours) if index}
    colours[EXCLUSION] = (255, 255, 255)
    with (
        atomic_path(geojson_path) as geojson_part,
        geojson_part.open("w", encoding="utf-8", newline="\n") as geojson,
        atomic_path(asap_path) as asap_part,
        asap_part.open("w", encoding="utf-8", newline="\n") as asap,
    ):
        geojson.write('{"type": "FeatureCollection", "features": [')
        asap.write('<?xml version="1.0" encoding="UTF-8"?>\n<ASAP_Annotations>\n\t<Annotations>\n')
        for band in found.bands():
            for shape in shapes.add(band.top, band.regions):
                row, polygons = found.rows[shape.region - 1], outlines(shape.mask)
                placed = [[_level0(ring, shape, found.geometry) for ring in polygon] for polygon in polygons]
                shown = [[ring - np.array(corner0) for ring in polygon] for polygon in placed]
                feature = _feature(row, shown, legend)
                geojson.write(f"{separator}\n{json.dumps(feature, allow_nan=False)}")
                separator = ","
                for number, (excluded, ring) in enumerate(_asap_rings(shape, polygons)):
                    name, group = f"region {shape.region}", legend.group(row["class_index"])
                    if excluded:
                        name, group = f"{name} hole {number}", EXCLUSION
                    elif number:
                        name = f"{name} part {number}"
                    asap.write(_annotation(name, group, colours[group], _level0(ring, shape, found.geometry)))
            yield band
        geojson.write("\n]}\n")
        asap.write("\t</Annotations>\n\t<AnnotationGroups>\n")
        for name, colour in colours.items():
            asap.write(f'\t\t<Group Name={_quoted(name)} PartOfGroup="None" Color="{_hex(colour)}">\n')
            asap.write("\t\t\t<Attributes />\n\t\t</Group>\n")
        asap.write("\t</AnnotationGroups>\n</ASAP_Annotations>\n")


def _level0(ring: np.ndarray, shape: Shape, geometry: MapGeometry) -> np.ndarray:
    """Return corners (n, 2) of map px in the box of a region as level-0 px, float64."""
    column, row = (ring + np.array([shape.left, shape.top])).T
    return np.stack([geometry.edges_x0[column], geometry.edges_y0[row]], axis=1)


def _feature(row: Mapping[str, Any], polygons: Sequence[Sequence[np.ndarray]], legend: Legend) -> dict[str, Any]:
    """Return one region as a Feature. row: of records.REGIONS; polygons: rings (n, 2) in level-0 px, not closed."""
    # whole numbers without a point; a ring ends with its first point
    rings = [
        [[[int(at) if at.is_integer() else at for at in point] for point in ring.tolist()] for ring in polygon]
        for polygon in polygons
    ]
    closed = [[[*ring, ring[0]] for ring in polygon] for polygon in rings]
    return {
        "type": "Feature",
        "geometry": {
            "type": "Polygon" if len(closed) == 1 else "MultiPolygon",
            "coordinates": closed[0] if len(closed) == 1 else closed,
        },
        "properties": {
            "objectType": "annotation",
            "name": f"region {row['region']}",
            "classification": {
                "name": legend.names[row["class_index"]],
                "color": list(legend.colours[row["class_index"]]),
            },
            "measurements": {
                name: row[name] for name in ("area_mm2", "prob_max", "prob_mean") if row[name] is not None
            },
        },
    }


def _asap_rings(shape: Shape, polygons: Sequence[Polygon]) -> Iterator[tuple[bool, np.ndarray]]:
    """Yield (whether it is to be cut out, ring) of a region whose `outlines` are `polygons`.

    An ASAP polygon has no hole: a hole becomes a polygon to be cut out. Such a cut goes through whatever lies
    within, so a region around another one, or around a part of itself, is divided into polygons without holes
    instead (`cut`).
    """
    if _goes_around_others(shape, polygons):
        for polygon in cut(shape.mask):
            yield False, polygon[0]
        return
    for polygon in polygons:
        for number, ring in enumerate(polygon):
            yield number > 0, ring


def _goes_around_others(shape: Shape, polygons: Sequence[Polygon]) -> bool:
    """Return whether px of any region lie within a hole: then the hole's ring encloses more than its empty px."""
    holes = [ring for polygon in polygons for ring in polygon[1:]]
    if not holes:
        return False
    empty, number = ndimage.label(~(shape.mask | shape.others), FOUR)
    px = np.bincount(empty.ravel(), minlength=number + 1)
    for ring in holes:
        column, row = ring[0].tolist()
        if not empty[row, column] or px[empty[row, column]] != _area(ring):
            return True
    return False


def _area(ring: np.ndarray) -> int:
    """Return the area of a simple ring of whole corners along px borders (shoelace formula)."""
    x, y = ring.T
    return abs(int(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) // 2


def _annotation(name: str, group: str, colour: Colour, ring: np.ndarray) -> str:
    """Return a polygon of ASAP's; ring: (n, 2) in level-0 px."""
    lines = [
        f'\t\t<Annotation Name={_quoted(name)} Type="Polygon" PartOfGroup={_quoted(group)} Color="{_hex(colour)}">',
        "\t\t\t<Coordinates>",
    ]
    for order, point in enumerate(ring.tolist()):
        x0, y0 = (str(int(value)) if value.is_integer() else repr(value) for value in point)
        lines.append(f'\t\t\t\t<Coordinate Order="{order}" X="{x0}" Y="{y0}" />')
    return "\n".join([*lines, "\t\t\t</Coordinates>", "\t\t</Annotation>", ""])


def _quoted(text: str) -> str:
    """Return text as an attribute, quoted; what XML cannot hold becomes a question mark."""
    return quoteattr(_NOT_XML.sub("?", text))


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
