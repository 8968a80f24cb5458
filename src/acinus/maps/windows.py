"""Where the model looks on a slide, and what is there: windows, the map px they cover, tissue and truth of these px."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acinus import params
from acinus.labels.labels import Labels
from acinus.labels.places import mean_mpp
from acinus.maps.geometry import MapGeometry
from acinus.patches.index import cell_tissue, cell_truth
from acinus.slides.geometry import Resolution, resolve
from acinus.slides.open import open_slide
from acinus.tissue.mask import TissueMask

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
    x0, y0 = (np.floor(np.arange(int(extent / step0) + 1) * step0 + 0.5).astype(np.int64) for extent in (width, height))
    x0, y0 = x0[x0 < width], y0[y0 < height]
    return Windows(np.tile(x0, y0.size), np.repeat(y0, x0.size), edge0)


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

    def beside(self, bands: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield bands of the map, (top, uint8 (channels, rows, columns)), with where the model looked in them."""
        for top, prob in bands:
            yield top, prob, self.rows(top, prob.shape[1])

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


def tissue_of(
    mask: TissueMask, geometry: MapGeometry, top: int, rows: int, index: params.Index, min_fraction: float
) -> np.ndarray:
    """Return which px of a map's rows from `top` on are tissue, bool (rows, columns).

    A px that is a cell has at least `min_fraction` of tissue, any other one has tissue under its centre.
    """
    place = (geometry.columns, rows, geometry.downsample, top)
    return mask.raster(*place) if index.cell_px is None else cell_tissue(mask, *place, min_fraction)


def truth_of(labels: Labels, geometry: MapGeometry, top: int, rows: int, index: params.Index) -> np.ndarray:
    """Return the true classes of a map's rows from `top` on, uint8 (rows, columns), 255 unknown.

    A px that is a cell has the cell's label, any other one that under its centre.
    """
    place = (geometry.columns, rows, geometry.downsample, top)
    return labels.raster(*place) if index.cell_px is None else cell_truth(labels, *place, index)
