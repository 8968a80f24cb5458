"""Overlapping windows blended to one map, band by band: sum of w*p over sum of w.

Memory depends on the slide's width and the window's height, not on the slide's area: one buffer
of a window's height is filled from top to bottom, and rows that no later window reaches leave it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from acinus.errors import AcinusError
from acinus.mapping.geometry import MapGeometry
from acinus.mapping.windows import Windows

Read = Callable[[int, int], np.ndarray]
"""(x0, y0) in level-0 px -> the window's pixels, uint8 (patch_px, patch_px, 3)."""

Predict = Callable[[np.ndarray], np.ndarray]
"""uint8 (n, patch_px, patch_px, 3) -> probabilities, (n, classes) or (n, classes, h, w)."""

_BORDER_WEIGHT = 1e-3  # above 0, so that a px which only a window's border covers is defined


@dataclass(frozen=True)
class Band:
    """The next rows of a map. probs: float32 (classes, rows, columns), 0 where no window ran (covered False)."""

    probs: np.ndarray
    covered: np.ndarray  # bool (rows, columns)


def blended_rows(
    geometry: MapGeometry, windows: Windows, read: Read, predict: Predict, classes: int, batch_size: int
) -> Iterator[Band]:
    """Run `predict` over all windows and yield the map from top to bottom, geometry.rows rows in all.

    A window takes part in the map px whose centre (of the part on the slide) lies in
    [x0, x0 + edge0) x [y0, y0 + edge0), edge0 rounded up to whole level-0 px so that windows side by
    side leave no seam. One probability per window is painted over that footprint; a picture of h x w
    probabilities is averaged by area onto the map px. Weights: a raised cosine, 1 at the window's
    centre, above 0 at its border. p = 1 everywhere gives 1 exactly.

    Raises:
        AcinusError: map px larger than a window; predictions of another shape or outside [0, 1].
    """
    edge0 = math.ceil(windows.edge0 - 1e-6)
    if geometry.downsample > edge0:
        raise AcinusError(
            f"map downsample {geometry.downsample:g} is larger than a window of {edge0} level-0 px; "
            f"lower infer.map_downsample to at most {edge0}"
        )
    across, down = _Axis(geometry.edges_x0), _Axis(geometry.edges_y0)
    seen = windows.only((across.spans(windows.x0, edge0) > 0) & (down.spans(windows.y0, edge0) > 0))
    height = int(down.spans(seen.y0, edge0).max(initial=1))
    buffer = _Buffer(classes, height, geometry.columns)
    for x0, y0, probs in _predictions(seen, read, predict, classes, batch_size):
        columns, rows = across.part(x0, edge0, windows.edge0), down.part(y0, edge0, windows.edge0)
        yield from buffer.advance(rows.first)
        weight = np.outer(rows.weight(), columns.weight()).astype(np.float32)
        buffer.add(_on_map(probs, rows, columns), weight, columns.first)
    yield from buffer.advance(geometry.rows)


def _predictions(
    windows: Windows, read: Read, predict: Predict, classes: int, batch_size: int
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield x0, y0 and the checked probabilities (classes,) or (classes, h, w) of every window, in order."""
    for start in range(0, len(windows), batch_size):
        x0 = windows.x0[start : start + batch_size].tolist()
        y0 = windows.y0[start : start + batch_size].tolist()
        probs = np.asarray(predict(np.stack([read(x, y) for x, y in zip(x0, y0, strict=True)])), dtype=np.float32)
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
        yield from zip(x0, y0, probs, strict=True)


def _on_map(probs: np.ndarray, rows: "_Part", columns: "_Part") -> np.ndarray:
    """Return a window's probabilities on its map px: (classes, 1, 1) or float32 (classes, rows, columns)."""
    if probs.ndim == 1:
        return probs[:, None, None]
    _, h, w = probs.shape
    if rows.fits(h) and columns.fits(w):
        return probs
    return rows.shares(h) @ probs @ columns.shares(w).T


@dataclass(frozen=True)
class _Part:
    """The map px of one axis that a window covers: `first` is the index, `edges` their borders."""

    first: int
    edges: np.ndarray  # level-0 px, (n + 1,)
    start0: int  # the window's start and edge in level-0 px, the edge rounded up to whole ones
    edge0: int
    picture0: float  # the edge as it is, over which the window's pixels lie

    def weight(self) -> np.ndarray:
        """Return the blending weight of every map px, float64 (n,), in (0, 1]."""
        position = ((self.edges[:-1] + self.edges[1:]) / 2 - self.start0) / self.edge0
        return _BORDER_WEIGHT + (1 - _BORDER_WEIGHT) * (0.5 - 0.5 * np.cos(2 * np.pi * position))

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


class _Axis:
    """The columns (or rows) of a map and which of them a window covers, by the rule of their centres."""

    def __init__(self, edges: np.ndarray) -> None:
        self._edges = edges
        self._centres = (edges[:-1] + edges[1:]) / 2

    def spans(self, start0: np.ndarray, edge0: int) -> np.ndarray:
        """Return how many map px each window covers."""
        return np.searchsorted(self._centres, start0 + edge0) - np.searchsorted(self._centres, start0)

    def part(self, start0: int, edge0: int, picture0: float) -> _Part:
        """Return the map px that the window from `start0` on covers; see _Part."""
        first, stop = np.searchsorted(self._centres, [start0, start0 + edge0]).tolist()
        return _Part(first, self._edges[first : stop + 1], start0, edge0, picture0)


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
