"""Which patches of a slide are embedded: all in tissue; or the most suspicious by its map, and a random complement."""

from dataclasses import dataclass

import numpy as np

from acinus import params
from acinus.maps.tiff import MapReader
from acinus.patches.index import SlideFacts, Squares, squares
from acinus.regions.amounts import positive_values
from acinus.slides.geometry import Resolution
from acinus.slides.open import SlidePixels
from acinus.slides.tiles import check_under
from acinus.tissue.mask import TissueMask


@dataclass(frozen=True)
class Choice:
    """How a bag is filled, as section `embed` says it. min_distance: in patch edges. positive: classes of the map."""

    top_patches: int
    random_patches: int
    min_distance: float
    positive: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Bag:
    """The chosen patches of one slide, row by row.

    x0, y0: int64 (n,), corners in level-0 px (negative where a window hangs over the border). prob: float64 (n,),
    mean positive probability of the map under the patch. top: bool (n,), chosen by it; the others at random.
    """

    x0: np.ndarray
    y0: np.ndarray
    prob: np.ndarray
    top: np.ndarray

    def __len__(self) -> int:
        return int(self.x0.size)


def choose(
    reader: MapReader, tissue: TissueMask, at: Resolution, index: params.Index, choice: Choice, seed: int
) -> Bag:
    """Return the bag of a slide from its open map; empty where the slide has no tissue.

    Candidates are the patches in tissue; fewer give a smaller bag.
    """
    here = tissue_squares(tissue, at, index)
    prob = mean_probs(reader, here, choice.positive)
    distance0 = choice.min_distance * index.patch_px * at.downsample
    top = suspicious(here.x0, here.y0, prob, choice.top_patches, distance0)
    others = np.setdiff1d(np.arange(len(prob)), top)
    drawn = np.random.default_rng(seed).choice(others, min(choice.random_patches, len(others)), replace=False)
    chosen = np.sort(np.concatenate([top, drawn]).astype(np.int64))  # candidates lie row by row already
    return Bag(here.x0[chosen], here.y0[chosen], prob[chosen], np.isin(chosen, top))


def tissue_squares(tissue: TissueMask, at: Resolution, index: params.Index) -> Squares:
    """Return the patches of a slide in tissue, by y0, then x0; none where the slide has no tissue.

    Those of the recipe's grid with enough tissue (index.min_tissue_fraction); if none has, those with any. Of
    index.cell_px the cell inside the window decides.
    """
    every = squares(SlideFacts("", "", tissue.width, tissue.height), at, index)
    share = tissue.fractions(every.inner_x0, every.inner_y0, every.inner_edge0)
    enough = share >= index.min_tissue_fraction
    keep = np.flatnonzero((enough if (enough & (share > 0)).any() else True) & (share > 0))
    return Squares(every.x0[keep], every.y0[keep], every.inner_x0[keep], every.inner_y0[keep], every.inner_edge0)


def suspicious(x0: np.ndarray, y0: np.ndarray, prob: np.ndarray, count: int, distance0: float) -> np.ndarray:
    """Return the indices of up to `count` patches, int64, the most suspicious first.

    Greedy: the highest probability (of equal ones the first by y0, then x0) whose corner lies at least distance0
    level-0 px from every one taken before, across or down: at one edge or more no two overlap.
    """
    order = np.lexsort((x0, y0, -prob))
    taken: list[int] = []
    free = np.ones(len(order), dtype=bool)  # in the order of suspicion
    while len(taken) < count and free.any():
        first = int(order[free.argmax()])
        taken.append(first)
        apart = np.maximum(np.abs(x0[order] - x0[first]), np.abs(y0[order] - y0[first]))
        free &= apart >= distance0 - 1e-6
        free[order == first] = False
    return np.array(taken, dtype=np.int64)


def mean_probs(reader: MapReader, under: Squares, positive: tuple[int, ...]) -> np.ndarray:
    """Return float64 (n,): the mean positive probability of the map px whose centres lie in each square.

    A square without any such px has that of the nearest one. One pass over the map, band by band; sums are of
    whole numbers, so they do not depend on the bands.
    """
    geometry = reader.geometry
    left, right = _span(under.inner_x0, under.inner_edge0, geometry.downsample, geometry.columns)
    top, bottom = _span(under.inner_y0, under.inner_edge0, geometry.downsample, geometry.rows)
    total = np.zeros(len(left), dtype=np.int64)
    for first, band in reader.bands():
        values = positive_values(band, positive)
        table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), dtype=np.int64)
        table[1:, 1:] = values.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
        low, high = np.clip(top - first, 0, len(values)), np.clip(bottom - first, 0, len(values))
        total += table[high, right] - table[low, right] - table[high, left] + table[low, left]
    mean: np.ndarray = total / ((right - left) * (bottom - top)) / 255.0
    return mean


def read_patches(slide: SlidePixels, x0: np.ndarray, y0: np.ndarray, at: Resolution, patch_px: int) -> np.ndarray:
    """Return the pixels of patches at (x0, y0), uint8 (n, patch_px, patch_px, 3), white beyond the slide.

    Raises:
        SlideError: damaged tiles under a patch.
    """
    check_under(slide, at, x0, y0, patch_px * at.downsample)
    pixels = np.empty((len(x0), patch_px, patch_px, 3), dtype=np.uint8)
    for number, (left, top) in enumerate(zip(x0.tolist(), y0.tolist(), strict=True)):
        pixels[number] = slide.read(left, top, patch_px, patch_px, at)
    return pixels


def _span(starts0: np.ndarray, edge0: float, downsample: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (first, end) of the map px whose centres lie in [start, start + edge), at least one px."""
    first = np.clip(np.ceil(starts0 / downsample - 0.5), 0, count - 1).astype(np.int64)
    end = np.clip(np.ceil((starts0 + edge0) / downsample - 0.5), 0, count).astype(np.int64)
    return first, np.maximum(end, first + 1)
