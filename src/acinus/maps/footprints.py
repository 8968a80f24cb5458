"""Which map px a window covers along one axis, and how much each has of it: worked out once per row or column."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_BORDER_WEIGHT = 1e-3  # above 0, so that a px which only a window's border covers is defined


@dataclass(frozen=True, eq=False)
class Footprint:
    """The map px of one axis that a window covers: `first` is the index, `edges` their borders."""

    first: int
    edges: np.ndarray  # level-0 px, (n + 1,)
    start0: int  # the window's start and edge in level-0 px, the edge rounded up to whole ones
    edge0: int
    picture0: float  # the edge as it is, over which the window's pixels lie
    weight: bytes  # the blending weight of every map px, float64 (n,), in (0, 1]: bytes, to be looked up by

    def fits(self, pixels: int) -> bool:
        """Return whether the window's `pixels` are the map px themselves, one by one."""
        return len(self.edges) == pixels + 1 and bool(np.array_equal(self.edges, self._borders(pixels)))

    def _borders(self, pixels: int) -> np.ndarray:
        """Return the borders of the window's `pixels`, level-0 px; the last also covers what rounding added."""
        borders = self.start0 + self.picture0 * np.arange(pixels + 1) / pixels
        borders[-1] = max(borders[-1], self.start0 + self.edge0)
        return borders

    def shares(self, pixels: int) -> np.ndarray:
        """Return how much of each map px each of the window's `pixels` makes up, float32 (n, pixels), rows sum to 1."""
        inner = self._borders(pixels)
        low = np.maximum(self.edges[:-1, None], inner[None, :-1])
        high = np.minimum(self.edges[1:, None], inner[None, 1:])
        overlap = np.clip(high - low, 0.0, None)
        return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Picture:
    """How a picture of probabilities comes onto the map px of one axis: as it is where it `fits`, else by `shares`."""

    fits: bool
    shares: np.ndarray


class Axis:
    """The columns (or rows) of a map under windows of one edge: a window covers the px whose centre it holds.

    What is known of the last `most` starts is kept (None: of all), equal arrays once: where the map's grid fits the
    windows', that is next to nothing.
    """

    def __init__(self, edges: np.ndarray, edge0: int, picture0: float, most: int | None) -> None:
        self._edges, self._edge0, self._picture0 = edges, edge0, picture0
        self._centres = (edges[:-1] + edges[1:]) / 2
        self.footprint = lru_cache(maxsize=most)(self._footprint)
        self.picture = lru_cache(maxsize=most)(self._picture)
        self._once = lru_cache(maxsize=16)(_array)

    def spans(self, start0: np.ndarray) -> np.ndarray:
        """Return how many map px each window covers."""
        return np.searchsorted(self._centres, start0 + self._edge0) - np.searchsorted(self._centres, start0)

    def _footprint(self, start0: int) -> Footprint:
        """Return the map px that the window from `start0` on covers."""
        first, stop = np.searchsorted(self._centres, [start0, start0 + self._edge0]).tolist()
        edges = self._edges[first : stop + 1]
        weight = _raised_cosine(edges, start0, self._edge0).tobytes()
        return Footprint(first, edges, start0, self._edge0, self._picture0, weight)

    def _picture(self, start0: int, pixels: int) -> Picture:
        """Return how a picture of so many px across the window from `start0` on comes onto the map."""
        footprint = self.footprint(start0)
        shares = footprint.shares(pixels)
        return Picture(footprint.fits(pixels), self._once(shares.tobytes(), shares.shape))


def _array(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(data, dtype=np.float32).reshape(shape).copy()


def _raised_cosine(edges: np.ndarray, start0: int, edge0: int) -> np.ndarray:
    position = ((edges[:-1] + edges[1:]) / 2 - start0) / edge0
    weight: np.ndarray = _BORDER_WEIGHT + (1 - _BORDER_WEIGHT) * (0.5 - 0.5 * np.cos(2 * np.pi * position))
    return weight


@lru_cache(maxsize=32)  # windows on a regular grid lie in a few ways over the map px
def weights(rows: bytes, columns: bytes) -> np.ndarray:
    """Return the blending weights float32 (rows, columns) of a window from those of its two footprints."""
    both: np.ndarray = np.outer(np.frombuffer(rows), np.frombuffer(columns)).astype(np.float32)
    both.flags.writeable = False
    return both
