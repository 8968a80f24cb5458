"""The tiles of one level as stand-alone JPEGs, where they decode to OpenSlide's pixels.

OpenSlide 4.0.1 takes the bytes of such a tile, sets the colour space that the TIFF's photometric
names whatever the JPEG's own markers say, and decodes with libjpeg-turbo's defaults. So do we, once
per tile instead of once per patch.
"""

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import simplejpeg

from acinus.errors import SlideError
from acinus.slides import pixels
from acinus.slides.jpeg_pixels import pixels_of
from acinus.slides.pages import JPEG, Page, flaw, pages_of
from acinus.slides.pixels import SlidePixels
from acinus.slides.slide import FileSlide

_RGB, _YCBCR = 2, 6  # TIFF photometric
_ADOBE_TRANSFORM = {_RGB: 0, _YCBCR: 1}  # the last byte of an Adobe marker: what the three components are
_HOLES_ARE_WHITE = {"generic-tiff": True, "philips": True, "tiff": True, "aperio": False}
"""Formats whose levels are the plain grid of their tiles (`tiff`: a TiffSlide); Aperio's holes show another level."""

_APP0, _APP14, _SOS, _DQT, _DHT = 0xE0, 0xEE, 0xDA, 0xDB, 0xC4
_REMEMBERED = 64  # headers of tiles: those of a level are mostly one
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, Huffman coded


class _Segment(NamedTuple):
    """One marker segment of a JPEG header: [start, stop) with its two marker bytes."""

    marker: int
    start: int
    stop: int


class _Lead(NamedTuple):
    """What a tile begins with as a JPEG of its own, instead of its first `skip` bytes; its MCU, px."""

    head: bytes
    skip: int
    mcu_px: tuple[int, int]


@dataclass(frozen=True, eq=False)
class JpegTiles:
    """The JPEG tiles of one level, numbered row by row; several threads may read while the slide is open.

    width, height: of the level, px. tile_px: (width, height) of a tile; the last ones hang over the level.
    across, down: tiles, with those that only pad a Philips level. mcu_px: (width, height) of the grid on which
    the first tile can be cut without decoding, and mostly all others.
    """

    width: int
    height: int
    tile_px: tuple[int, int]
    across: int
    down: int
    mcu_px: tuple[int, int]
    slide: FileSlide
    level: int
    page: Page

    def data(self, number: int) -> bytes:
        """Return one tile as a JPEG of its own, told its colour space where it does not tell; b"" for a hole.

        Raises:
            SlideError: bytes that are no whole JPEG of a tile; names slide, level and tile.
        """
        data, lead = self._checked(number)
        return lead.head + data[lead.skip :]

    def place(self, number: int) -> tuple[bytes, int, int]:
        """Return where the bytes of `data` lie: (head, offset, count), the last two in the slide's file.

        That is the head, then `count` bytes, without the zeros behind its end marker; (b"", 0, 0) for a hole.
        The tile is read and checked; where many have one header, their heads are one object.

        Raises:
            SlideError: as `data`.
        """
        data, lead = self._checked(number)
        if not data:
            return b"", 0, 0
        count = len(data.rstrip(b"\0")) - lead.skip
        if count <= 0:
            raise self._bad(number, "its header does not end")
        return lead.head, int(self.page.offsets[number]) + lead.skip, count

    def _checked(self, number: int) -> tuple[bytes, _Lead]:
        """Return a tile as it lies in the file, and what it begins with instead; b"" for a hole."""
        count = int(self.page.counts[number])
        if count == 0:
            return b"", _Lead(b"", 0, self.mcu_px)
        data = self.slide.bytes_at(int(self.page.offsets[number]), count)
        if what := flaw(data, JPEG) or ("the file ends within it" if len(data) < count else ""):
            raise self._bad(number, what)
        try:
            return data, _lead(data, self.page.jpeg_tables, self.page.photometric, self.tile_px)
        except ValueError as error:
            raise self._bad(number, str(error)) from error

    def decode(self, number: int) -> np.ndarray:
        """Return uint8 (tile height, tile width, 3), white for a hole.

        Raises:
            SlideError: bytes that are no whole JPEG of a tile or cannot be decoded; names slide, level and tile.
        """
        data = self.data(number)
        wide, high = self.tile_px
        if not data:
            return np.full((high, wide, 3), 255, dtype=np.uint8)
        try:
            return pixels_of(data)
        except ValueError as error:
            raise self._bad(number, f"cannot be decoded ({' '.join(str(error).split())})") from error

    def _bad(self, number: int, what: str) -> SlideError:
        return self.slide.fault(f"level {self.level}, tile {number}: {what}")


