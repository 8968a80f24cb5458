"""A TIFF that OpenSlide does not open, or shows one level of: pyramids in SubIFDs, other compressions, strips, planes.

8-bit RGB only. Of an OME-TIFF the first such image; its um/px are OME-XML's. Tiles are decoded one by one, JPEGs as
OpenSlide would (jpeg_tiles), the others by tifffile, and the last ones are kept.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from acinus.slides.jpeg_tiles import JpegTiles, tiles_of
from acinus.slides.pages import JPEG, TILE_DAMAGE, Page, page_of
from acinus.slides.raster import on_white
from acinus.slides.slide import FileSlide, plausible_mpp, unread
from acinus.slides.tiff_layout import RGB, NoRgbError, downsample_of, layout_of, segment_px

CACHE_BYTES = 2**26
"""Decoded tiles that are kept."""
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


class TiffSlide(FileSlide):
    """A TIFF slide, open for reading; a context manager. decoded: how many tiles were decoded so far.

    Raises:
        SlideError: the file is missing or damaged, or has no 8-bit RGB image; says of each image why not.
    """

    def __init__(self, path: Path, slide_id: str) -> None:
        self.slide_id, self.path = slide_id, path
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
        self.level_dimensions = tuple((page.width, page.height) for page in self.directories)
        self.width, self.height = self.level_dimensions[0]
        self.level_downsamples = tuple(
            downsample_of((self.width, self.height), dimensions) for dimensions in self.level_dimensions
        )
        self.properties = {"openslide.vendor": "tiff"}  # names as OpenSlide's, so that nobody need ask who reads
        if layout.mpp is not None:
            self.properties |= {f"openslide.mpp-{axis}": repr(um) for axis, um in zip("xy", layout.mpp, strict=True)}
        self.tag_mpp = plausible_mpp(*layout.mpp) if layout.mpp is not None else None
        self._cache: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self._jpegs: dict[int, JpegTiles | None] = {}
        self.decoded = 0

    def region(self, corner0: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
        """Return `size` px of a level from level-0 px `corner0` on: see SlidePixels.

        Between the level's px, which only levels of no whole downsample have, it is interpolated linearly.
        """
        downsample = self.level_downsamples[level]
        place = [corner / downsample for corner in corner0]
        left, top = (math.floor(at) for at in place)
        shift_x, shift_y = place[0] - left, place[1] - top
        if shift_x == 0 and shift_y == 0:
            return self._pixels(level, left, top, *size)
        pixels = Image.fromarray(self._pixels(level, left, top, size[0] + 1, size[1] + 1))
        box = (shift_x, shift_y, shift_x + size[0], shift_y + size[1])
        return np.array(pixels.resize(size, Image.Resampling.BILINEAR, box=box))

    def read_level(self, x_px: int, y_px: int, width_px: int, height_px: int, level: int) -> np.ndarray:
        """Return RGBA of a piece of a level: see FileSlide. Alpha is 255 all over the level."""
        alpha = np.zeros((height_px, width_px, 1), dtype=np.uint8)
        width, height = self.level_dimensions[level]
        alpha[max(0, -y_px) : max(0, height - y_px), max(0, -x_px) : max(0, width - x_px)] = 255
        return np.concatenate([self._pixels(level, x_px, y_px, width_px, height_px), alpha], axis=2)

    def _pixels(self, number: int, left: int, top: int, wide: int, high: int) -> np.ndarray:
        """Return px of a level, white beyond it; left, top: in its own px."""
        level = self._levels[number]
        tile_wide, tile_high = level.tile_px
        right, bottom = min(left + wide, level.page.width), min(top + high, level.page.height)
        result = np.full((high, wide, 3), 255, dtype=np.uint8)
        for row in range(max(top, 0) // tile_high, -(-bottom // tile_high)):
            for column in range(max(left, 0) // tile_wide, -(-right // tile_wide)):
                tile_x, tile_y = column * tile_wide, row * tile_high
                x, y = max(left, tile_x), max(top, tile_y)
                stop_x, stop_y = min(right, tile_x + tile_wide), min(bottom, tile_y + tile_high)
                tile = self._tile(number, row * level.across + column)
                part = tile[y - tile_y : stop_y - tile_y, x - tile_x : stop_x - tile_x]
                result[y - top : stop_y - top, x - left : stop_x - left] = part
        return result

    def _tile(self, number: int, tile: int) -> np.ndarray:
        """Return a tile, decoded or kept from before."""
        key = number, tile
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        pixels = self._decode(number, tile)
        with self._lock:
            self.decoded += 1
            self._cache[key] = pixels
            room = max(1, CACHE_BYTES // max(1, pixels.nbytes))
            while len(self._cache) > room:
                self._cache.popitem(last=False)
        return pixels

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
