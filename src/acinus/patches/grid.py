"""Where the patches of a slide begin: a regular grid in level-0 pixels."""

import math

import numpy as np

from acinus.errors import AcinusError


def positions(width: int, height: int, edge0: float, step0: float) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 x0, y0 of every patch of a slide, row by row.

    width, height: slide, level-0 px. edge0: patch edge, level-0 px. step0: grid step, level-0 px.
    Patch (i, j) begins at (i * step0, j * step0) rounded to the nearest px (halves up), so that a
    step that is not whole never drifts. Every patch begins inside the slide; the last ones may hang
    over the right and bottom border.

    Raises:
        AcinusError: a step or an edge below one level-0 px.
    """
    for name, value in (("patch_px", edge0), ("stride_px", step0)):
        if not value >= 1.0:
            raise AcinusError(f"index.{name} is {value:g} level-0 px, expected at least 1; raise index.{name}")
    columns, rows = _starts(width, step0), _starts(height, step0)
    return np.tile(columns, rows.size), np.repeat(rows, columns.size)


def _starts(length: int, step0: float) -> np.ndarray:
    count = math.ceil(length / step0) + 1
    starts = np.floor(np.arange(count) * step0 + 0.5).astype(np.int64)
    return starts[starts < length]
