"""Labels from a mask TIFF, read at its finest level, block by block, each stored tile once.

The finest level alone tells the truth: averaged or nearest levels lose small lesions. The mask is related
to the slide by the ratio of their sizes, never by level numbers.
"""

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from acinus.errors import SlideError
from acinus.labels import blocks
from acinus.scoring.confusion import IGNORE

_UNKNOWN = 254
MAX_SEGMENT_PX = 2**27
"""Largest stored tile or strip that is decoded; a whole slide in one strip would not fit in memory."""
ASPECT_TOLERANCE = 0.01
LOSSLESS = {1, 2, 3, 4, 5, 8, 32946, 32773, 34925, 50000}
"""none, CCITT x3, LZW, deflate x2, packbits, LZMA, zstd; lossy compressions invent values between the labels."""
_REMEMBERED = 2  # masks whose directory is kept: of 80,000 tiles it takes a second to read and 6 MB to hold
_DAMAGED = (ValueError, RuntimeError, LookupError, TypeError, AttributeError, ArithmeticError, struct.error)


@dataclass(frozen=True)
class Values:
    """What a mask's pixel values mean: a class index below `classes`, or IGNORE.

    declared: where that is said, for messages ("cohort.mask_values has 0 = normal, 255 = tumor").
    """

    classes: int
    of: Mapping[int, int]
    declared: str


@dataclass(frozen=True)
class Mask:
    """A mask TIFF over a slide of width x height level-0 pixels.

    Where not `exhaustive`, class 0 means "not outlined" and is ignored. What the mask does not cover is class 0
    (ignored where not exhaustive). All methods raise SlideError, naming the file, for a mask that is
    damaged, lossy, colour-coded, of another shape than the slide, or has an undeclared value.
    """

    path: Path
    width: int
    height: int
    values: Values
    exhaustive: bool = True

    @property
    def frame(self) -> blocks.Frame:
        """The slide, the classes, and what is taken to be beyond the mask."""
        return blocks.Frame(self.values.classes, self.width, self.height, 0 if self.exhaustive else IGNORE)

    def open_check(self) -> None:
        """Refuse a mask whose header tells that it cannot be used."""
        with self.opened():
            pass

    @contextlib.contextmanager
    def opened(self) -> Iterator["_Tiles"]:
        """Give the tiles of the mask's finest page after every check that the header allows."""
        name = self.path.name
        with contextlib.ExitStack() as stack:
            with _damage(name):
                stream = stack.enter_context(self.path.open("rb"))
                facts = os.fstat(stream.fileno())
                page, end = _finest(self.path, facts.st_ino, facts.st_size, facts.st_mtime_ns)
                _check_page(page, name)
                _check_shape(page, self, name)
                if end > facts.st_size:
                    raise SlideError(
                        f"{name}: the file ends ({facts.st_size} bytes) before its tiles do; copy the mask again"
                    )
                tiles = _Tiles(stream, page, self, name)
            yield tiles

    def counts(self) -> np.ndarray:
        """Return int64 (classes + 1): the mask's pixels of each class, the last of those ignored.

        Reads every stored tile and so refuses every undeclared value; equal tiles are decoded once.
        """
        total = np.zeros(self.values.classes + 1, dtype=np.int64)
        with self.opened() as tiles:
            seen: dict[tuple[bytes, tuple[int, int]], np.ndarray] = {}
            for number in range(tiles.down * tiles.across):
                data = tiles.stored(number)
                key = (hashlib.blake2b(data, digest_size=16).digest(), tiles.shape(number))
                if key not in seen:
                    px = np.bincount(tiles.labels(number, data).ravel(), minlength=IGNORE + 1)
                    seen[key] = np.append(px[: self.values.classes], px[IGNORE])
                total += seen[key]
        return total


@lru_cache(maxsize=_REMEMBERED)
def _finest(path: Path, inode: int, size: int, mtime_ns: int) -> tuple[tifffile.TiffPage, int]:
    """Return the largest page, its file closed, and where its last tile ends.

    Remembered, since labels are asked for band by band; by what a changed file has other values of.
    """
    del inode, size, mtime_ns
    with path.open("rb") as stream, tifffile.TiffFile(stream) as tiff:
        page = max(tiff.pages, key=lambda page: page.imagewidth * page.imagelength)
        ends = np.add(page.dataoffsets, page.databytecounts, dtype=np.int64)
        return page, int(ends.max(initial=0))


@contextlib.contextmanager
def _damage(name: str) -> Iterator[None]:
    """Turn what a damaged file makes the TIFF reader or a decoder raise into one line."""
    try:
        yield
    except OSError as error:
        raise SlideError(f"{name}: cannot be read ({error.strerror or error}); check the file") from error
    except _DAMAGED as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        raise SlideError(f"{name}: not a sound mask TIFF ({text}); export the mask again") from error


