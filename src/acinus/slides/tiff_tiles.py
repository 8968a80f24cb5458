"""Tiles of a TIFF raster: whether each is there and decodes, since libvips paints those that do not black."""

from pathlib import Path

import numpy as np
import tifffile

from acinus.errors import SlideError
from acinus.slides.pages import DAMAGED

COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
"""Those of tiles that libvips decodes, as its wheels are built: none, CCITT, LZW, JPEG, deflate, packbits."""
_DAMAGED = (*DAMAGED, RuntimeError, ArithmeticError)
"""Also of what pixels are decoded by: imagecodecs' errors are RuntimeErrors, tiles of no width divide by zero."""
MAX_TILE_PX = 2**25
"""Largest tile that is decoded: a directory may claim any size."""


def check_tiles(path: Path) -> None:
    """Decode every tile of a TIFF's first directory once, one at a time; a striped one passes unread.

    Raises:
        SlideError: a compression that libvips does not decode; a tile that is missing, breaks off or does not decode.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            if not page.is_tiled:
                return
            if page.compression not in COMPRESSIONS:
                name = getattr(page.compression, "name", page.compression)
                raise SlideError(
                    f"{path.name}: tiles of compression {name} cannot be read; save it with LZW or deflate"
                )
            if page.tilewidth * page.tilelength > MAX_TILE_PX:
                raise SlideError(
                    f"{path.name}: tiles of {page.tilewidth} x {page.tilelength} px, more than {MAX_TILE_PX} px; "
                    "save it with smaller ones"
                )
            ends = np.array(page.dataoffsets, dtype=np.int64) + np.array(page.databytecounts, dtype=np.int64)
            broken = (ends > path.stat().st_size) | (np.array(page.databytecounts) == 0)
            if broken.any():
                raise SlideError(_line(path, int(broken.argmax()), len(ends), "missing or breaks off"))
            tiles = page.segments(maxworkers=1)
            for number in range(len(ends)):
                try:
                    next(tiles, None)  # None: more places than tiles, which nobody reads
                except _DAMAGED as error:
                    text = " ".join(str(error).split())[:100]
                    raise SlideError(_line(path, number, len(ends), f"damaged ({text})")) from error
    except _DAMAGED as error:
        raise SlideError(
            f"{path.name}: does not decode ({' '.join(str(error).split())[:200]}); replace the file"
        ) from error


def _line(path: Path, number: int, of: int, what: str) -> str:
    return f"{path.name}: tile {number} of {of} is {what}; replace the file"
