"""One image of an array file (N, height, width, 3) as a slide with one level. Source: PanNuke's images.npy."""

import re
from abc import abstractmethod
from functools import cached_property, lru_cache
from pathlib import Path
from tokenize import TokenError

import numpy as np

from acinus.errors import SlideError
from acinus.slides.pixels import SlidePixels

REMEDY = "replace the file or list its slides under cohort.exclude"
_ROW = re.compile(r"(?P<file>.+\.npy)#(?P<row>\d{1,9})\Z", re.IGNORECASE)

# what numpy raises for a file that is cut off, holds objects, or has a header that is no literal
_DAMAGED = (ValueError, EOFError, SyntaxError, TypeError, ArithmeticError, MemoryError, TokenError)


def array_row(path: Path) -> tuple[Path, int] | None:
    """Return the file and the row of a path `<file>.npy#<row>`, or None for any other path."""
    match = _ROW.match(path.name)
    return None if match is None else (path.with_name(match["file"]), int(match["row"]))


def open_array(path: Path, channels: int) -> np.ndarray:
    """Return an array file (N, height, width, channels) of numbers, mapped: only what is looked at is read.

    Raises:
        SlideError: missing, damaged, pickled objects (which could run code), or of another shape.
    """
    try:
        facts = path.stat()
        array = _mapped(path, facts.st_mtime_ns, facts.st_size)
    except OSError as error:
        raise SlideError(f"{path.name} cannot be read ({error.strerror or error}); {REMEDY}") from error
    except _DAMAGED as error:
        text = " ".join(str(error).split())[:200]
        raise SlideError(f"{path.name} is no array of plain numbers ({text}); {REMEDY}") from error
    if array.dtype.kind not in "buif":
        raise SlideError(f"{path.name} holds {array.dtype}; expected numbers; save it again as uint8")
    if array.ndim != 4 or array.shape[3] != channels or 0 in array.shape[1:3]:
        raise SlideError(
            f"{path.name} has shape {array.shape}; expected (N, height, width, {channels}); is it another file?"
        )
    return array


@lru_cache(maxsize=8)
def _mapped(path: Path, mtime_ns: int, size: int) -> np.ndarray:
    """Map a file once per process; its time and size are asked for so that a new file is not taken for the old."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def image_of(path: Path, channels: int) -> np.ndarray:
    """Return the image (height, width, channels), still mapped, that a path `<file>.npy#<row>` means.

    Raises:
        SlideError: see open_array; a row that the file does not have.
    """
    file_and_row = array_row(path)
    if file_and_row is None:
        raise SlideError(f"{path.name} names no row of an array file; expected <file>.npy#<row>")
    file, row = file_and_row
    array = open_array(file, channels)
    if row >= len(array):
        raise SlideError(f"{file.name} has {len(array)} rows, no row {row}; ingest the cohort again")
    return array[row]


class MemorySlide(SlidePixels):
    """A slide of one level whose pixels are looked at as a whole once and then held in memory."""

    def _sized(self, width: int, height: int) -> None:
        """Note the size, px; nothing else is known of it."""
        self.width, self.height = int(width), int(height)
        self.level_dimensions = ((self.width, self.height),)
        self.level_downsamples = (1.0,)
        self.properties = {}
        self.tag_mpp = None

    @cached_property
    @abstractmethod
    def _pixels(self) -> np.ndarray:
        """Return uint8 (height, width, 3)."""

    def close(self) -> None:
        """Let go of the image."""

    def region(self, corner0: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        """Return `size` px from `corner0` on, white beyond the image: see SlidePixels."""
        del level  # there is one
        (x, y), (wide, high) = corner0, size
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + wide, self.width), min(y + high, self.height)
        region = np.full((high, wide, 3), 255, dtype=np.uint8)
        if right > left and bottom > top:
            region[top - y : bottom - y, left - x : right - x] = self._pixels[top:bottom, left:right]
        return region


class ArraySlide(MemorySlide):
    """One image of an array file, open for reading; a context manager.

    Any numeric type whose values lie in 0..255, fractions rounded. Array files carry no mpp.

    Raises:
        SlideError: the file is missing, no array of images, or has no such row.
    """

    def __init__(self, path: Path, slide_id: str) -> None:
        self.slide_id = slide_id
        self.path = path
        try:
            self._image = image_of(path, 3)
        except SlideError as error:
            raise SlideError(f"slide {slide_id}: {error}") from error
        self._sized(self._image.shape[1], self._image.shape[0])

    @cached_property
    def _pixels(self) -> np.ndarray:
        """Return uint8 (height, width, 3), after a look at every value."""
        values = np.asarray(self._image)
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 255):  # so that nan is refused too
            raise SlideError(
                f"slide {self.slide_id}: {self.path.name} has values from {low:g} to {high:g}; expected 0 to 255; "
                "convert the array or list the slide under cohort.exclude"
            )
        if values.dtype.kind == "f" and 0 < high <= 1 and not np.array_equal(values, np.rint(values)):
            raise SlideError(
                f"slide {self.slide_id}: {self.path.name} has fractions up to {high:g}; expected 0 to 255, not 0 to 1; "
                "multiply the array by 255"
            )
        return np.rint(values).astype(np.uint8) if values.dtype.kind == "f" else values.astype(np.uint8)
