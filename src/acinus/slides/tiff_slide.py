"""A TIFF that OpenSlide does not open, or shows one level of: pyramids in SubIFDs, other compressions, strips, planes.

8-bit RGB only. Of an OME-TIFF the first such image; its um/px are OME-XML's. Tiles are decoded one by one, JPEGs as
OpenSlide would (jpeg_tiles), the others by tifffile, and the last ones are kept.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from acinus.slides.jpeg_tiles import JpegTiles, tiles_of
from acinus.slides.pages import JPEG, TILE_DAMAGE, Page, page_of
from acinus.slides.raster import on_white
from acinus.slides.slide import unread
from acinus.slides.tiff_layout import RGB, NoRgbError, downsample_of, layout_of, segment_px
from acinus.slides.tiled import TiledSlide

_PIECE_BYTES = 2**18


@dataclass(frozen=True, eq=False)
class _Level:
    """One level: its directory, tifffile's decoder of its tiles (or strips), their (width, height).

    samples: per px. alpha: the last of them is to be laid on white. planes: how many of them lie in tiles of their
    own. plain: the pieces are px as they are.
    """

    page: Page
    decode: Callable[..., Any]
    tile_px: tuple[int, int]
    samples: int
    alpha: bool
    planes: int
    plain: bool

    @cached_property
    def across(self) -> int:
        return -(-self.page.width // self.tile_px[0])

    @cached_property
    def down(self) -> int:
        return -(-self.page.height // self.tile_px[1])

    @classmethod
    def of(cls, source: tifffile.TiffPage) -> "_Level":
        page, tile_px, samples = page_of(source), segment_px(source), int(source.samplesperpixel)
        planes = samples if source.planarconfig == 2 else 1
        plain = page.tile is None and page.compression == 1 and planes == 1 and source.predictor == 1
        if plain and page.counts.size == 1:  # one strip for all, as ImageJ writes it: read in pieces
            page, tile_px = _in_pieces(page, samples)
        alpha = tuple(source.extrasamples or ()) == (2,)
        level = cls(page, source.decode, tile_px, samples, alpha, planes, plain)
        if min(page.width, page.height, *tile_px) < 1 or page.counts.size < level.across * level.down * planes:
            raise ValueError(
                f"{page.width} x {page.height} px in {page.counts.size} tiles of {tile_px[0]} x {tile_px[1]} px"
            )
        return level


def _in_pieces(page: Page, samples: int) -> tuple[Page, tuple[int, int]]:
    """Return a page of one uncompressed strip as one of many, and their (width, height)."""
    row = page.width * samples
    rows = max(1, _PIECE_BYTES // row)
    tops = np.arange(0, page.height, rows)
    counts = (np.minimum(tops + rows, page.height) - tops) * row
    if int(page.counts[0]) < counts.sum():
        raise ValueError(f"a strip of {page.counts[0]} bytes; expected {counts.sum()}")
    return replace(page, offsets=page.offsets[0] + tops * row, counts=counts), (page.width, rows)


class TiffSlide(TiledSlide):
    """A TIFF slide, open for reading; a context manager.

    Raises:
        SlideError: the file is missing or damaged, or has no 8-bit RGB image; says of each image why not.
    """

    def __init__(self, path: Path, slide_id: str) -> None:
        super().__init__(path, slide_id)
        self._check_file()
        try:
            with tifffile.TiffFile(path) as tiff:
                layout = layout_of(tiff)
                self._levels = [_Level.of(page) for page in layout.pages]
        except NoRgbError as error:
            raise unread(self, self._plain(error)[:500]) from error
        except TILE_DAMAGE as error:
            why = f": {self._plain(error)[:200]}" if not isinstance(error, LookupError) else ""
            raise self.fault(f"{path.name} does not open (its directory is damaged{why})") from error
        self.directories = tuple(level.page for level in self._levels)
        dimensions = [(page.width, page.height) for page in self.directories]
        downsamples = [downsample_of(dimensions[0], reduced) for reduced in dimensions]
        self._describe("tiff", dimensions, downsamples, [level.tile_px for level in self._levels], layout.mpp)
        self._jpegs: dict[int, JpegTiles | None] = {}

    def _decode(self, number: int, tile: int) -> np.ndarray:
        """Return uint8 (height, width, 3) of a tile or strip, white for a hole."""
        level = self._levels[number]
        if level.page.compression == JPEG and level.planes == 1:
            if number not in self._jpegs:
                self._jpegs[number] = tiles_of(self, number)
            jpegs = self._jpegs[number]
            if jpegs is not None:
                return jpegs.decode(tile)
        step = level.across * level.down
        planes = [self._decode_segment(number, tile + plane * step) for plane in range(level.planes)]
        pixels = planes[0] if level.planes == 1 else np.concatenate(planes, axis=2)
        if pixels.shape[2] == 3:
            return pixels
        if level.page.photometric != RGB or pixels.shape[2] != 4:
            raise self.fault(f"level {number}, tile {tile}: {pixels.shape[2]} samples come out; expected 3")
        return on_white(pixels) if level.alpha else np.ascontiguousarray(pixels[..., :3])

    def _decode_segment(self, number: int, index: int) -> np.ndarray:
        """Return uint8 (height, width, samples) of one stored piece of a level."""
        level = self._levels[number]
        count = int(level.page.counts[index])
        wide, high = level.tile_px
        row = index % (level.across * level.down) // level.across
        high_here = high if level.page.tile is not None else min(high, level.page.height - row * high)
        samples = 1 if level.planes > 1 else level.samples
        if count == 0:
            return np.full((high_here, wide, samples), 255, dtype=np.uint8)
        data = self.bytes_at(int(level.page.offsets[index]), count)
        if len(data) < count:
            raise self.fault(f"level {number}, tile {index}: the file ends within it")
        expected = (high_here, wide, samples)
        try:
            if level.plain:
                return np.frombuffer(data, np.uint8, math.prod(expected)).reshape(expected)
            decoded = level.decode(data, index, jpegtables=level.page.jpeg_tables or None)[0]
        except TILE_DAMAGE as error:
            raise self.fault(f"level {number}, tile {index}: cannot be decoded ({self._plain(error)[:100]})") from error
        shape: tuple[int, ...] = decoded.shape[1:] if decoded is not None and decoded.dtype == np.uint8 else (0,)
        if shape[1:] != expected[1:] or not shape[0] >= high_here:
            raise self.fault(f"level {number}, tile {index}: {shape} comes out; expected {expected}")
        return np.asarray(decoded[0])
