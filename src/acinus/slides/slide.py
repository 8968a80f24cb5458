"""One slide opened with OpenSlide: its tags, levels and pixels, and the bytes of its file."""

import os
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import openslide
from PIL import Image

from acinus.slides.pixels import SlidePixels

MPP_RANGE = (0.05, 20.0)
"""Plausible um per level-0 px; a value outside (pyvips writes 1000 for "unknown") counts as missing."""


class Slide(SlidePixels):
    """A slide, open for reading; a context manager. Several threads may read, none while it is closed.

    Raises:
        SlideError: the file is missing, empty or nothing that OpenSlide can open.
    """

    def __init__(self, path: Path, slide_id: str) -> None:
        self.slide_id = slide_id
        self.path = path
        if not path.is_file():
            raise self.fault(f"{path} {'is a folder, not a file' if path.is_dir() else 'is not there'}")
        if path.stat().st_size == 0:
            raise self.fault(f"{path.name} is empty (0 bytes)")
        try:
            self._handle = openslide.OpenSlide(path)
            self.level_dimensions = self._handle.level_dimensions
            self.level_downsamples = self._handle.level_downsamples
            self.properties = dict(self._handle.properties)
        except openslide.OpenSlideError as error:
            raise self.fault(f"{path.name} does not open ({self._plain(error)})") from error
        self.width, self.height = self.level_dimensions[0]
        try:
            x, y = (float(self.properties[f"openslide.mpp-{axis}"]) for axis in "xy")
            self.tag_mpp = plausible_mpp(x, y)
        except (KeyError, ValueError):
            self.tag_mpp = None

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

    def read_level(self, x_px: int, y_px: int, width_px: int, height_px: int, level: int) -> np.ndarray:
        """Return uint8 (height_px, width_px, 4), RGBA, of a piece addressed in the level's own pixels.

        Alpha 0 is where the slide has no pixels.
        """
        return np.array(self._rgba(self.corner0(x_px, y_px, level), level, (width_px, height_px)))

    def region(self, corner0: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        """Return `size` px of a level from level-0 px `corner0` on, laid on white: see SlidePixels."""
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
            what = f"level {level} cannot be read at level-0 px {corner0} ({self._plain(error)})"
            raise self.fault(what) from error

    def _plain(self, error: Exception) -> str:
        """Return an error's text on one line and without the folder, which differs between machines."""
        return " ".join(str(error).replace(str(self.path), self.path.name).split())


def plausible_mpp(x: float, y: float) -> tuple[float, float] | None:
    """Return um per level-0 px (x, y), or None where they are implausible."""
    return (x, y) if all(MPP_RANGE[0] <= value <= MPP_RANGE[1] for value in (x, y)) else None
