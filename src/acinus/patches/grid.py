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
    columns, rows = _starts(width, step0), _starts(height, step0)
    return np.tile(columns, rows.size), np.repeat(rows, columns.size)


def cell_margin(patch_px: int, cell_px: int, downsample: float) -> int:
    """Return how far a window of patch_px begins before its central cell of cell_px, in whole level-0 px.

    (patch_px - cell_px) // 2 working px: an odd rest lies right of and below the cell. The cell of the
    window at (x0, y0) has its corner at (x0 + margin, y0 + margin).
    """
    return math.floor((patch_px - cell_px) // 2 * downsample + 0.5)


def cells(width: int, height: int, cell0: float, step0: float, margin0: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 x0, y0 of the window of every cell of a slide, row by row; negative near the left and top border.

    cell0: cell edge, level-0 px. step0: as `positions`, which places the cells. margin0: see `cell_margin`.
    At the border the window hangs over, so that the cell stays in its middle.

    Raises:
        AcinusError: a step or a cell below one level-0 px.
    """
    x0, y0 = positions(width, height, cell0, step0, "cell_px")
    return x0 - margin0, y0 - margin0


def _starts(length: int, step0: float) -> np.ndarray:
    count = math.ceil(length / step0) + 1
    starts = np.floor(np.arange(count) * step0 + 0.5).astype(np.int64)
    return starts[starts < length]
