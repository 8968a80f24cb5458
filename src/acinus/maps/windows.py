"""Where the model looks: square windows on a regular grid over the slide."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Fractions = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
"""x0, y0 (n,) and edge, level-0 px -> the tissue share of each square, float64 (n,)."""

_AT_A_TIME = 1 << 14  # windows


@dataclass(frozen=True)
class Windows:
    """Top-left corners of the windows in level-0 px, int64 (n,), row-major, and their edge in level-0 px."""

    x0: np.ndarray
    y0: np.ndarray
    edge0: float

    def __post_init__(self) -> None:
        if self.x0.shape != self.y0.shape or self.x0.ndim != 1 or self.edge0 < 1:
            raise ValueError(f"windows {self.x0.shape}, {self.y0.shape} of edge {self.edge0}, expected one length")
        if np.any(np.diff(self.y0) < 0):
            raise ValueError("windows must be ordered from top to bottom")

    def __len__(self) -> int:
        return int(self.x0.size)

    def only(self, keep: np.ndarray) -> "Windows":
        """Return the windows where the bool array `keep` is True, in the same order."""
        return Windows(self.x0[keep], self.y0[keep], self.edge0)


def grid(width: int, height: int, edge0: float, step0: float) -> Windows:
    """Return the windows of a slide: one every `step0` level-0 px from 0 on, as long as it starts inside.

    The last ones hang over the right and the bottom border (the reader pads white). Starts are
    rounded to whole level-0 px (halves up, as the patch grid's are), so errors do not add up.
    With step0 <= edge0 nothing stays uncovered.
    """
    if not 1 <= step0 <= edge0:
        raise ValueError(f"step of {step0} level-0 px, expected 1 to the window's edge of {edge0}")
    x0, y0 = _starts(width, step0), _starts(height, step0)
    return Windows(np.tile(x0, y0.size), np.repeat(y0, x0.size), edge0)


def _starts(extent: int, step0: float) -> np.ndarray:
    starts = np.floor(np.arange(int(extent / step0) + 1) * step0 + 0.5).astype(np.int64)
    return starts[starts < extent]


def with_tissue(windows: Windows, fractions: Fractions, min_fraction: float) -> Windows:
    """Return the windows that hold tissue, and at least `min_fraction` of it (share of the window's area).

    fractions: x0, y0, edge in level-0 px -> the tissue share of each square; asked for a part of the windows at a
    time, so that memory does not grow with their number. A window without any tissue is never run, whatever
    `min_fraction` is: with 0.0 every window that touches tissue runs, so that no tissue is left without a probability.
    """
    keep = np.zeros(len(windows), dtype=bool)
    for start in range(0, len(windows), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        share = fractions(windows.x0[part], windows.y0[part], windows.edge0)
        keep[part] = (share > 0.0) & (share >= min_fraction)
    return windows.only(keep)
