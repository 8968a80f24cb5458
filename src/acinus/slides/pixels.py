"""White-padded pixels of any slide at any working resolution, whatever they are read from."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from acinus.errors import SlideError
from acinus.slides.geometry import Resolution, at_downsample

MAX_SOURCE_PX = 32_000_000
"""Largest piece of a level held at once, so that memory stays bounded where a slide has few levels."""

LEAVE_OUT = "list the slide under cohort.exclude"
REMEDY = f"replace the file or {LEAVE_OUT}"


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
        level_downsample = self.at.level_downsample
        if self.exact:
            read0 = np.floor(start0 + 0.5)
            return read0.astype(np.int64), np.zeros_like(read0)
        start_px = start0 / level_downsample
        read0 = np.floor((np.floor(start_px) - self.margin) * level_downsample + 0.5)
        return read0.astype(np.int64), start_px - read0 / level_downsample

    def finish(self, pixels: np.ndarray, left: float, top: float) -> np.ndarray:
        """Return the working px from those of the level: as they are, or shrunk by an antialiased triangle filter."""
        if self.exact:
            return pixels
        box = (left, top, left + self.size[0] * self.ratio, top + self.size[1] * self.ratio)
        return np.array(Image.fromarray(pixels).resize(self.size, Image.Resampling.BILINEAR, box=box))


class SlidePixels(ABC):
    """The pixels of one slide, open for reading; a context manager. Sizes are level-0 px, `tag_mpp` (x, y) um/px."""

    slide_id: str
    path: Path
    width: int
    height: int
    level_dimensions: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]
    properties: dict[str, str]
    tag_mpp: tuple[float, float] | None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Release the file; later reads fail."""

    @abstractmethod
    def region(self, corner0: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        """Return uint8 (height, width, 3) of `size` (width, height) level px from level-0 px `corner0` on.

        White where there are none; an array of the caller's own.
        """

    def read(self, x0: float, y0: float, width_px: int, height_px: int, at: Resolution) -> np.ndarray:
        """Return uint8 (height_px, width_px, 3): the pixels whose top-left corner is level-0 (x0, y0).

        White beyond the border and where the slide has no pixels; the patch stays where it was asked for.
        Where the level is finer than the working resolution it is shrunk with an antialiased triangle
        filter that also sees the pixels around the patch, so that neighbouring patches fit together.
        Read in pieces where the source is large.

        Raises:
            SlideError: pixels that cannot be decoded, or values beyond 0..255; names slide and place or file.
        """
        source = Source((width_px, height_px), at)
        if not source.too_large:
            corner, place = source.starts(np.array([x0, y0], dtype=np.float64))
            pixels = self.region((int(corner[0]), int(corner[1])), at.level, source.level_size)
            return source.finish(pixels, float(place[0]), float(place[1]))
        if height_px >= width_px:
            half = height_px // 2
            upper = self.read(x0, y0, width_px, half, at)
            lower = self.read(x0, y0 + half * at.downsample, width_px, height_px - half, at)
            return np.concatenate([upper, lower], axis=0)
        half = width_px // 2
        left = self.read(x0, y0, half, height_px, at)
        right = self.read(x0 + half * at.downsample, y0, width_px - half, height_px, at)
        return np.concatenate([left, right], axis=1)

    def overview(self, columns: int, rows: int) -> np.ndarray:
        """Return uint8 (rows, columns, 3): the whole slide, each px the mean of the area it covers."""
        scale = max(1.0, min(self.width / columns, self.height / rows))
        level = at_downsample(self.level_downsamples, scale).level
        wide, high = self._covered(level)
        level_width, level_height = self.level_dimensions[level]
        band = max(1, int(MAX_SOURCE_PX / wide * rows / high))  # rows of the result per piece
        pieces = []
        for first in range(0, rows, band):
            last = min(first + band, rows)
            top, bottom = first * high / rows, last * high / rows
            start, stop = math.floor(top), min(level_height, math.ceil(bottom))
            pixels = self.region(self.corner0(0, start, level), level, (level_width, stop - start))
            size, box = (columns, last - first), (0.0, top - start, wide, bottom - start)
            pieces.append(np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX, box=box)))
        return np.concatenate(pieces)

    def _covered(self, level: int) -> tuple[float, float]:
        """Return level 0's (width, height) in px of a level: of a whole reduction that was rounded up, not quite all.

        Else a level would be stretched by as much as a px of its own: OpenSlide knows a level by its size alone.
        """
        factor = round(self.level_downsamples[level])
        wide, high = self.level_dimensions[level]
        if (-(-self.width // factor), -(-self.height // factor)) == (wide, high):
            return self.width / factor, self.height / factor
        return float(wide), float(high)

    def corner0(self, x_px: int, y_px: int, level: int) -> tuple[int, int]:
        """Return the whole level-0 px nearest to a level's own px (x_px, y_px)."""
        downsample = self.level_downsamples[level]
        return math.floor(x_px * downsample + 0.5), math.floor(y_px * downsample + 0.5)

    def fault(self, what: str) -> SlideError:
        """Return the error of a slide that cannot be used: one line that names it, what is wrong and what to do."""
        return SlideError(f"slide {self.slide_id}: {what}; {REMEDY}")
