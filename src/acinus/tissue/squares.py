"""Maximum, minimum and mean over squares of px, beyond the border what is at it; many times faster than a filter's."""

from collections.abc import Callable

import numpy as np

AT_A_TIME = 512  # rows

Pick = Callable[[np.ndarray, np.ndarray], np.ndarray]


def most(values: np.ndarray, radius: int) -> np.ndarray:
    """Return the maximum over 2 * radius + 1 px each way, as values (rows, columns); of bool: any."""
    return _over(values, radius, np.maximum)


def least(values: np.ndarray, radius: int) -> np.ndarray:
    """Return the minimum over 2 * radius + 1 px each way, as values (rows, columns); of bool: all."""
    return _over(values, radius, np.minimum)


def mean_of_nine(values: np.ndarray) -> np.ndarray:
    """Return the mean over 3 x 3 px, float32 (rows, columns)."""
    wide = np.pad(values, 1, mode="edge")
    rows = wide[:-2] + wide[1:-1] + wide[2:]
    mean: np.ndarray = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) * np.float32(1 / 9)
    return mean


def areas(pieces: np.ndarray, number: int) -> np.ndarray:
    """Return how many px each of the pieces 0..number has, int64 (number + 1,), of int32 (rows, columns).

    Some rows at a time: counting at once would take a copy of eight bytes a px.
    """
    total = np.zeros(number + 1, dtype=np.int64)
    for top in range(0, len(pieces), AT_A_TIME):
        total += np.bincount(pieces[top : top + AT_A_TIME].ravel(), minlength=number + 1)
    return total


def _over(values: np.ndarray, radius: int, pick: Pick) -> np.ndarray:
    """Return `pick` over squares: first down, then across."""
    edge = 2 * radius + 1
    down = _along(np.pad(values, ((radius, radius), (0, 0)), mode="edge"), edge, pick, lambda array, cut: array[cut])
    across = np.pad(down, ((0, 0), (radius, radius)), mode="edge")
    return _along(across, edge, pick, lambda array, cut: array[:, cut])


def _along(values: np.ndarray, edge: int, pick: Pick, part: Callable[[np.ndarray, slice], np.ndarray]) -> np.ndarray:
    """Return `pick` over `edge` px from each px on, by runs that double; part: cuts an array along the axis."""
    size = 1
    while size * 2 <= edge:
        values = pick(part(values, slice(None, -size)), part(values, slice(size, None)))
        size *= 2
    if size < edge:
        rest = edge - size
        values = pick(part(values, slice(None, -rest)), part(values, slice(rest, None)))
    return values
