"""Labels that need no pixels: exact areas and px of large polygons, by halving the plane until little is left to do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import shapely

from acinus.annotations.areas import polygonal
from acinus.scoring.confusion import IGNORE
from acinus.slides.geometry import pixel_centres, window_centres

OUTLINED = 1
"""The class of what an outline goes around."""
_SMALL_VERTICES = 256
_SMALL_PATCHES = 16
_SMALL_BLOCK_PX = 4096
_NOTHING = 1e-9


def windows_of(
    labels_at: Callable[[np.ndarray, np.ndarray], np.ndarray],
    size: tuple[int, int],
    x0: np.ndarray,
    y0: np.ndarray,
    edge_px: int,
    downsample: float,
) -> Iterator[np.ndarray]:
    """Yield the windows of labels.Labels on a slide of `size` (width, height) level-0 px.

    labels_at: px centres on the slide, level-0 px (n,) and (m,), both rising -> uint8 (m, n).
    """
    for left0, top0 in zip(np.asarray(x0).tolist(), np.asarray(y0).tolist(), strict=True):
        window = np.full((edge_px, edge_px), IGNORE, dtype=np.uint8)
        c, x = window_centres(left0, edge_px, downsample, size[0])
        r, y = window_centres(top0, edge_px, downsample, size[1])
        window[r, c] = labels_at(x, y)
        yield window


class AtPoints(ABC):
    """Labels of a slide of width x height level-0 px that can be told of any points."""

    width: int
    height: int

    @abstractmethod
    def _at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the labels at a grid of level-0 points on the slide, both rising, uint8 (len(y), len(x))."""

    def raster(self, columns: int, rows: int, downsample: float, top: int = 0) -> np.ndarray:
        """See labels.Labels."""
        x = pixel_centres(columns, downsample, self.width)
        return self._at(x, pixel_centres(rows, downsample, self.height, top))

    def windows(self, x0: np.ndarray, y0: np.ndarray, edge_px: int, downsample: float) -> Iterator[np.ndarray]:
        """See labels.Labels."""
        return windows_of(self._at, (self.width, self.height), x0, y0, edge_px, downsample)


@dataclass(frozen=True)
class Outlined(AtPoints):
    """Labels from outlines in level-0 pixels. What is neither tumour (class 1) nor ignored is class 0.

    `looked_at` is the area outside which nothing is known; None: all is known. A slide of which all or nothing is
    known, and nothing drawn, is the same beyond its border.
    """

    tumour: shapely.Geometry
    ignored: shapely.Geometry
    looked_at: shapely.Geometry | None
    width: int
    height: int
    classes: int = 2

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
        """See labels.Labels."""
        tumour = area_fractions(self.tumour, x0, y0, edge0)
        if self.looked_at is None:
            ignored = area_fractions(self.ignored, x0, y0, edge0)
        else:
            ignored = 1.0 - area_fractions(self.looked_at, x0, y0, edge0)
        shares = np.zeros((self.classes + 1, len(tumour)))
        shares[OUTLINED] = tumour
        shares[-1] = np.minimum(ignored, 1.0 - tumour)
        shares[0] = snapped(1.0 - tumour - shares[-1])
        return shares

    def _at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See AtPoints."""
        labels = np.zeros((len(y), len(x)), dtype=np.uint8)
        if self.looked_at is None:
            labels[rasterise(self.ignored, x, y)] = IGNORE
        else:
            labels[~rasterise(self.looked_at, x, y)] = IGNORE
        labels[rasterise(self.tumour, x, y)] = OUTLINED
        return labels


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


def rasterise(geometry: shapely.Geometry, x: np.ndarray, y: np.ndarray, with_border: bool = False) -> np.ndarray:
    """Return which points of a grid lie inside, bool (len(y), len(x)); x and y rise, level-0 px.

    A point on an outline is outside, unless `with_border`. The geometry must be valid and polygonal. Memory is the
    raster's, whatever the outlines.
    """
    inside = np.zeros((len(y), len(x)), dtype=bool)
    if inside.size:
        _fill(geometry, inside, x, y, shapely.intersects_xy if with_border else shapely.contains_xy)
    return inside


def _fill(
    geometry: shapely.Geometry, inside: np.ndarray, x: np.ndarray, y: np.ndarray, within: Callable[..., np.ndarray]
) -> None:
    """Fill `inside`, a view of the raster at the points x, y, halving its longer side; within: asks for points."""
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
        inside[:] = within(clipped, x[np.newaxis, :], y[:, np.newaxis])
    elif len(x) >= len(y):
        half = len(x) // 2
        _fill(clipped, inside[:, :half], x[:half], y, within)
        _fill(clipped, inside[:, half:], x[half:], y, within)
    else:
        half = len(y) // 2
        _fill(clipped, inside[:half], x, y[:half], within)
        _fill(clipped, inside[half:], x, y[half:], within)
