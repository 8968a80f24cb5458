"""Whether a picture can be one of stained tissue under white light: in colour, and bright somewhere."""

import numpy as np

from acinus.slides.open import SlidePixels
from acinus.slides.pages import read_pages
from acinus.slides.slide import Slide

DARK = 64
"""Glass, lumens or pale stroma are brighter than this in every channel: 99 in 100 px below it are no brightfield.

On the real H&E, IHC and cytology pictures of the tests the 99th percentile of the darkest channel is 213 or more.
"""
NEAR_WHITE = 220
"""A px whose darkest channel is at least this is near white: glass, padding, or nothing."""
GREY_SPREAD = 4
"""Of what is not near white, 99 in 100 px whose channels are at most this far apart: grey. The palest stain has 22."""
LEAST_SHARE = 0.01
"""Share of px that are not near white, below which a picture is too blank for its colour to be judged."""
_OVERVIEW_PX = 512  # longer edge


def overview_of(slide: SlidePixels) -> np.ndarray:
    """Return uint8 (rows, columns, 3): the whole slide, at most 512 px along its longer edge."""
    scale = max(1.0, max(slide.width, slide.height) / _OVERVIEW_PX)
    return slide.overview(max(1, round(slide.width / scale)), max(1, round(slide.height / scale)))


def fault(rgb: np.ndarray, bits: int = 8) -> str:
    """Return why uint8 (..., 3) is no brightfield picture in colour, or "". bits: per stored sample."""
    darkest = rgb.min(axis=-1)
    bright = float(np.percentile(darkest, 99))
    brightest = int(rgb.max())
    if bright < DARK and bits > 8 and brightest < 128:  # 15 of 16 bits would reach 127
        return (
            f"pixels of {bits} bits whose brightest are read as {brightest} of 255: they use fewer bits than they "
            "are stored with; save it with 8 bits"
        )
    if bright < DARK:
        return (
            f"99 of 100 px are darker than {DARK} of 255: no brightfield picture (fluorescence, or inverted); "
            "only stained tissue under white light can be used"
        )
    coloured = darkest < NEAR_WHITE
    if coloured.mean() < LEAST_SHARE:
        return ""
    spread = (rgb.max(axis=-1) - darkest)[coloured]
    if np.percentile(spread, 99) <= GREY_SPREAD:
        return "the picture is grey: its red, green and blue are alike; only pictures of stained tissue can be used"
    return ""


def check(slide: SlidePixels, overview: np.ndarray | None = None) -> None:
    """Pass if the slide is a brightfield picture in colour; overview: `overview_of(slide)` where it is at hand.

    Raises:
        SlideError: grey, dark as fluorescence is, or samples that use fewer bits than they are stored with.
    """
    pages = read_pages(slide.path, slide.slide_id) if isinstance(slide, Slide) else []
    bits = max((page.bits for page in pages if page.tile is not None), default=8)
    if what := fault(overview_of(slide) if overview is None else overview, bits):
        raise slide.fault(what)
