"""One slide opened with OpenSlide: sizes, levels and white-padded RGB pixels at any working resolution."""

import math
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import openslide
from PIL import Image

from acinus.errors import SlideError
from acinus.slides.geometry import Resolution, at_downsample

MPP_RANGE = (0.05, 20.0)
"""Plausible um per level-0 px; a value outside (pyvips writes 1000 for "unknown") counts as missing."""

MAX_SOURCE_PX = 32_000_000
"""Largest piece of a level held at once, so that memory stays bounded where a slide has few levels."""

REMEDY = "replace the file or list the slide under cohort.exclude"


class Slide:
    """A slide, open for reading; a context manager. Several threads may read, none while it is closed.

    Raises:
        SlideError: the file is missing, empty or nothing that OpenSlide can open.
    """

    def __init__(self, path: Path, slide_id: str) -> None:
        self.slide_id = slide_id
        self.path = path
        if not path.is_file():
            raise SlideError(f"slide {slide_id}: {path} is not there; {REMEDY}")
        if path.stat().st_size == 0:
            raise SlideError(f"slide {slide_id}: {path.name} is empty (0 bytes); {REMEDY}")
        try:
            self._handle = openslide.OpenSlide(path)
            self.level_dimensions: tuple[tuple[int, int], ...] = self._handle.level_dimensions
            self.level_downsamples: tuple[float, ...] = self._handle.level_downsamples
            self.properties: dict[str, str] = dict(self._handle.properties)
        except openslide.OpenSlideError as error:
            raise SlideError(f"slide {slide_id}: {path.name} does not open ({self._plain(error)}); {REMEDY}") from error
        self.width, self.height = self.level_dimensions[0]
        self.tag_mpp = _plausible_mpp(self.properties)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; later reads fail."""
        self._handle.close()

    def read(self, x0: int, y0: int, width_px: int, height_px: int, at: Resolution) -> np.ndarray:
        """Return uint8 (height_px, width_px, 3): the pixels whose top-left corner is level-0 (x0, y0).

        White beyond the border and where the slide has no pixels; the patch stays where it was asked for.
        Where the level is finer than the working resolution it is shrunk with an antialiased triangle
        filter that also sees the pixels around the patch, so that neighbouring patches fit together.

        Raises:
            SlideError: pixels that cannot be decoded; names slide and place.
        """
        return self._shrunk(float(x0), float(y0), (width_px, height_px), at)

    def overview(self, columns: int, rows: int) -> np.ndarray:
        """Return uint8 (rows, columns, 3): the whole slide, each px the mean of the area it covers."""
        scale = max(1.0, min(self.width / columns, self.height / rows))
        level = at_downsample(self.level_downsamples, scale).level
        wide, high = self.level_dimensions[level]
        band = max(1, int(MAX_SOURCE_PX / wide * rows / high))  # rows of the result per piece
        pieces = []
        for first in range(0, rows, band):
            last = min(first + band, rows)
            top, bottom = first * high / rows, last * high / rows
            start, stop = math.floor(top), min(high, math.ceil(bottom))
            source = self._region(self._corner0(0, start, level), level, (wide, stop - start))
            box = (0.0, top - start, float(wide), bottom - start)
            pieces.append(np.asarray(source.resize((columns, last - first), Image.Resampling.BOX, box=box)))
        return np.concatenate(pieces)

    def _shrunk(self, x0: float, y0: float, size: tuple[int, int], at: Resolution) -> np.ndarray:
        """Read `size` (width, height) working px at level-0 (x0, y0), in pieces where the source is large."""
        ratio = at.downsample / at.level_downsample
        if max(size) * abs(ratio - 1.0) < 0.5:  # the level is the working resolution, to half a pixel
            corner = (math.floor(x0 + 0.5), math.floor(y0 + 0.5))
            return np.array(self._region(corner, at.level, size))
        margin = math.ceil(ratio) + 1
        wide, high = (math.ceil(edge * ratio) + 2 * margin + 2 for edge in size)
        if wide * high > MAX_SOURCE_PX and max(size) > 1:
            return self._halves(x0, y0, size, at)
        corner_x, left = _corner(x0, at.level_downsample, margin)
        corner_y, top = _corner(y0, at.level_downsample, margin)
        source = self._region((corner_x, corner_y), at.level, (wide, high))
        box = (left, top, left + size[0] * ratio, top + size[1] * ratio)
        return np.array(source.resize(size, Image.Resampling.BILINEAR, box=box))

    def _halves(self, x0: float, y0: float, size: tuple[int, int], at: Resolution) -> np.ndarray:
        width, height = size
        if height >= width:
            half = height // 2
            first = self._shrunk(x0, y0, (width, half), at)
            second = self._shrunk(x0, y0 + half * at.downsample, (width, height - half), at)
            return np.concatenate([first, second], axis=0)
        half = width // 2
        first = self._shrunk(x0, y0, (half, height), at)
        second = self._shrunk(x0 + half * at.downsample, y0, (width - half, height), at)
        return np.concatenate([first, second], axis=1)

    def read_level(self, x_px: int, y_px: int, width_px: int, height_px: int, level: int) -> np.ndarray:
        """Return uint8 (height_px, width_px, 4), RGBA, of a piece addressed in the level's own pixels.

        Alpha 0 is where the slide has no pixels.
        """
        return np.array(self._rgba(self._corner0(x_px, y_px, level), level, (width_px, height_px)))

    def _corner0(self, x_px: int, y_px: int, level: int) -> tuple[int, int]:
        own = self.level_downsamples[level]
        return math.floor(x_px * own + 0.5), math.floor(y_px * own + 0.5)

    def _region(self, corner0: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        """Read a piece and lay it on white."""
        rgba = self._rgba(corner0, level, size)
        alpha = rgba.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return rgba.convert("RGB")
        white = Image.new("RGB", rgba.size, (255, 255, 255))
        white.paste(rgba, mask=alpha)
        return white

    def _rgba(self, corner0: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        try:
            return self._handle.read_region(corner0, level, size)
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"slide {self.slide_id}: level {level} cannot be read at level-0 px {corner0} ({self._plain(error)}); "
                f"{REMEDY}"
            ) from error

    def _plain(self, error: Exception) -> str:
        """Return an error's text on one line and without the folder, which differs between machines."""
        return " ".join(str(error).replace(str(self.path), self.path.name).split())


def _corner(start0: float, level_downsample: float, margin: int) -> tuple[int, float]:
    """Return the level-0 px to read from, `margin` level px before start0, and start0's place in what comes.

    OpenSlide takes whole level-0 px only; the place is relative to where it will really start.
    """
    wanted = start0 / level_downsample
    got0 = math.floor((math.floor(wanted) - margin) * level_downsample + 0.5)
    return got0, wanted - got0 / level_downsample


def _plausible_mpp(properties: dict[str, str]) -> tuple[float, float] | None:
    """Return (x, y) um per level-0 px from the slide's own tags, or None where missing or implausible."""
    try:
        x, y = (float(properties[f"openslide.mpp-{axis}"]) for axis in "xy")
    except (KeyError, ValueError):
        return None
    return (x, y) if all(MPP_RANGE[0] <= value <= MPP_RANGE[1] for value in (x, y)) else None
