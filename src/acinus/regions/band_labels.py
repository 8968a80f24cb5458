"""Connected components of a mask, or of each of its values, in bands: one across a border of bands is one."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label


class BandLabels:
    """Labels the bands of one mask from top to bottom with provisional pieces, and knows which pieces are one.

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
