"""Labels from outlines of several classes: exact shares of patches, rasters and windows, and their file."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from acinus.errors import SlideError
from acinus.files import atomic_path
from acinus.labels.layers import Areas
from acinus.labels.outlines import AtPoints, area_fractions, rasterise, snapped
from acinus.labels.rings import FEW, Rings
from acinus.scoring.confusion import IGNORE

_SCHEMA = pa.schema([("label", pa.int64()), ("area", pa.binary())])
_MANY_VERTICES = 512
_HAIR = np.array([2.0**-20, 3 * 2.0**-21])
"""A px is looked at so little (level-0 px) right of and below its centre: a centre on a border that two outlines share
is then in one of them, not in neither."""


@dataclass(frozen=True)
class Drawn(AtPoints):
    """Labels of a slide of width x height level-0 px whose outlines have been made disjoint."""

    areas: Areas
    width: int
    height: int
    classes: int

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
        """See labels.Labels."""
        shares = np.zeros((self.classes + 1, len(x0)))
        for label, area in self.areas.by_label.items():
            shares[self._row(label)] = many_fractions(area, x0, y0, edge0)
        shares[self._row(self.areas.rest)] = snapped(np.maximum(1.0 - shares.sum(axis=0), 0.0))
        return shares

    def _row(self, label: int) -> int:
        return self.classes if label == IGNORE else label

    @cached_property
    def _rings(self) -> dict[int, Rings]:
        """The rings of areas that have many."""
        many = {label: area for label, area in self.areas.by_label.items() if _rings_of(area) > FEW}
        return {label: Rings.of(area) for label, area in many.items()}

    def _at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See AtPoints."""
        labels = np.full((len(y), len(x)), self.areas.rest, dtype=np.uint8)
        x, y = x + _HAIR[0], y + _HAIR[1]
        for label, area in self.areas.by_label.items():
            rings = self._rings.get(label)
            labels[rasterise(area, x, y) if rings is None else rings.raster(x, y)] = label
        return labels


def _rings_of(area: shapely.Geometry) -> int:
    parts = shapely.get_parts(area)
    return int(shapely.get_num_interior_rings(parts).sum()) + len(parts)


def many_fractions(area: shapely.Geometry, x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
    """Return what outlines.area_fractions does, float64 (n,); of many small outlines ring by ring, which is quicker.

    A polygon has the share of its outer ring less those of its holes; only squares near a ring cut it.
    """
    if _rings_of(area) <= FEW:
        return area_fractions(area, x0, y0, edge0)
    rings, owner = shapely.get_rings(shapely.get_parts(area), return_index=True)
    sign = np.where(np.diff(owner, prepend=-1) > 0, 1.0, -1.0)  # the first ring of a polygon is its outer one
    shapes = np.asarray(shapely.polygons(rings))
    large = np.asarray(shapely.get_num_coordinates(shapes)) > _MANY_VERTICES
    x, y = np.asarray(x0, dtype=np.float64), np.asarray(y0, dtype=np.float64)
    squares = shapely.box(x, y, x + edge0, y + edge0)
    square, ring = shapely.STRtree(shapes).query(squares, predicate="intersects")
    near = ~large[ring]
    pieces = shapely.area(shapely.intersection(shapes[ring[near]], squares[square[near]])) * sign[ring[near]]
    shares = np.bincount(square[near], pieces, len(x)) / edge0**2
    for number in np.unique(ring[~near]):
        under = square[ring == number]
        shares[under] += sign[number] * area_fractions(shapes[number], x[under], y[under], edge0)
    return snapped(np.clip(shares, 0.0, 1.0))


def write_areas(areas: Areas, path: Path) -> None:
    """Write areas to a Parquet file, a row each (WKB); the row without an area has the label of the rest."""
    rows = [(areas.rest, None), *((label, shapely.to_wkb(area)) for label, area in areas.by_label.items())]
    columns = [pa.array(values, kind.type) for values, kind in zip(zip(*rows, strict=True), _SCHEMA, strict=True)]
    with atomic_path(path) as part:
        pq.write_table(pa.table(columns, schema=_SCHEMA), part, compression="zstd")


def read_areas(path: Path) -> Areas:
    """Return what write_areas wrote.

    Raises:
        SlideError: missing, or not such a file.
    """
    try:
        table = pq.read_table(path, schema=_SCHEMA)
        labels, areas = table["label"].to_pylist(), table["area"].to_pylist()
        by_label = {
            label: shapely.from_wkb(area) for label, area in zip(labels, areas, strict=True) if area is not None
        }
        return Areas(by_label, labels[areas.index(None)])
    except (OSError, ValueError, pa.ArrowException, shapely.errors.GEOSException) as error:
        raise SlideError(
            f"{path.name}: cannot be read ({' '.join(str(error).split())[:100]}); run ingest again"
        ) from error
