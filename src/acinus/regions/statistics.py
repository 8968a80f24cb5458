"""Sums, extents and peaks of the pieces of a mask in bands, and of the regions that they make up."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of each of n pieces or regions, int64 (n,), of its px in rows and columns of the map.

    area, and how much of it lies in the map's last column, last row and corner; sums of rows, columns and values
    (0..255); smallest and largest row and column; the highest value and its first px (row * columns + column); the
    class, which all its px share.
    """

    area: np.ndarray
    last_column: np.ndarray
    last_row: np.ndarray
    corner: np.ndarray
    row_sum: np.ndarray
    column_sum: np.ndarray
    value_sum: np.ndarray
    top: np.ndarray
    left: np.ndarray
    bottom: np.ndarray
    right: np.ndarray
    peak_value: np.ndarray
    peak_at: np.ndarray
    class_index: np.ndarray


_SUMS = ("area", "last_column", "last_row", "corner", "row_sum", "column_sum", "value_sum")
_LEAST, _MOST = ("top", "left"), ("bottom", "right", "class_index")


def of_pieces(
    pieces: np.ndarray, values: np.ndarray, classes: np.ndarray, number: int, top: int, shape: tuple[int, int]
) -> Statistics:
    """Return the statistics of the pieces of one band, int64 (rows, columns), from 1, 0 outside.

    values: uint8; classes: uint8 class indices, the same all over a piece. number: how many pieces there are. top:
    the band's first row in a map of `shape`.
    """
    rows, columns = np.nonzero(pieces)
    piece, value = pieces[rows, columns] - 1, values[rows, columns]
    class_index = np.zeros(number, dtype=np.int64)
    class_index[piece] = classes[rows, columns]
    rows = rows + top

    def total(weights: np.ndarray | None = None) -> np.ndarray:
        # float64 sums of whole numbers are exact up to 2^53
        return np.bincount(piece, weights, minlength=number).astype(np.int64)

    def extent(of: np.ndarray, ufunc: np.ufunc, start: int) -> np.ndarray:
        result = np.full(number, start, dtype=np.int64)
        ufunc.at(result, piece, of)
        return result

    peak_value = extent(value, np.maximum, 0)
    highest = np.flatnonzero(value == peak_value[piece])
    first = highest[np.unique(piece[highest], return_index=True)[1]]
    last_column, last_row = columns == shape[1] - 1, rows == shape[0] - 1
    return Statistics(
        area=total(),
        last_column=total(last_column),
        last_row=total(last_row),
        corner=total(last_column & last_row),
        row_sum=total(rows),
        column_sum=total(columns),
        value_sum=total(value),
        top=extent(rows, np.minimum, shape[0]),
        left=extent(columns, np.minimum, shape[1]),
        bottom=extent(rows, np.maximum, -1),
        right=extent(columns, np.maximum, -1),
        peak_value=peak_value,
        peak_at=rows[first] * shape[1] + columns[first],
        class_index=class_index,
    )


def of_components(pieces: list[Statistics], component: np.ndarray, number: int) -> Statistics:
    """Return the statistics of the components 0..number-1 from those of their pieces, in order.

    component: of each piece, int64.
    """

    def joined(name: str) -> np.ndarray:
        return np.concatenate([np.zeros(0, dtype=np.int64), *[getattr(one, name) for one in pieces]])

    def reduced(name: str, ufunc: np.ufunc, start: int) -> np.ndarray:
        result = np.full(number, start, dtype=np.int64)
        ufunc.at(result, component, joined(name))
        return result

    peak_value, peak_at = joined("peak_value"), joined("peak_at")
    order = np.lexsort((peak_at, -peak_value, component))
    first = order[np.unique(component[order], return_index=True)[1]]
    return Statistics(
        **{name: reduced(name, np.add, 0) for name in _SUMS},
        **{name: reduced(name, np.minimum, np.iinfo(np.int64).max) for name in _LEAST},
        **{name: reduced(name, np.maximum, -1) for name in _MOST},
        peak_value=peak_value[first],
        peak_at=peak_at[first],
    )
