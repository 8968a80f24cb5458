"""The colours of classes in pictures and region files: those of the cohort's masks, else a standard palette."""

import colorsys
from collections.abc import Sequence

from acinus.params import Cohort, RgbMaskCohort

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (86, 180, 233),
    (204, 121, 167),
    (70, 70, 70),
)
"""Colours of classes 1 to 8 that stay apart in colour blindness.

Source: Okabe and Ito, Color Universal Design (2008); in an order that keeps neighbours of unlike lightness.
"""


def palette(classes: Sequence[str]) -> dict[str, Colour]:
    """Return class -> RGB: white for class 0, then PALETTE, then hues that repeat none of it."""
    extra = (colorsys.hsv_to_rgb((0.03 + i * 0.618034) % 1.0, 0.85, 0.55 + 0.35 * (i % 2)) for i in range(len(classes)))
    more = ((round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in extra)
    chosen = [(255, 255, 255), *PALETTE, *more]
    return dict(zip(classes, chosen, strict=False))


def mask_colours(cohort: Cohort) -> dict[str, Colour]:
    """Return class -> RGB of a cohort (a recipe's section) whose masks are colour-coded; {} of any other.

    A mask's colour need not be the one that its class is named after.
    """
    if not isinstance(cohort, RgbMaskCohort):
        return {}
    return {name: (red, green, blue) for name, (red, green, blue) in cohort.colours.items()}


def class_colours(classes: Sequence[str], cohort: Cohort) -> dict[str, Colour]:
    """Return class -> RGB: the colours of the cohort's masks where it has some, else `palette`."""
    return mask_colours(cohort) or palette(classes)