def tiles_of(slide: SlidePixels, level: int) -> JpegTiles | None:
    """Return the tiles of a level, or None where it is no grid of JPEG tiles that decode to OpenSlide's pixels.

    Raises:
        SlideError: a damaged directory.
    """
    if not isinstance(slide, FileSlide) or slide.properties.get("openslide.vendor") not in _HOLES_ARE_WHITE:
        return None
    pages = pages_of(slide, level)
    if len(pages) != 1:  # none, or it cannot be told which of them OpenSlide takes
        return None
    page, tile = pages[0], pages[0].tile
    width, height = slide.level_dimensions[level]
    if page.width < width or page.height < height:
        return None
    if tile is None or page.compression != JPEG or page.photometric not in _ADOBE_TRANSFORM or not page.plain_rgb:
        return None
    if math.prod(tile) > pixels.MAX_SOURCE_PX:  # a few kB may say so
        return None
    across, down = page.grid
    present = np.flatnonzero(page.counts)
    if page.counts.size != across * down or not present.size:
        return None
    if present.size < page.counts.size and not _HOLES_ARE_WHITE[slide.properties["openslide.vendor"]]:
        return None
    first = slide.bytes_at(int(page.offsets[present[0]]), int(page.counts[present[0]]))
    try:
        lead = _lead(first, page.jpeg_tables, page.photometric, tile)
        simplejpeg.decode_jpeg_header(lead.head + first[lead.skip :])
    except (ValueError, KeyError):  # KeyError: a subsampling that it has no name for; OpenSlide reads them all
        return None
    return JpegTiles(width, height, tile, across, down, lead.mcu_px, slide, level, page)


def _lead(data: bytes, tables: bytes, photometric: int, tile_px: tuple[int, int]) -> _Lead:
    """Return what a tile begins with, from its header alone, which is mostly that of the tile before.

    Raises:
        ValueError: no 8-bit JPEG of three components and that size.
    """
    segments = _segments(data)
    return _lead_of(data[: segments[-1].stop] if segments else b"", tables, photometric, tile_px)


@lru_cache(maxsize=_REMEMBERED)
def _lead_of(header: bytes, tables: bytes, photometric: int, tile_px: tuple[int, int]) -> _Lead:
    """Make it. Of the tables only quantisation and Huffman tables count: the rest does not outlive a tile's start."""
    segments = _segments(header)
    frame = next((segment for segment in segments if segment.marker in _FRAMES), None)
    if frame is None or len(header) < frame.start + 19:
        raise ValueError("no baseline or progressive JPEG")
    precision, high, wide, count = struct.unpack_from(">BHHB", header, frame.start + 4)
    if (precision, wide, high, count) != (8, *tile_px, 3):
        raise ValueError(
            f"a JPEG of {wide} x {high} px, {count} components, {precision} bits; "
            f"expected {tile_px[0]} x {tile_px[1]}, 3, 8"
        )
    components = header[frame.start + 10 : frame.start + 19]
    across = max(value >> 4 for value in components[1::3])
    down = max(value & 15 for value in components[1::3])
    shared = [tables[part.start : part.stop] for part in _segments(tables) if part.marker in (_DQT, _DHT)]
    if _taken_for(header, segments, components[::3]) == photometric:
        return _Lead(b"".join([header[:2], *shared]) if shared else b"", 2 if shared else 0, (8 * across, 8 * down))
    told = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([_ADOBE_TRANSFORM[photometric]])
    others = [header[part.start : part.stop] for part in segments if part.marker not in (_APP0, _APP14)]
    return _Lead(b"".join([header[:2], told, *shared, *others]), segments[-1].stop, (8 * across, 8 * down))


def _taken_for(data: bytes, segments: list[_Segment], ids: bytes) -> int:
    """Return the photometric that libjpeg takes three components for. Source: its default_decompress_parms."""
    bodies = [(part.marker, data[part.start + 4 : part.stop]) for part in segments]
    if any(marker == _APP0 and body.startswith(b"JFIF\0") for marker, body in bodies):
        return _YCBCR
    adobe = [body for marker, body in bodies if marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12]
    if adobe:
        return _RGB if adobe[-1][11] == 0 else _YCBCR
    return _RGB if ids == b"RGB" else _YCBCR


def _segments(data: bytes) -> list[_Segment]:
    """Return the segments of a JPEG's header up to and with its first start of scan."""
    segments: list[_Segment] = []
    start = 2  # behind the start marker
    while start + 4 <= len(data) and data[start] == 0xFF and data[start + 1] != 0xD9:
        if data[start + 1] == 0xFF:  # filling
            start += 1
            continue
        segments.append(_Segment(data[start + 1], start, start + 2 + int.from_bytes(data[start + 2 : start + 4])))
        if segments[-1].marker == _SOS:
            break
        start = segments[-1].stop
    return segments
