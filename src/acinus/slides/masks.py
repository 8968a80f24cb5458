"""Labels from a mask TIFF, read at its finest level, block by block, each stored tile once.

The finest level alone tells the truth: averaged or nearest levels lose small lesions. The mask is related
to the slide by the ratio of their sizes, never by level numbers.
"""

import contextlib
import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from acinus.errors import SlideError
from acinus.slides.geometry import pixel_centres
from acinus.slides.polygons import snapped

NORMAL, TUMOUR, IGNORE = 0, 1, 255
"""Values of a label raster."""
_UNKNOWN = 254
_CLASSES = {"normal": NORMAL, "tumor": TUMOUR, "ignore": IGNORE}

BLOCK_PX = 1024
"""Edge of the blocks read at a time, in mask pixels (more where one stored tile is larger)."""
MAX_SEGMENT_PX = 2**27
"""Largest stored tile or strip that is decoded; a whole slide in one strip would not fit in memory."""
ASPECT_TOLERANCE = 0.01
# none, CCITT x3, LZW, deflate x2, packbits, LZMA, zstd; lossy ones invent values between the labels
_LOSSLESS = {1, 2, 3, 4, 5, 8, 32946, 32773, 34925, 50000}
_DAMAGED = (ValueError, RuntimeError, LookupError, TypeError, AttributeError, ArithmeticError, struct.error)


@dataclass(frozen=True)
class Mask:
    """A mask TIFF over a slide of width x height level-0 pixels; `values` says what each pixel value means.

    Where not `exhaustive`, normal means "not outlined" and is ignored. What the mask does not cover is normal
    (ignored where not exhaustive). All methods raise SlideError, naming the file, for a mask that is
    damaged, lossy, colour-coded, of another shape than the slide, or has an undeclared value.
    """

    path: Path
    width: int
    height: int
    values: Mapping[int, str]
    exhaustive: bool = True

    def open_check(self) -> None:
        """Refuse a mask whose header tells that it cannot be used."""
        with _opened(self):
            pass

    def check_values(self) -> None:
        """Read every stored tile and refuse undeclared values; equal tiles are decoded once."""
        with _opened(self) as tiles:
            seen: set[tuple[bytes, int, int]] = set()
            for number in range(tiles.down * tiles.across):
                row, column = divmod(number, tiles.across)
                data = tiles.stored(number)
                rows = min(tiles.tile_rows, tiles.rows - row * tiles.tile_rows)
                columns = min(tiles.tile_columns, tiles.columns - column * tiles.tile_columns)
                key = (hashlib.blake2b(data, digest_size=16).digest(), rows, columns)
                if key not in seen:
                    seen.add(key)
                    tiles.labels(number, data)

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (tumour, ignored) area shares of each square patch, float64 (n,); the whole square is 1.

        Every mask pixel is a rectangle of its class, so the shares are exact, also where a patch
        cuts through pixels.
        """
        with _opened(self) as tiles:
            per_x, per_y = tiles.columns / self.width, tiles.rows / self.height  # mask px per level-0 px
            x, y = np.asarray(x0, dtype=np.float64), np.asarray(y0, dtype=np.float64)
            squares = np.stack([x * per_x, y * per_y, (x + edge0) * per_x, (y + edge0) * per_y])
            sums = _sums(tiles, squares) / (edge0 * per_x * edge0 * per_y)
        if not self.exhaustive:  # beyond the mask nothing is known either
            sums[1] = 1.0 - sums[0]
        tumour, ignored = snapped(sums)
        return tumour, ignored

    def raster(self, columns: int, rows: int, downsample: float) -> np.ndarray:
        """Return uint8 (rows, columns): 0 normal, 1 tumour, 255 ignore: the mask pixel under each pixel's centre."""
        labels = np.full((rows, columns), NORMAL if self.exhaustive else IGNORE, dtype=np.uint8)
        with _opened(self) as tiles:
            x = _under(pixel_centres(columns, downsample, self.width), tiles.columns / self.width)
            y = _under(pixel_centres(rows, downsample, self.height), tiles.rows / self.height)
            for top, bottom in tiles.bands:
                r = slice(*np.searchsorted(y, (top, bottom)))
                for left, right in tiles.stretches if r.stop > r.start else ():
                    c = slice(*np.searchsorted(x, (left, right)))
                    if c.stop > c.start:
                        block = tiles.read(left, top, right, bottom)
                        labels[r, c] = block[np.ix_(y[r] - top, x[c] - left)]
        return labels


