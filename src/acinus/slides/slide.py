"""One slide opened with OpenSlide: sizes, levels and white-padded RGB pixels at any working resolution."""

import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import openslide
from PIL import Image

from acinus.errors import SlideError
from acinus.slides import resampling
from acinus.slides.geometry import Resolution

MPP_RANGE = (0.05, 20.0)
"""Plausible um per level-0 px; a value outside (pyvips writes 1000 for "unknown") counts as missing."""

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
            what = "is a folder, not a file" if path.is_dir() else "is not there"
            raise SlideError(f"slide {slide_id}: {path} {what}; {REMEDY}")
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
        if "_file" in self.__dict__:
            self._file.close()

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Return `count` bytes of the file from `offset` on, fewer where it ends before, none before its start.

        Read, not mapped: the pages of a mapped file count as memory of the process.
        """
        file = self._file.fileno()
        there = min(count, os.fstat(file).st_size - offset)  # a damaged directory may ask for any number
        return os.pread(file, there, offset) if offset >= 0 and there > 0 else b""

    @cached_property
    def _file(self) -> BinaryIO:
        return self.path.open("rb")

    def read(self, x0: int, y0: int, width_px: int, height_px: int, at: Resolution) -> np.ndarray:
        """Return uint8 (height_px, width_px, 3): the pixels whose top-left corner is level-0 (x0, y0).

        White beyond the border and where the slide has no pixels; the patch stays where it was asked for.
        Where the level is finer than the working resolution it is shrunk with an antialiased triangle
        filter that also sees the pixels around the patch, so that neighbouring patches fit together.

        Raises:
            SlideError: pixels that cannot be decoded; names slide and place.
        """
        return resampling.read(self, x0, y0, (width_px, height_px), at)

    def overview(self, columns: int, rows: int) -> np.ndarray:
        """Return uint8 (rows, columns, 3): the whole slide, each px the mean of the area it covers."""
        return resampling.overview(self, columns, rows)

    def read_level(self, x_px: int, y_px: int, width_px: int, height_px: int, level: int) -> np.ndarray:
        """Return uint8 (height_px, width_px, 4), RGBA, of a piece addressed in the level's own pixels.

        Alpha 0 is where the slide has no pixels.
        """
        corner0 = resampling.corner0(self, x_px, y_px, level)
        return np.array(self._rgba(corner0, level, (width_px, height_px)))

    def region(self, corner0: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        """Return `size` px of a level from level-0 px `corner0` on, laid on white: see resampling.Pyramid."""
        rgba = self._rgba(corner0, level, size)
        alpha = rgba.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return np.array(rgba.convert("RGB"))
        white = Image.new("RGB", rgba.size, (255, 255, 255))
        white.paste(rgba, mask=alpha)
        return np.array(white)

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


def _plausible_mpp(properties: dict[str, str]) -> tuple[float, float] | None:
    """Return (x, y) um per level-0 px from the slide's own tags, or None where missing or implausible."""
    try:
        x, y = (float(properties[f"openslide.mpp-{axis}"]) for axis in "xy")
    except (KeyError, ValueError):
        return None
    return (x, y) if all(MPP_RANGE[0] <= value <= MPP_RANGE[1] for value in (x, y)) else None
