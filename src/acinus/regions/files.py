"""The regions of a slide as files for other programs, written while the cleaned map passes by."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acinus.labels.palette import Colour, palette
from acinus.maps.geometry import MapGeometry
from acinus.regions import asap as asap_regions
from acinus.regions import geojson
from acinus.regions.outlines import Shapes, outlines
from acinus.regions.table import CleanBand, Found

TUMOUR_GROUP = "Tumor"
"""The ASAP group of the positive class where there is only one: the name that CAMELYON's readers know."""


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


def exported(found: Found, legend: Legend, geojson_path: Path, asap_path: Path) -> Iterator[CleanBand]:
    """Yield the bands of `found.bands()`, and leave the regions as GeoJSON (QuPath) and ASAP XML when they are through.

    Regions stand in the order in which they end, so that memory holds only those that a band passes through.
    Outlines follow the borders of map px in level-0 px, cut at the slide's border.
    """
    shapes = Shapes(found.boxes)
    groups = [(legend.group(number), colour) for number, colour in enumerate(legend.colours) if number]
    with (
        geojson.feature_collection(geojson_path) as add_feature,
        asap_regions.annotations(asap_path, groups) as add_ring,
    ):
        for band in found.bands():
            for shape in shapes.add(band.top, band.regions):
                row, polygons = found.rows[shape.region - 1], outlines(shape.mask)
                name, index = f"region {shape.region}", row["class_index"]
                corner = (shape.left, shape.top)
                placed = [[_level0(ring + corner, found.geometry) for ring in polygon] for polygon in polygons]
                add_feature(geojson.feature(row, placed, legend.names[index], legend.colours[index]))
                for number, (excluded, ring) in enumerate(asap_regions.rings_of(shape, polygons)):
                    group = asap_regions.EXCLUSION if excluded else legend.group(index)
                    label = f"{name} hole {number}" if excluded else name if not number else f"{name} part {number}"
                    add_ring(label, group, _level0(ring + corner, found.geometry))
            yield band


def _level0(ring: np.ndarray, geometry: MapGeometry) -> np.ndarray:
    """Return corners (n, 2) of map px as level-0 px, float64."""
    return np.stack([geometry.edges_x0[ring[:, 0]], geometry.edges_y0[ring[:, 1]]], axis=1)
