"""White-padded pixels of any pyramid at any working resolution, whatever the pyramid is read from."""

import math
from dataclasses import dataclass
from functools import cached_property
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

    def region(self, corner0: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        """Return uint8 (height, width, 3) of `size` (width, height) level px from level-0 px `corner0` on.

        White where there are none; an array of the caller's own.
        """
        ...


@dataclass(frozen=True)
class Source:
    """What `size` (width, height) working px at a resolution need of the level that they are read from."""

    size: tuple[int, int]
    at: Resolution

    @property
    def ratio(self) -> float:
        """Return level px per working px."""
        return self.at.downsample / self.at.level_downsample

    @cached_property
    def exact(self) -> bool:
        """Return whether the level is the working resolution, to half a pixel: its px are taken as they are."""
        return max(self.size) * abs(self.ratio - 1.0) < 0.5

    @cached_property
    def margin(self) -> int:
        """Return the level px to read before the first one: the filter sees the pixels around."""
        return 0 if self.exact else math.ceil(self.ratio) + 1

    @cached_property
    def level_size(self) -> tuple[int, int]:
        """Return (width, height) to read, level px."""
        if self.exact:
            return self.size
        wide, high = (math.ceil(edge * self.ratio) + 2 * self.margin + 2 for edge in self.size)
        return wide, high

    @property
    def too_large(self) -> bool:
        """Return whether it is read in pieces, so that memory stays bounded."""
        return not self.exact and math.prod(self.level_size) > MAX_SOURCE_PX and max(self.size) > 1

    def starts(self, start0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the whole level-0 px to read from (int64), and start0's place in what comes, level px (float64).

        start0: along one axis, any shape. OpenSlide takes whole level-0 px only; the place is relative to
        where it will really start.
        """
        own = self.at.level_downsample
        if self.exact:
            got0 = np.floor(start0 + 0.5)
            return got0.astype(np.int64), np.zeros_like(got0)
        wanted = start0 / own
        got0 = np.floor((np.floor(wanted) - self.margin) * own + 0.5)
        return got0.astype(np.int64), wanted - got0 / own

    def finish(self, pixels: np.ndarray, left: float, top: float) -> np.ndarray:
        """Return the working px from those of the level: as they are, or shrunk by an antialiased triangle filter."""
        if self.exact:
            return pixels
        box = (left, top, left + self.size[0] * self.ratio, top + self.size[1] * self.ratio)
        return np.array(Image.fromarray(pixels).resize(self.size, Image.Resampling.BILINEAR, box=box))


def read(pyramid: Pyramid, x0: float, y0: float, size: tuple[int, int], at: Resolution) -> np.ndarray:
    """Return uint8 (height, width, 3) of `size` (width, height) working px at level-0 (x0, y0).

    In pieces where the source is large. Where the level is finer than the working resolution it is shrunk
    with an antialiased triangle filter that also sees the pixels around the patch.
    """
    source = Source(size, at)
    if source.too_large:
        return _halves(pyramid, x0, y0, size, at)
    corner, place = source.starts(np.array([x0, y0], dtype=np.float64))
    pixels = pyramid.region((int(corner[0]), int(corner[1])), at.level, source.level_size)
    return source.finish(pixels, float(place[0]), float(place[1]))


def overview(pyramid: Pyramid, columns: int, rows: int) -> np.ndarray:
    """Return uint8 (rows, columns, 3): all of level 0, each px the mean of the area it covers."""
    scale = max(1.0, min(pyramid.width / columns, pyramid.height / rows))
    level = at_downsample(pyramid.level_downsamples, scale).level
    wide, high = _covered(pyramid, level)
    held = pyramid.level_dimensions[level]
    band = max(1, int(MAX_SOURCE_PX / wide * rows / high))  # rows of the result per piece
    pieces = []
    for first in range(0, rows, band):
        last = min(first + band, rows)
        top, bottom = first * high / rows, last * high / rows
        start, stop = math.floor(top), min(held[1], math.ceil(bottom))
        source = Image.fromarray(pyramid.region(corner0(pyramid, 0, start, level), level, (held[0], stop - start)))
        box = (0.0, top - start, wide, bottom - start)
        pieces.append(np.asarray(source.resize((columns, last - first), Image.Resampling.BOX, box=box)))
    return np.concatenate(pieces)


def _covered(pyramid: Pyramid, level: int) -> tuple[float, float]:
    """Return level 0's (width, height) in px of a level: where a whole reduction was rounded up, its last px hang over.

    Else a level would be stretched by as much as a px of its own: OpenSlide knows a level by its size alone.
    """
    factor = round(pyramid.level_downsamples[level])
    size = pyramid.width, pyramid.height
    if all(-(-edge // factor) == px for edge, px in zip(size, pyramid.level_dimensions[level], strict=True)):
        return size[0] / factor, size[1] / factor
    wide, high = pyramid.level_dimensions[level]
    return float(wide), float(high)


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
