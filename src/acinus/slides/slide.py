"""A slide in a file of its own: the file's bytes, and what OpenSlide makes of them: tags, levels and pixels."""

import math
import os
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import openslide
from PIL import Image

from acinus.errors import SlideError
from acinus.slides.formats import REPLACE, format_of
from acinus.slides.pixels import LEAVE_OUT, SlidePixels

if TYPE_CHECKING:
    from acinus.slides.pages import Page

MPP_RANGE = (0.05, 20.0)
"""Plausible um per level-0 px; a value outside (pyvips writes 1000 for "unknown") counts as missing."""
_DEFAULT_COUNTS = (1, 10, 72, 96, 100, 150, 200, 300, 600)


class FileSlide(SlidePixels):
    """A slide in a file (or folder) of its own. Several threads may read, none while it is closed.

    directories: the TIFF directory of each level where the reader knows them, else none.
    """

    directories: "tuple[Page, ...]" = ()

    def close(self) -> None:
        """Release the file; later reads fail."""
        if "_file" in self.__dict__:
            self._file.close()

    @abstractmethod
    def read_level(self, x_px: int, y_px: int, width_px: int, height_px: int, level: int) -> np.ndarray:
        """Return uint8 (height_px, width_px, 4), RGBA, of a piece addressed in the level's own pixels.

        Alpha 0 is where the slide has no pixels.
        """

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

    def _check_file(self) -> None:
        """Raise what is wrong with a path before anything is read of it."""
        if self.path.is_dir() and format_of(self.path) is not None:
            raise unread(self, "a folder")
        if not self.path.is_file():
            raise self.fault(f"{self.path} {'is a folder, not a file' if self.path.is_dir() else 'is not there'}")
        if self.path.stat().st_size == 0:
            raise self.fault(f"{self.path.name} is empty (0 bytes)")

    def _plain(self, error: Exception) -> str:
        """Return an error's text on one line and without the folder, which differs between machines."""
        return " ".join(str(error).replace(str(self.path), self.path.name).split())


class Slide(FileSlide):
    """A slide that OpenSlide reads, open; a context manager.

    Raises:
        SlideError: the file is missing, empty or nothing that OpenSlide can open.
    """

    def __init__(self, path: Path, slide_id: str) -> None:
        self.slide_id = slide_id
        self.path = path
        self._check_file()
        try:
            self._handle = openslide.OpenSlide(path)
            self.level_dimensions = self._handle.level_dimensions
            self.level_downsamples = self._handle.level_downsamples
            self.properties = dict(self._handle.properties)
        except openslide.OpenSlideError as error:
            raise unread(self, self._plain(error)) from error
        self.width, self.height = self.level_dimensions[0]
        try:
            x, y = (float(self.properties[f"openslide.mpp-{axis}"]) for axis in "xy")
            self.tag_mpp = plausible_mpp(x, y)
        except (KeyError, ValueError):
            self.tag_mpp = None

    def close(self) -> None:
        """Release the file; later reads fail."""
        self._handle.close()
        super().close()

    def read_level(self, x_px: int, y_px: int, width_px: int, height_px: int, level: int) -> np.ndarray:
        """Return RGBA of a piece of a level: see FileSlide."""
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


def plausible_mpp(x: float, y: float) -> tuple[float, float] | None:
    """Return um per level-0 px (x, y), or None where they are implausible."""
    return (x, y) if all(MPP_RANGE[0] <= value <= MPP_RANGE[1] for value in (x, y)) else None


def unread(slide: SlidePixels, why: str) -> SlideError:
    """Return the error of a slide that does not open, with what makes its format readable."""
    form, name = format_of(slide.path), slide.path.name
    what = f"{name} does not open ({why})"
    if form is not None and not form.readable:
        what = f"{name} is not read: {form.name}"
    if form is None or form.remedy == REPLACE:
        return slide.fault(what)
    return SlideError(f"slide {slide.slide_id}: {what}; {form.remedy}, or {LEAVE_OUT}")


def is_default_mpp(tag: str) -> bool:
    """Return whether a text of um per px is what writers put where they know none: no number, 0, or 1, 10, 72, 96,
    100, 150, 200, 300 or 600 px per inch or centimetre."""
    try:
        value = float(tag)
    except ValueError:
        return True
    if not 0 < value < math.inf:
        return True
    return any(abs(value * count / unit - 1) < 1e-3 for unit in (1e4, 25_400.0) for count in _DEFAULT_COUNTS)
