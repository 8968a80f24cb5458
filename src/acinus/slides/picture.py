"""A PNG or JPEG as a slide with one level, held in memory; a large one is a slide by way of a pyramid."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from acinus.errors import SlideError
from acinus.slides.array import MemorySlide
from acinus.slides.raster import Raster, on_white, open_raster, stripes

FLAT_PX = 2**24
"""Largest picture of one level that is read as it is; of a larger one the levels are made first (`pyramid`)."""


def open_picture(path: Path, slide_id: str) -> Raster:
    """Open a PNG or JPEG of 8-bit RGB as far as its header.

    Raises:
        SlideError: another one, with the reason; see raster.open_raster.
    """
    with named(slide_id):
        raster = open_raster(path)
        if raster.image.format != "uchar":
            raise SlideError(f"{path.name}: 16 bits per sample; only 8 are read; save it with 8 bits")
        if raster.channels < 3:
            raise SlideError(f"{path.name}: the picture is grey; only RGB pictures of stained tissue can be used")
    return raster


def rows_of(raster: Raster, slide_id: str) -> Iterator[np.ndarray]:
    """Yield uint8 (rows, width, 3) from top to bottom, alpha laid on white.

    Raises:
        SlideError: see raster.stripes.
    """
    with named(slide_id):
        for stripe in stripes(raster):
            yield on_white(stripe)


@contextmanager
def named(slide_id: str) -> Iterator[None]:
    """Put the slide in front of an error's text."""
    try:
        yield
    except SlideError as error:
        raise SlideError(f"slide {slide_id}: {error}") from error


class PictureSlide(MemorySlide):
    """A PNG or JPEG, open for reading; a context manager. Alpha is laid on white.

    Of one of more than FLAT_PX px size and um/px are told; reading its pixels is refused.

    Raises:
        SlideError: damaged, or not 8-bit RGB.
    """

    def __init__(self, path: Path, slide_id: str) -> None:
        self.slide_id, self.path = slide_id, path
        raster = open_picture(path, slide_id)
        self._sized(raster.width, raster.height)
        self.tag_mpp = raster.mpp
        if raster.mpp is not None:
            self.properties = {f"openslide.mpp-{axis}": repr(um) for axis, um in zip("xy", raster.mpp, strict=True)}

    @cached_property
    def _pixels(self) -> np.ndarray:
        """Return uint8 (height, width, 3), decoded once."""
        if self.width * self.height > FLAT_PX:
            raise SlideError(
                f"slide {self.slide_id}: {self.path.name} has {self.width} x {self.height} px, more than {FLAT_PX} px "
                "without levels; convert it to a tiled pyramid (TIFF)"
            )
        return np.concatenate(list(rows_of(open_picture(self.path, self.slide_id), self.slide_id)))