def _under(centres: np.ndarray, ratio: float) -> np.ndarray:
    """Return the mask column (or row) under each centre in level-0 px; ratio: mask px per level-0 px."""
    return np.floor(centres * ratio).astype(np.int64)


def _sums(tiles: "_Tiles", squares: np.ndarray) -> np.ndarray:
    """Return tumour and ignored area in mask pixels, (2, n), of squares (4, n): left, top, right, bottom."""
    sums = np.zeros((2, squares.shape[1]))
    for top, bottom in tiles.bands:
        band = np.flatnonzero((squares[3] > top) & (squares[1] < bottom))
        for left, right in tiles.stretches if len(band) else ():
            which = band[(squares[2, band] > left) & (squares[0, band] < right)]
            if not len(which):
                continue
            block = tiles.read(left, top, right, bottom)
            sums[:, which] += _areas(block, squares[:, which] - np.array([[left], [top], [left], [top]]))
    return sums


def _areas(block: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return tumour and ignored area (2, n) of a block inside rectangles (4, n); in parts, as strips can be wide."""
    areas = np.zeros((2, corners.shape[1]))
    for top, bottom in _cuts(block.shape[0], 1):
        for left, right in _cuts(block.shape[1], 1):
            part = block[top:bottom, left:right]
            for kind, value in enumerate((TUMOUR, IGNORE)):
                hits = part == value
                if hits.any():
                    areas[kind] += _inside(hits, corners - np.array([[left], [top], [left], [top]]))
    return areas


def _inside(hits: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the area of true pixels inside rectangles (4, n) that may stick out of the block."""
    table = np.zeros((hits.shape[0] + 1, hits.shape[1] + 1), dtype=np.int64)
    np.cumsum(hits, axis=1, dtype=np.int64, out=table[1:, 1:])
    np.cumsum(table, axis=0, out=table)
    x, y = np.clip(corners[0::2], 0, hits.shape[1]), np.clip(corners[1::2], 0, hits.shape[0])
    return (
        _before(table, x[1], y[1])
        - _before(table, x[0], y[1])
        - _before(table, x[1], y[0])
        + _before(table, x[0], y[0])
    )


def _before(table: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the area left of x and above y; between pixels a summed-area table is bilinear, exactly."""
    c, r = np.minimum(x.astype(np.int64), table.shape[1] - 2), np.minimum(y.astype(np.int64), table.shape[0] - 2)
    fx, fy = x - c, y - r
    above = table[r, c] * (1 - fx) + table[r, c + 1] * fx
    below = table[r + 1, c] * (1 - fx) + table[r + 1, c + 1] * fx
    return above * (1 - fy) + below * fy


@contextlib.contextmanager
def _opened(mask: Mask) -> Iterator["_Tiles"]:
    """Give the tiles of the mask's finest page after every check that the header allows."""
    name = mask.path.name
    with contextlib.ExitStack() as stack:
        with _damage(name):
            stream = stack.enter_context(mask.path.open("rb"))
            tiff = stack.enter_context(tifffile.TiffFile(stream))
            page = max(tiff.pages, key=lambda one: one.imagewidth * one.imagelength)
            _check_page(page, name)
            _check_shape(page, mask, name)
            size = mask.path.stat().st_size
            ends = np.add(page.dataoffsets, page.databytecounts, dtype=np.int64)
            if len(ends) and ends.max() > size:
                raise SlideError(f"{name}: the file ends ({size} bytes) before its tiles do; copy the mask again")
            tiles = _Tiles(tiff, page, mask, name)
        yield tiles


@contextlib.contextmanager
def _damage(name: str) -> Iterator[None]:
    """Turn what a damaged file makes the TIFF reader or a decoder raise into one line."""
    try:
        yield
    except OSError as error:
        raise SlideError(f"{name}: cannot be read ({error.strerror or error}); check the file") from error
    except _DAMAGED as error:
        raise SlideError(f"{name}: not a sound mask TIFF ({_line(error)}); export the mask again") from error


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def _check_page(page: tifffile.TiffPage, name: str) -> None:
    """Refuse what would not give exact values: lossy compression, inverted, deep, or separate planes."""
    if int(page.compression) not in _LOSSLESS:
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

    def __init__(self, tiff: tifffile.TiffFile, page: tifffile.TiffPage, mask: Mask, name: str) -> None:
        self._tiff, self._page, self._mask, self._name = tiff, page, mask, name
        self.columns, self.rows = page.imagewidth, page.imagelength
        self.tile_columns = page.tilewidth if page.is_tiled else self.columns
        self.tile_rows = page.tilelength if page.is_tiled else min(page.rowsperstrip, self.rows)
        self.across = -(-self.columns // self.tile_columns)
        self.down = -(-self.rows // self.tile_rows)
        if len(page.dataoffsets) != self.across * self.down:
            raise ValueError(f"{len(page.dataoffsets)} tiles stored where {self.across * self.down} are needed")
        # (top, bottom) and (left, right) of the blocks to read, on tile borders
        self.bands, self.stretches = _cuts(self.rows, self.tile_rows), _cuts(self.columns, self.tile_columns)
        self._last = (b"", np.empty((0, 0), dtype=np.uint8))
        self._lookup = np.full(65536, _UNKNOWN, dtype=np.uint8)
        for value, meaning in mask.values.items():
            if 0 <= value < len(self._lookup):
                label = _CLASSES[meaning]
                self._lookup[value] = IGNORE if label == NORMAL and not mask.exhaustive else label

    def read(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """Return the labels of one block, uint8 (bottom - top, right - left); its corner is on a tile border."""
        block = np.empty((bottom - top, right - left), dtype=np.uint8)
        for y in range(top, bottom, self.tile_rows):
            for x in range(left, right, self.tile_columns):
                number = y // self.tile_rows * self.across + x // self.tile_columns
                tile = self.labels(number, self.stored(number))
                block[y - top : y - top + tile.shape[0], x - left : x - left + tile.shape[1]] = tile
        return block

    def stored(self, number: int) -> bytes:
        """Return a tile's bytes as stored; none where the file leaves the tile out."""
        count = self._page.databytecounts[number]
        if not count:
            return b""
        with _damage(self._name):
            self._tiff.filehandle.seek(self._page.dataoffsets[number])
            return bytes(self._tiff.filehandle.read(count))

    def labels(self, number: int, data: bytes) -> np.ndarray:
        """Return one tile's labels, cut to the image; a tile that is left out has value 0."""
        y, x = number // self.across * self.tile_rows, number % self.across * self.tile_columns
        shape = (min(self.tile_rows, self.rows - y), min(self.tile_columns, self.columns - x))
        if data == self._last[0] and shape == self._last[1].shape:  # most of a mask is one empty tile after another
            return self._last[1]
        values = self._values(number, data, shape) if data else np.zeros(shape, dtype=np.uint8)
        labels = self._lookup[values]
        unknown = labels == _UNKNOWN
        if unknown.any():
            r, c = np.argwhere(unknown)[0]
            known = ", ".join(f"{value} = {meaning}" for value, meaning in sorted(self._mask.values.items()))
            raise SlideError(
                f"{self._name}: value {values[r, c]} at mask pixel ({x + c}, {y + r}) is not declared;"
                f" cohort.mask_values has {known}; declare it there or correct the mask"
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


def _cuts(length: int, tile: int) -> list[tuple[int, int]]:
    step = tile * max(1, BLOCK_PX // tile)
    return [(start, min(start + step, length)) for start in range(0, length, step)]
