"""Exact areas and pixel masks of large polygons, by halving the plane until little is left to do."""

import numpy as np
import shapely

_SMALL_VERTICES = 256
_SMALL_PATCHES = 16
_SMALL_BLOCK_PX = 4096
_NOTHING = 1e-9


def polygonal(geometry: shapely.Geometry) -> shapely.Polygon | shapely.MultiPolygon:
    """Return the polygons of a geometry as one (Multi)Polygon; points and lines, which have no area, are dropped."""
    if isinstance(geometry, shapely.Polygon | shapely.MultiPolygon):
        return geometry
    polygons: list[shapely.Polygon] = []
    if isinstance(geometry, shapely.GeometryCollection):
        for part in geometry.geoms:
            found = polygonal(part)
            polygons += found.geoms if isinstance(found, shapely.MultiPolygon) else [found]
    return shapely.MultiPolygon(polygons)


def area_fractions(geometry: shapely.Geometry, x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
    """Return the share of each square [x0, x0 + edge0] x [y0, y0 + edge0] that lies inside, float64 (n,), in [0, 1].

    Exact to rounding; shares within 1e-9 of 0 or 1 are 0 or 1, so that a square that only touches
    an outline is not partly inside it. The geometry must be valid and polygonal.
    """
    x, y = np.asarray(x0, dtype=np.float64), np.asarray(y0, dtype=np.float64)
    shares = np.zeros(len(x))
    if len(x):
        _share(geometry, (x, y, edge0), np.arange(len(x)), shares)
    return snapped(shares)


def snapped(shares: np.ndarray) -> np.ndarray:
    """Return area shares with those within 1e-9 of 0 or 1, which only rounding keeps apart, made 0 or 1."""
    return np.where(shares < _NOTHING, 0.0, np.where(shares > 1.0 - _NOTHING, 1.0, shares))


def _share(
    geometry: shapely.Geometry, squares: tuple[np.ndarray, np.ndarray, float], which: np.ndarray, shares: np.ndarray
) -> None:
    """Fill `shares` for the squares `which`: halve them by position and clip the geometry to each half."""
    x, y, edge0 = squares
    left, top = x[which].min(), y[which].min()
    right, bottom = x[which].max() + edge0, y[which].max() + edge0
    around = shapely.box(left, top, right, bottom)
    shapely.prepare(geometry)
    if shapely.disjoint(geometry, around):
        return
    if shapely.covers(geometry, around):
        shares[which] = 1.0
        return
    clipped = polygonal(shapely.intersection(geometry, around))
    if len(which) <= _SMALL_PATCHES or shapely.get_num_coordinates(clipped) <= _SMALL_VERTICES:
        shares[which] = _share_directly(clipped, x[which], y[which], edge0)
        return
    along = x[which] if right - left >= bottom - top else y[which]
    order = which[np.argsort(along, kind="stable")]
    _share(clipped, squares, order[: len(order) // 2], shares)
    _share(clipped, squares, order[len(order) // 2 :], shares)


def _share_directly(geometry: shapely.Geometry, x: np.ndarray, y: np.ndarray, edge0: float) -> np.ndarray:
    boxes = shapely.box(x, y, x + edge0, y + edge0)
    shapely.prepare(geometry)
    shares = shapely.covers(geometry, boxes).astype(np.float64)
    partly = shapely.intersects(geometry, boxes) & (shares == 0.0)
    shares[partly] = shapely.area(shapely.intersection(geometry, boxes[partly])) / edge0**2
    return shares


def rasterise(geometry: shapely.Geometry, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which points of a grid lie inside, bool (len(y), len(x)); x and y rise, level-0 px.

    A point on an outline is outside. The geometry must be valid and polygonal. Memory is the
    raster's, whatever the outlines.
    """
    inside = np.zeros((len(y), len(x)), dtype=bool)
    if inside.size:
        _fill(geometry, inside, x, y)
    return inside


def _fill(geometry: shapely.Geometry, inside: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Fill `inside`, a view of the raster at the points x, y, halving its longer side."""
    around = shapely.box(x[0] - 1, y[0] - 1, x[-1] + 1, y[-1] + 1)
    shapely.prepare(geometry)
    if shapely.disjoint(geometry, around):
        return
    if shapely.covers(geometry, around):
        inside[:] = True
        return
    clipped = polygonal(shapely.intersection(geometry, around))
    if inside.size <= _SMALL_BLOCK_PX:
        shapely.prepare(clipped)
        inside[:] = shapely.contains_xy(clipped, x[np.newaxis, :], y[:, np.newaxis])
    elif len(x) >= len(y):
        half = len(x) // 2
        _fill(clipped, inside[:, :half], x[:half], y)
        _fill(clipped, inside[:, half:], x[half:], y)
    else:
        half = len(y) // 2
        _fill(clipped, inside[:half], x, y[:half])
        _fill(clipped, inside[half:], x, y[half:])
