"""Which points of a grid lie in many small polygons: ring by ring, in time that grows with the rings and the points."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import shapely

from acinus.labels.outlines import rasterise

FEW = 64
"""Rings up to which polygons are looked at together."""
_SMALL_PX = 4096
"""Points below a ring up to which each is asked by itself."""
_MANY_VERTICES = 512
_POINTS_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Rings:
    """The rings of a valid (Multi)Polygon. shapes: each as a polygon (n,). signs: int8 (n,), 1 outer, -1 a hole.

    A point lies inside where one outer ring more goes around it than holes do; on the border of a hole it does not.
    """

    shapes: np.ndarray
    signs: np.ndarray
    tree: shapely.STRtree

    @classmethod
    def of(cls, area: shapely.Geometry) -> Self:
        """Return the rings of an area; they are prepared for points once, for all grids that are asked for."""
        rings, owner = shapely.get_rings(shapely.get_parts(area), return_index=True)
        shapes = np.asarray(shapely.polygons(rings))
        shapely.prepare(shapes)
        signs = np.where(np.diff(owner, prepend=-1) > 0, 1, -1).astype(np.int8)  # a polygon's outer ring comes first
        return cls(shapes, signs, shapely.STRtree(shapes))

    def raster(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See outlines.rasterise, bool (len(y), len(x)); memory is the raster's."""
        depth = np.zeros((len(y), len(x)), dtype=np.int16)  # many holes may meet in one point
        near = np.sort(self.tree.query(shapely.box(x[0], y[0], x[-1], y[-1]))) if depth.size else np.empty(0, dtype=int)
        left, top, right, bottom = shapely.bounds(self.shapes[near]).T.reshape(4, -1)
        columns = np.stack([np.searchsorted(x, left), np.searchsorted(x, right, "right")])
        rows = np.stack([np.searchsorted(y, top), np.searchsorted(y, bottom, "right")])
        px = (columns[1] - columns[0]) * (rows[1] - rows[0])
        vertices = shapely.get_num_coordinates(self.shapes[near])
        large = (px > _SMALL_PX) | ((vertices > _MANY_VERTICES) & (px > 0))
        for place in np.flatnonzero(large):
            ring, c, r = near[place], slice(*columns[:, place]), slice(*rows[:, place])
            hole = self.signs[ring] < 0
            depth[r, c] += self.signs[ring] * rasterise(self.shapes[ring], x[c], y[r], with_border=hole)
        small = np.flatnonzero(~large & (px > 0))
        for part in np.split(small, np.searchsorted(np.cumsum(px[small]), _steps(int(px[small].sum())))):
            self._add(depth, (x, y), near[part], columns[:, part], rows[:, part])
        inside: np.ndarray = depth > 0
        return inside

    def _add(
        self,
        depth: np.ndarray,
        grid: tuple[np.ndarray, np.ndarray],
        rings: np.ndarray,
        columns: np.ndarray,
        rows: np.ndarray,
    ) -> None:
        """Add the signs of rings to the points that they go around, of columns[0] to columns[1], and rows alike."""
        wide, high = columns[1] - columns[0], rows[1] - rows[0]
        which = np.repeat(np.arange(len(rings)), wide * high)
        place = np.arange(len(which)) - np.repeat(np.cumsum(wide * high) - wide * high, wide * high)
        r, c = rows[0][which] + place // wide[which], columns[0][which] + place % wide[which]
        shapes, signs = self.shapes[rings][which], self.signs[rings][which]
        holes = signs < 0
        hit = np.empty(len(which), dtype=bool)
        for of, within in ((~holes, shapely.contains_xy), (holes, shapely.intersects_xy)):
            hit[of] = within(shapes[of], grid[0][c[of]], grid[1][r[of]])
        np.add.at(depth, (r[hit], c[hit]), signs[hit])


def _steps(points: int) -> np.ndarray:
    return np.arange(_POINTS_AT_ONCE, points, _POINTS_AT_ONCE)
