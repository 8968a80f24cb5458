"""What is on a slide and no tissue, whatever the rule: pen marks, and the black of borders and fillings."""

import numpy as np

from acinus.tissue.squares import most

DARK_VALUE = 0.2  # of 1; the brightest channel of stained tissue is well above
INK_SATURATION, INK_GREEN = 0.5, 0.1  # vivid, and green above red by this share of the brightness


def black(high: np.ndarray) -> np.ndarray:
    """Return which px are as dark as a scanner's border or a black pen; high: brightest channel of each, uint8."""
    result: np.ndarray = high < np.uint8(np.ceil(DARK_VALUE * 255))
    return result


def vivid(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Return which px have a saturation above INK_SATURATION; high, low: brightest and darkest channel, uint8."""
    return (high - low) > (high >> 1)


def inked(rgb: np.ndarray, high: np.ndarray, vivid: np.ndarray) -> np.ndarray:
    """Return which px are vivid green to blue ink, with the rim of one px that glass thins, bool (rows, columns).

    rgb: uint8 (rows, columns, 3); high: its brightest channel; vivid: bool, which px are saturated enough.
    Haematoxylin, eosin and DAB all absorb green at least about as much as red, so a px with clearly
    more green than red is no stain. A red pen cannot be told from eosin.
    """
    ink = vivid & (rgb[..., 1] > rgb[..., 0])  # few px are
    vivid = ink.copy()
    red, green, value = rgb[vivid, 0] / 255.0, rgb[vivid, 1] / 255.0, high[vivid] / 255.0
    ink[vivid] = green - red > INK_GREEN * value
    return most(ink, 1)
