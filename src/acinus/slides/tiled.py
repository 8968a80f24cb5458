"""A slide that is read tile by tile: pieces of its levels are put together from tiles, of which the last are kept."""

import math
import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from acinus.slides.slide import FileSlide, plausible_mpp

CACHE_BYTES = 2**26
"""Decoded tiles that are kept."""


class TiledSlide(FileSlide):
    """A slide whose tiles are decoded one by one, row by row from the top left. decoded: how many were so far."""

    def __init__(self, path: Path, slide_id: str) -> None:
        self.slide_id, self.path = slide_id, path
        self._tile_px: tuple[tuple[int, int], ...] = ()  # of each level, (width, height)
        self._cache: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()
        self.decoded = 0

    def _describe(
        self,
        vendor: str,
        dimensions: Sequence[tuple[int, int]],
        downsamples: Sequence[float],
        tile_px: Sequence[tuple[int, int]],
        mpp: tuple[float, float] | None,
    ) -> None:
        """Note the levels, finest first, and what the file says of um per px (x, y), under OpenSlide's names."""
        self.level_dimensions, self.level_downsamples = tuple(dimensions), tuple(downsamples)
        self._tile_px = tuple(tile_px)
        self.width, self.height = self.level_dimensions[0]
        self.properties = {"openslide.vendor": vendor}  # so that nobody need ask who reads
        if mpp is not None:
            self.properties |= {f"openslide.mpp-{axis}": repr(um) for axis, um in zip("xy", mpp, strict=True)}
        self.tag_mpp = plausible_mpp(*mpp) if mpp is not None else None

    def _across(self, number: int) -> int:
        """Return the tiles in a row of a level."""
        return -(-self.level_dimensions[number][0] // self._tile_px[number][0])

    @abstractmethod
    def _decode(self, number: int, tile: int) -> np.ndarray:
        """Return uint8 (height, width, 3) of a tile of a level; the last of a row or column may be cut at its end."""

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
        (width, height), (tile_wide, tile_high) = self.level_dimensions[number], self._tile_px[number]
        right, bottom = min(left + wide, width), min(top + high, height)
        result = np.full((high, wide, 3), 255, dtype=np.uint8)
        for row in range(max(top, 0) // tile_high, -(-bottom // tile_high)):
            for column in range(max(left, 0) // tile_wide, -(-right // tile_wide)):
                tile_x, tile_y = column * tile_wide, row * tile_high
                x, y = max(left, tile_x), max(top, tile_y)
                stop_x, stop_y = min(right, tile_x + tile_wide), min(bottom, tile_y + tile_high)
                tile = self._tile(number, row * self._across(number) + column)
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
