"""What both rules of tissue look at in an overview: squares of px, pieces of a mask, pen marks and what is black."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

AT_A_TIME = 512  # rows
DARK = 51  # of 255, a fifth: the brightest channel of stained tissue is well above
INK_GREEN = 0.1  # of ink, green above red by this share of the brightness

Pick = Callable[[np.ndarray, np.ndarray], np.ndarray]


def most(values: np.ndarray, radius: int) -> np.ndarray:
    """Return the maximum over 2 * radius + 1 px each way, as values (rows, columns); of bool: any.

    Beyond the border is what is at it. Many times faster than a filter's, `least` alike.
    """
    return _over(values, radius, np.maximum)


def least(values: np.ndarray, radius: int) -> np.ndarray:
    """Return the minimum over 2 * radius + 1 px each way, as values (rows, columns); of bool: all."""
    return _over(values, radius, np.minimum)


def _over(values: np.ndarray, radius: int, pick: Pick) -> np.ndarray:
    """Return `pick` over squares, first down, then across: over runs of px that double."""
    for _ in range(2):
        values, size = np.pad(values, ((radius, radius), (0, 0)), mode="edge"), 1
        while size < 2 * radius + 1:
            step = min(size, 2 * radius + 1 - size)
            values = pick(values[:-step], values[step:])
            size += step
        values = values.T
    return values


def mean_of_nine(values: np.ndarray) -> np.ndarray:
    """Return the mean over 3 x 3 px, float32 (rows, columns); beyond the border is what is at it."""
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


def pieces_of(mask: np.ndarray, least_px: float = 0, most_px: float = np.inf) -> np.ndarray:
    """Return the 8-connected pieces of the mask of least_px to most_px px, bool (rows, columns)."""
    pieces, number = ndimage.label(mask, np.ones((3, 3), dtype=bool))
    area = areas(pieces, number)
    keep = (area >= least_px) & (area <= most_px)
    keep[0] = False
    kept: np.ndarray = keep[pieces]
    return kept


def holes(mask: np.ndarray, most_px: float) -> np.ndarray:
    """Return the 4-connected pieces of at most `most_px` px outside the mask that do not reach the border."""
    pieces, number = ndimage.label(~mask)
    small = areas(pieces, number) <= most_px
    small[np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])] = False
    small[0] = False
    found: np.ndarray = small[pieces]
    return found


def extremes(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the brightest and the darkest channel of every px, uint8 (rows, columns)."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    return np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)


def inked(rgb: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Return which px are vivid green to blue ink, with the rim of one px that glass thins, bool (rows, columns).

    rgb: uint8 (rows, columns, 3); high, low: its `extremes`. Vivid is a saturation above one half.
    Haematoxylin, eosin and DAB all absorb green at least about as much as red, so a px with clearly
    more green than red is no stain. A red pen cannot be told from eosin.
    """
    ink = ((high - low) > (high >> 1)) & (rgb[..., 1] > rgb[..., 0])  # few px are
    vivid = ink.copy()
    red, green, value = rgb[vivid, 0] / 255.0, rgb[vivid, 1] / 255.0, high[vivid] / 255.0
    ink[vivid] = green - red > INK_GREEN * value
    return most(ink, 1)
