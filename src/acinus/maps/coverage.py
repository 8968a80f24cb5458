"""Where the model looked: which px of a map some window covers. Only there has it an answer."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from acinus import params
from acinus.labels.places import mean_mpp
from acinus.maps.geometry import MapGeometry
from acinus.maps.windows import Windows, grid, with_tissue
from acinus.slides.geometry import Resolution, resolve
from acinus.slides.open import open_slide
from acinus.tissue.mask import TissueMask


def chosen_windows(tissue: TissueMask, at: Resolution, index: params.Index, infer: params.Infer) -> Windows:
    """Return the windows of a slide that the model answers for: those with enough tissue, row by row.

    A window is a cell where the recipe has cells: the rest of its pixels is context.
    """
    edge0 = (index.cell_px or index.patch_px) * at.downsample
    every = grid(tissue.width, tissue.height, edge0, infer.stride_px * at.downsample)
    return with_tissue(every, tissue.fractions, infer.min_tissue_fraction)


def coverage_of(
    image: Path,
    row: Mapping[str, Any],
    mask: TissueMask,
    geometry: MapGeometry,
    index: params.Index,
    infer: params.Infer,
) -> "Coverage":
    """Return where the model looked on a slide: image, as `open_slide` takes it; row: of records.MANIFEST."""
    with open_slide(image, row["slide_id"]) as slide:
        at = resolve(slide.level_downsamples, mean_mpp(row), level=index.level, mpp=index.mpp)
    return Coverage(geometry, chosen_windows(mask, at, index, infer))


class Coverage:
    """The px of a map that windows cover, as `blend.blended_rows` has them: those whose centre lies in one."""

    def __init__(self, geometry: MapGeometry, windows: Windows) -> None:
        """windows: row by row, as `grid` has them."""
        self._columns, self._y0 = geometry.columns, windows.y0
        edge0 = math.ceil(windows.edge0 - 1e-6)
        x, y = ((edges[:-1] + edges[1:]) / 2 for edges in (geometry.edges_x0, geometry.edges_y0))
        self._left, self._right = np.searchsorted(x, windows.x0), np.searchsorted(x, windows.x0 + edge0)
        self._top, self._bottom = np.searchsorted(y, windows.y0), np.searchsorted(y, windows.y0 + edge0)

    def rows(self, top: int, rows: int) -> np.ndarray:
        """Return bool (rows, columns) of the map's rows from `top` on."""
        result = np.zeros((rows, self._columns), dtype=bool)
        first, stop = np.searchsorted(self._bottom, top, "right"), np.searchsorted(self._top, top + rows)
        for y0 in np.unique(self._y0[first:stop]):  # the windows of a row
            which = slice(*np.searchsorted(self._y0, (y0, y0 + 1)))
            change = np.zeros(self._columns + 1, dtype=np.int64)
            np.add.at(change, self._left[which], 1)
            np.add.at(change, self._right[which], -1)
            start, bottom = int(self._top[which.start]), int(self._bottom[which.start])
            result[max(0, start - top) : max(0, bottom - top)] |= change[:-1].cumsum() > 0
        return result
