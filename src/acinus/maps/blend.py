"""Overlapping windows blended to one map, band by band: sum of w*p over sum of w.

Memory depends on the slide's width and the window's height, not on the slide's area: one buffer
of a window's height is filled from top to bottom, and rows that no later window reaches leave it.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from acinus.errors import AcinusError
from acinus.maps.geometry import MapGeometry
from acinus.maps.windows import Windows
from acinus.params.faults import map_fault

_BORDER_WEIGHT = 1e-3  # above 0, so that a px which only a window's border covers is defined


@dataclass(frozen=True)
class Band:
    """The next rows of a map. probs: float32 (classes, rows, columns), 0 where no window ran (covered False)."""

    probs: np.ndarray
    covered: np.ndarray  # bool (rows, columns)


def shown(geometry: MapGeometry, windows: Windows) -> Windows:
    """Return the windows that a map px has its centre in: the others need not run."""
    across, down = _axes(geometry, windows)
    return windows.only((across.spans(windows.x0) > 0) & (down.spans(windows.y0) > 0))


def blended_rows(
    geometry: MapGeometry, windows: Windows, answers: Iterable[np.ndarray], classes: int, batch_size: int
) -> Iterator[Band]:
    """Blend what a model says of all windows and yield the map from top to bottom, geometry.rows rows in all.

    answers: the probabilities (n, classes) or (n, classes, h, w) of the windows in order, batch_size of them at a
    time. They are drawn as the map grows.

    A window takes part in the map px whose centre (of the part on the slide) lies in
    [x0, x0 + edge0) x [y0, y0 + edge0), edge0 rounded up to whole level-0 px so that windows side by
    side leave no seam. One probability per window is painted over that footprint; a picture of h x w
    probabilities is averaged by area onto the map px. Weights: a raised cosine, 1 at the window's
    centre, above 0 at its border. p = 1 everywhere gives 1 exactly.

    Raises:
        AcinusError: map px larger than a window; predictions of another shape or outside [0, 1].
        ValueError: more or fewer answers than windows.
    """
    across, down = _axes(geometry, windows)
    buffer = _Buffer(classes, int(down.spans(windows.y0).max(initial=1)), geometry.columns)
    for start, answer in zip(range(0, len(windows), batch_size), answers, strict=True):
        x0 = windows.x0[start : start + batch_size].tolist()
        y0 = windows.y0[start : start + batch_size].tolist()
        for x, y, probs in zip(x0, y0, _checked(answer, x0, y0, classes), strict=True):
            columns, rows = across.footprint(x), down.footprint(y)
            yield from buffer.advance(rows.first)
            if probs.ndim == 1:
                values = probs[:, None, None]
            else:
                (fits_down, share_down), (fits_across, share_across) = (
                    axis.picture(start0, pixels)
                    for axis, start0, pixels in ((down, y, probs.shape[1]), (across, x, probs.shape[2]))
                )
                values = probs if fits_down and fits_across else share_down @ probs @ share_across.T
            buffer.add(values, _weights(rows.weight, columns.weight), columns.first)
    yield from buffer.advance(geometry.rows)


def _axes(geometry: MapGeometry, windows: Windows) -> tuple["_Axis", "_Axis"]:
    """Return the columns and the rows of the map under the windows."""
    edge0 = math.ceil(windows.edge0 - 1e-6)
    if (fault := map_fault(geometry.downsample, windows.edge0)) is not None:
        raise AcinusError(fault)
    # windows come row by row: every column again and again, a row once
    across = _Axis(geometry.edges_x0, edge0, windows.edge0, None)
    return across, _Axis(geometry.edges_y0, edge0, windows.edge0, 2)


def _checked(answer: np.ndarray, x0: list[int], y0: list[int], classes: int) -> np.ndarray:
    """Return float32 probabilities (n, classes) or (n, classes, h, w) of the windows at (x0, y0)."""
    probs = np.asarray(answer, dtype=np.float32)
    if probs.ndim not in (2, 4) or probs.shape[:2] != (len(x0), classes) or not probs.size:
        raise AcinusError(
            f"the model gave predictions of shape {probs.shape} for {len(x0)} windows, expected "
            f"({len(x0)}, {classes}) or ({len(x0)}, {classes}, h, w); check the classes of the model"
        )
    if not (probs.min() >= 0.0 and probs.max() <= 1.00001):  # NaN fails both
        wrong = ~((probs >= 0.0) & (probs <= 1.00001)).reshape(len(x0), -1).all(axis=1)
        bad = int(wrong.argmax())
        raise AcinusError(
            f"the model gave a value outside [0, 1] (or NaN) for the window at x0={x0[bad]}, y0={y0[bad]}; "
            "expected probabilities, check the model's weights"
        )
    return probs


class _Footprint(NamedTuple):
    """The map px of one axis that a window covers. first: the index; edges: their borders, level-0 px (n + 1,).

    weight: the blending weight of every map px, float64 (n,), in (0, 1]: bytes, to be looked up by.
    """

    first: int
    edges: np.ndarray
    weight: bytes


class _Axis:
    """The columns (or rows) of a map under windows of one edge: a window covers the px whose centre it holds.

    edge0: of a window in level-0 px, rounded up to whole ones; picture0: as it is, over which the window's pixels lie.
    What is known of the last `most` starts is kept (None: of all), equal arrays once: where the map's grid fits the
    windows', that is next to nothing.
    """

    def __init__(self, edges: np.ndarray, edge0: int, picture0: float, most: int | None) -> None:
        self._edges, self._edge0, self._picture0 = edges, edge0, picture0
        self._centres = (edges[:-1] + edges[1:]) / 2
        self.footprint = lru_cache(maxsize=most)(self._footprint)
        self.picture = lru_cache(maxsize=most)(self._picture)
        self._once = lru_cache(maxsize=16)(
            lambda data, shape: np.frombuffer(data, dtype=np.float32).reshape(shape).copy()
        )

    def spans(self, start0: np.ndarray) -> np.ndarray:
        """Return how many map px each window covers."""
        return np.searchsorted(self._centres, start0 + self._edge0) - np.searchsorted(self._centres, start0)

    def _footprint(self, start0: int) -> _Footprint:
        """Return the map px that the window from `start0` on covers, weighted by a raised cosine."""
        first, stop = np.searchsorted(self._centres, [start0, start0 + self._edge0]).tolist()
        edges = self._edges[first : stop + 1]
        position = ((edges[:-1] + edges[1:]) / 2 - start0) / self._edge0
        weight = _BORDER_WEIGHT + (1 - _BORDER_WEIGHT) * (0.5 - 0.5 * np.cos(2 * np.pi * position))
        return _Footprint(first, edges, weight.tobytes())

    def _picture(self, start0: int, pixels: int) -> tuple[bool, np.ndarray]:
        """Return how a picture of so many px across the window from `start0` on comes onto the map.

        That is: whether they are the map px themselves, one by one, and how much of each map px each of them makes
        up, float32 (n, pixels), rows sum to 1.
        """
        edges = self.footprint(start0).edges
        borders = start0 + self._picture0 * np.arange(pixels + 1) / pixels
        borders[-1] = max(borders[-1], start0 + self._edge0)  # the last px also covers what rounding added
        low = np.maximum(edges[:-1, None], borders[None, :-1])
        high = np.minimum(edges[1:, None], borders[None, 1:])
        overlap = np.clip(high - low, 0.0, None)
        shares = (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)
        return bool(np.array_equal(edges, borders)), self._once(shares.tobytes(), shares.shape)


@lru_cache(maxsize=32)  # windows on a regular grid lie in a few ways over the map px
def _weights(rows: bytes, columns: bytes) -> np.ndarray:
    """Return the blending weights float32 (rows, columns) of a window from those of its two footprints."""
    both: np.ndarray = np.outer(np.frombuffer(rows), np.frombuffer(columns)).astype(np.float32)
    both.flags.writeable = False
    return both


class _Buffer:
    """Running sums of w*p and w for the rows from `top` on, as many as the tallest window covers."""

    def __init__(self, classes: int, height: int, columns: int) -> None:
        self._top = 0
        self._sums = np.zeros((classes, height, columns), dtype=np.float32)
        self._weights = np.zeros((height, columns), dtype=np.float32)

    def add(self, probs: np.ndarray, weight: np.ndarray, first_column: int) -> None:
        """Add a window whose first row is the buffer's first; probs broadcasts over weight (rows, columns)."""
        rows, columns = weight.shape
        part = np.s_[:rows, first_column : first_column + columns]
        self._sums[:, *part] += probs * weight
        self._weights[part] += weight

    def advance(self, row: int) -> Iterator[Band]:
        """Yield the rows above map row `row`, which no later window reaches, and make room below."""
        height = len(self._weights)
        while self._top < row:
            count = min(row - self._top, height)
            weights = self._weights[:count]
            covered = weights > 0.0
            probs = np.divide(self._sums[:, :count], weights, out=np.zeros_like(self._sums[:, :count]), where=covered)
            self._top += count
            for values in (self._sums, self._weights):
                values[..., : height - count, :] = values[..., count:, :].copy()
                values[..., height - count :, :] = 0.0
            yield Band(np.minimum(probs, 1.0), covered)