def _check_page(page: tifffile.TiffPage, name: str) -> None:
    """Refuse what would not give exact values: lossy compression, inverted, deep, or separate planes."""
    if int(page.compression) not in LOSSLESS:
        raise SlideError(
            f"{name}: compression {getattr(page.compression, 'name', page.compression)} may change values;"
            " write the mask with LZW, deflate or none"
        )
    if page.dtype is None or page.dtype.kind not in "bu" or page.dtype.itemsize > 2:
        raise SlideError(f"{name}: pixels are {page.dtype}; expected whole numbers of 8 or 16 bits; convert the mask")
    if int(page.photometric) == 0:
        raise SlideError(f"{name}: photometric MINISWHITE turns values round; write the mask as MINISBLACK")
    if page.samplesperpixel > 1 and int(page.planarconfig) != 1:
        raise SlideError(f"{name}: colour planes are stored apart; write the mask with one channel")
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    if min(rows, page.imagelength) * columns > MAX_SEGMENT_PX:
        raise SlideError(f"{name}: stored in pieces of {columns} x {rows} px, too large to read; write it in tiles")


def _check_shape(page: tifffile.TiffPage, mask: Mask, name: str) -> None:
    """Refuse a mask that no single scale, within one mask pixel and 1 %, lays over the slide."""
    columns, rows = page.imagewidth, page.imagelength
    if columns < 1 or rows < 1:
        raise SlideError(f"{name}: the mask is empty ({columns} x {rows}); export it again")
    smallest = max(mask.width / (columns + 1), mask.height / (rows + 1))
    largest = min(mask.width / max(columns - 1, 1e-9), mask.height / max(rows - 1, 1e-9))
    skew = abs(columns * mask.height / (rows * mask.width) - 1.0)
    if smallest > largest or skew > ASPECT_TOLERANCE:
        raise SlideError(
            f"{name}: the mask of {columns} x {rows} does not lie over the slide of {mask.width} x {mask.height}"
            " at one scale; it belongs to another slide or was cropped or padded: export it at the slide's own size"
        )


class _Tiles:
    """The stored tiles (or strips) of one page as class labels, uint8."""

    def __init__(self, stream: BinaryIO, page: tifffile.TiffPage, mask: Mask, name: str) -> None:
        self._stream, self._page, self._mask, self._name = stream, page, mask, name
        self.columns, self.rows = page.imagewidth, page.imagelength
        self.tile_columns = page.tilewidth if page.is_tiled else self.columns
        self.tile_rows = page.tilelength if page.is_tiled else min(page.rowsperstrip, self.rows)
        self.across = -(-self.columns // self.tile_columns)
        self.down = -(-self.rows // self.tile_rows)
        if len(page.dataoffsets) != self.across * self.down:
            raise ValueError(f"{len(page.dataoffsets)} tiles stored where {self.across * self.down} are needed")
        self._last = (b"", np.empty((0, 0), dtype=np.uint8))
        self._lookup = np.full(65536, _UNKNOWN, dtype=np.uint8)
        for value, label in mask.values.of.items():
            if 0 <= value < len(self._lookup):
                self._lookup[value] = IGNORE if label == 0 and not mask.exhaustive else label

    def tile(self, row: int, column: int) -> np.ndarray:
        """See blocks.Blocks."""
        number = row * self.across + column
        return self.labels(number, self.stored(number))

    def shape(self, number: int) -> tuple[int, int]:
        """Return (rows, columns) of a tile, cut to the image."""
        row, column = divmod(number, self.across)
        rows = min(self.tile_rows, self.rows - row * self.tile_rows)
        return rows, min(self.tile_columns, self.columns - column * self.tile_columns)

    def stored(self, number: int) -> bytes:
        """Return a tile's bytes as stored; none where the file leaves the tile out."""
        count = self._page.databytecounts[number]
        if not count:
            return b""
        with _damage(self._name):
            self._stream.seek(self._page.dataoffsets[number])
            return self._stream.read(count)

    def labels(self, number: int, data: bytes) -> np.ndarray:
        """Return one tile's labels, cut to the image; a tile that is left out has value 0."""
        shape = self.shape(number)
        if data == self._last[0] and shape == self._last[1].shape:  # most of a mask is one empty tile after another
            return self._last[1]
        values = self._values(number, data, shape) if data else np.zeros(shape, dtype=np.uint8)
        labels = self._lookup[values]
        unknown = labels == _UNKNOWN
        if unknown.any():
            r, c = np.argwhere(unknown)[0]
            x, y = number % self.across * self.tile_columns + c, number // self.across * self.tile_rows + r
            raise SlideError(
                f"{self._name}: value {values[r, c]} at mask pixel ({x}, {y}) is not declared;"
                f" {self._mask.values.declared}; declare it there or correct the mask"
            )
        self._last = (data, labels)
        return labels

    def _values(self, number: int, data: bytes, shape: tuple[int, int]) -> np.ndarray:
        """Return one tile's pixel values, (rows, columns), of the channel that holds the label."""
        with _damage(self._name):
            decoded = self._page.decode(data, number)[0][0, : shape[0], : shape[1]]  # (rows, columns, samples)
            if decoded.shape[:2] != shape:
                raise ValueError(f"tile {number} has {decoded.shape[:2]} pixels, not {shape}")
        for channel in range(1, 3 if decoded.shape[2] >= 3 else 1):  # 2 and 4 channels: the last is alpha
            other = decoded[..., channel]
            if np.any((other != decoded[..., 0]) & (other != 0)):
                raise SlideError(f"{self._name}: colours differ between channels; write the label in one channel")
        return decoded[..., 0].view(np.uint8) if decoded.dtype == bool else decoded[..., 0]
