"""White-padded pixels of any pyramid at any working resolution, whatever the pyramid is read from."""

import math
from typing import Protocol

import numpy as np
from PIL import Image

from acinus.slides.geometry import Resolution, at_downsample

MAX_SOURCE_PX = 32_000_000
"""Largest piece of a level held at once, so that memory stays bounded where a slide has few levels."""


class Pyramid(Protocol):
    """Something with levels; width and height are level 0's."""

    width: int
    height: int
    level_dimensions: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]

    def region(self, corner0: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        """Return RGB of `size` (width, height) level px from level-0 px `corner0` on, white where there are none."""
        ...


def read(pyramid: Pyramid, x0: float, y0: float, size: tuple[int, int], at: Resolution) -> np.ndarray:
    """Return uint8 (height, width, 3) of `size` (width, height) working px at level-0 (x0, y0).

    In pieces where the source is large. Where the level is finer than the working resolution it is shrunk
    with an antialiased triangle filter that also sees the pixels around the patch.
    """
    ratio = at.downsample / at.level_downsample
    if max(size) * abs(ratio - 1.0) < 0.5:  # the level is the working resolution, to half a pixel
        corner = (math.floor(x0 + 0.5), math.floor(y0 + 0.5))
        return np.array(pyramid.region(corner, at.level, size))
    margin = math.ceil(ratio) + 1
    wide, high = (math.ceil(edge * ratio) + 2 * margin + 2 for edge in size)
    if wide * high > MAX_SOURCE_PX and max(size) > 1:
        return _halves(pyramid, x0, y0, size, at)
    corner_x, left = _corner(x0, at.level_downsample, margin)
    corner_y, top = _corner(y0, at.level_downsample, margin)
    source = pyramid.region((corner_x, corner_y), at.level, (wide, high))
    box = (left, top, left + size[0] * ratio, top + size[1] * ratio)
    return np.array(source.resize(size, Image.Resampling.BILINEAR, box=box))


def overview(pyramid: Pyramid, columns: int, rows: int) -> np.ndarray:
    """Return uint8 (rows, columns, 3): all of level 0, each px the mean of the area it covers."""
    scale = max(1.0, min(pyramid.width / columns, pyramid.height / rows))
    level = at_downsample(pyramid.level_downsamples, scale).level
    wide, high = pyramid.level_dimensions[level]
    band = max(1, int(MAX_SOURCE_PX / wide * rows / high))  # rows of the result per piece
    pieces = []
    for first in range(0, rows, band):
        last = min(first + band, rows)
        top, bottom = first * high / rows, last * high / rows
        start, stop = math.floor(top), min(high, math.ceil(bottom))
        source = pyramid.region(corner0(pyramid, 0, start, level), level, (wide, stop - start))
        box = (0.0, top - start, float(wide), bottom - start)
        pieces.append(np.asarray(source.resize((columns, last - first), Image.Resampling.BOX, box=box)))
    return np.concatenate(pieces)


def corner0(pyramid: Pyramid, x_px: int, y_px: int, level: int) -> tuple[int, int]:
    """Return the whole level-0 px nearest to a level's own px (x_px, y_px)."""
    own = pyramid.level_downsamples[level]
    return math.floor(x_px * own + 0.5), math.floor(y_px * own + 0.5)


def _halves(pyramid: Pyramid, x0: float, y0: float, size: tuple[int, int], at: Resolution) -> np.ndarray:
    width, height = size
    if height >= width:
        half = height // 2
        first = read(pyramid, x0, y0, (width, half), at)
        second = read(pyramid, x0, y0 + half * at.downsample, (width, height - half), at)
        return np.concatenate([first, second], axis=0)
    half = width // 2
    first = read(pyramid, x0, y0, (half, height), at)
    second = read(pyramid, x0 + half * at.downsample, y0, (width - half, height), at)
    return np.concatenate([first, second], axis=1)


def _corner(start0: float, level_downsample: float, margin: int) -> tuple[int, float]:
    """Return the level-0 px to read from, `margin` level px before start0, and start0's place in what comes.

    OpenSlide takes whole level-0 px only; the place is relative to where it will really start.
    """
    wanted = start0 / level_downsample
    got0 = math.floor((math.floor(wanted) - margin) * level_downsample + 0.5)
    return got0, wanted - got0 / level_downsample
