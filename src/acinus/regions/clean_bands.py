"""The clean-up of `cleaned.cleaned_classes`, and connected components, over the bands of a map.

Memory does not grow with the slide's area. What is held: a band, the rows that smoothing looks at beyond it, and a few
numbers for every hole and region.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

from acinus.regions.cleaned import best_of, predicted_classes, reach, smoothed
from acinus.regions.operating_point import CleanUp

Bands = Callable[[], Iterator[tuple[int, np.ndarray, np.ndarray]]]
"""Begins a pass over a map from top to bottom: (top, uint8 (channels, rows, columns) p * 255, bool (rows, columns):
where the model looked).

Every call gives the same bands; they may have any height.
"""


@dataclass(frozen=True, eq=False)
class ClassBand:
    """Rows of a map from `top` on. classes: uint8 (rows, columns), of which `mask` (bool) are positive.

    smooth: prob smoothed, uint8 (channels, rows, columns).
    """

    top: int
    prob: np.ndarray
    looked: np.ndarray
    classes: np.ndarray
    mask: np.ndarray
    smooth: np.ndarray

    @property
    def positive_classes(self) -> np.ndarray:
        """The classes of the mask, uint8 (rows, columns), 0 outside."""
        return np.where(self.mask, self.classes, np.uint8(0))


def filled_bands(
    bands: Bands, rows: int, point: CleanUp, positive: tuple[int, ...]
) -> Callable[[], Iterator[ClassBand]]:
    """Return what begins a pass over the map's classes, smoothed, cut at the threshold, small holes filled.

    rows: of the whole map. One pass here where holes are filled at all, one each time it is called.
    """
    small = small_holes(bands, rows, point, positive) if point.max_hole_px else None

    def begin() -> Iterator[ClassBand]:
        holes = BandLabels(1)
        for band in _class_bands(bands, point, positive):
            if small is not None:
                pieces, _ = holes.add(~band.mask)
                filled = small[pieces] & band.looked
                band.classes[filled] = best_of(band.smooth[:, filled], positive)
                band.mask[filled] = True
            yield band

    return begin


def small_holes(bands: Bands, rows: int, point: CleanUp, positive: tuple[int, ...]) -> np.ndarray:
    """Return which pieces (see BandLabels) of what is not positive are holes to be filled, bool (pieces + 1,)."""
    labels, areas, opened = BandLabels(1), [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    for band in _class_bands(bands, point, positive):
        pieces, before = labels.add(~band.mask)
        areas.append(np.bincount(pieces.ravel(), minlength=labels.number + 1)[before + 1 :])
        borders = [pieces[:, 0], pieces[:, -1]]
        if band.top == 0:
            borders.append(pieces[0])
        if band.top + len(pieces) == rows:
            borders.append(pieces[-1])
        opened.append(np.unique(np.concatenate(borders)))
    component = labels.components()
    area = np.zeros(component.max() + 1, dtype=np.int64)
    np.add.at(area, component, np.concatenate(areas))
    small = area <= point.max_hole_px
    small[component[np.concatenate(opened)]] = False  # piece 0 is what is positive: no hole
    return small[component]


def _class_bands(bands: Bands, point: CleanUp, positive: tuple[int, ...]) -> Iterator[ClassBand]:
    """Yield each band's classes before clean-up."""
    for top, prob, looked, smooth in _smooth_bands(bands, point.smoothing_px):
        classes = predicted_classes(smooth, looked, point.threshold)
        yield ClassBand(top, prob, looked, classes, np.isin(classes, positive), smooth)


def _smooth_bands(bands: Bands, sigma_px: float) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (top, prob, looked, smoothed prob): a band waits until the rows it depends on have been read."""
    halo = reach(sigma_px)
    waiting: deque[tuple[int, np.ndarray, np.ndarray]] = deque()
    above: np.ndarray | None = None
    below = 0  # rows read after the first band that waits

    def first_done() -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        nonlocal above, below
        top, prob, looked = waiting.popleft()
        strip = [prob if above is None else np.concatenate([above, prob], axis=1)]
        start = strip[0].shape[1] - prob.shape[1]
        strip += [later for _, later, _ in waiting]
        smooth = smoothed(np.concatenate(strip, axis=1), sigma_px)[:, start : start + prob.shape[1]]
        above = strip[0][:, max(0, strip[0].shape[1] - halo) :] if halo else None
        below -= waiting[0][1].shape[1] if waiting else 0
        return top, prob, looked, smooth

    for band in bands():
        below += band[1].shape[1] if waiting else 0
        waiting.append(band)
        while waiting and below >= halo:
            yield first_done()
    while waiting:
        yield first_done()


class BandLabels:
    """Labels the bands of one mask, or of each of its values, from top to bottom with provisional pieces.

    It knows which pieces are one component: one across a border of bands is one.

    Pieces count up from 1 over all bands in the order of their first px, row by row. The same bands give the same
    pieces, so a second pass over them knows each px's component from `components` of the first. Memory is a row
    and two numbers per contact of pieces across a border.
    """

    def __init__(self, connectivity: int) -> None:
        """connectivity: 1: px that touch by a side are of one piece; 2: those that touch by a corner too."""
        self._connectivity = connectivity
        self._above: tuple[np.ndarray, np.ndarray] | None = None  # pieces and values of the last row, (columns,)
        self._contacts: list[np.ndarray] = []
        self.number = 0

    def add(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the pieces of the next rows, int64 (rows, columns), 0 outside, and how many there were before.

        values: bool or uint8 (rows, columns); px that touch are of one piece if their values are equal and not 0.
        """
        before = self.number
        # labels count up row by row from each one's first px
        pieces, number = label(values, background=0, return_num=True, connectivity=self._connectivity)
        pieces = pieces.astype(np.int64, copy=False)
        pieces[pieces > 0] += before
        self.number += number
        if self._above is not None:
            shifts = (-1, 0, 1) if self._connectivity == 2 else (0,)
            self._contacts += _contacts(self._above, (pieces[0], values[0]), shifts)
        self._above = pieces[-1].copy(), values[-1].copy()
        return pieces, before

    def components(self) -> np.ndarray:
        """Return the component of every piece, int64 (pieces + 1,): from 1 by their first px, row by row; 0 stays 0."""
        size = self.number + 1
        pairs = np.concatenate([np.zeros((2, 0), dtype=np.int64), *self._contacts], axis=1)
        links = coo_array((np.ones(pairs.shape[1], dtype=bool), (pairs[0], pairs[1])), shape=(size, size))
        _, groups = connected_components(links, directed=False)
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        return rank[group]


def _contacts(
    above: tuple[np.ndarray, np.ndarray], below: tuple[np.ndarray, np.ndarray], shifts: tuple[int, ...]
) -> Iterator[np.ndarray]:
    """Yield which pieces of neighbouring rows (pieces, values) are one, int64 (2, n), each pair once per direction."""
    columns = len(above[0])
    for shift in shifts:
        upper, upper_value = (row[max(0, -shift) : columns - max(0, shift)] for row in above)
        lower, lower_value = (row[max(0, shift) : columns - max(0, -shift)] for row in below)
        both = (upper > 0) & (upper_value == lower_value)
        if both.any():
            yield np.unique(np.stack([upper[both], lower[both]]), axis=1)
