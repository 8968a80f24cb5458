"""Where the patches of a slide begin: a regular grid in level-0 pixels, of patches or of cells seen through windows."""

import math

import numpy as np

from acinus.errors import AcinusError


def positions(
    width: int, height: int, edge0: float, step0: float, edge_name: str = "patch_px"
) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 x0, y0 of every patch of a slide, row by row.

    width, height: slide, level-0 px. edge0: patch edge, level-0 px. step0: grid step, level-0 px.
    edge_name: the key of section index that the edge comes from.
    Patch (i, j) begins at (i * step0, j * step0) rounded to the nearest px (halves up), so that a
    step that is not whole never drifts. Every patch begins inside the slide; the last ones may hang
    over the right and bottom border.

    Raises:
        AcinusError: a step or an edge below one level-0 px.
    """
    for name, value in ((edge_name, edge0), ("stride_px", step0)):
        if not value >= 1.0:
            raise AcinusError(f"index.{name} is {value:g} level-0 px, expected at least 1; raise index.{name}")
    steps = (np.arange(math.ceil(length / step0) + 1) for length in (width, height))
    columns, rows = (np.floor(numbers * step0 + 0.5).astype(np.int64) for numbers in steps)
    columns, rows = columns[columns < width], rows[rows < height]
    return np.tile(columns, rows.size), np.repeat(rows, columns.size)


def cell_margin(patch_px: int, cell_px: int, downsample: float) -> int:
    """Return how far a window of patch_px begins before its central cell of cell_px, in whole level-0 px.

    (patch_px - cell_px) // 2 working px: an odd rest lies right of and below the cell. The cell of the
    window at (x0, y0) has its corner at (x0 + margin, y0 + margin).
    """
    return math.floor((patch_px - cell_px) // 2 * downsample + 0.5)
