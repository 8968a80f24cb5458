"""A predicted mask as PNG: in the recipe's colours, of exactly the slide's size; or its class indices as they are.

Written as it is encoded, row by row (PNG, W3C 2003, sections 5 to 11: IHDR, PLTE, IDAT, IEND; filter 0,
which suits indices), so that memory does not grow with the mask.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from acinus.files import atomic_path
from acinus.maps.geometry import MapGeometry

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH, _GREY, _PALETTE, _DEFLATE, _ADAPTIVE, _NOT_INTERLACED = 8, 0, 3, 0, 0, 0
_ROWS = 64  # rows encoded at a time


def write_colour_mask(
    path: Path,
    bands: Iterable[np.ndarray],
    size: tuple[int, int],
    colours: Sequence[Sequence[int]],
    downsample: float = 1.0,
) -> None:
    """Write `bands`, uint8 class indices (rows, columns) from top to bottom, as a PNG of `size` (width, height) px.

    downsample: px of the PNG per px of the bands; px (X, Y) shows the one under its centre, column
    floor((X + 0.5) / downsample), and where the bands end earlier their last. Same bands, same bytes.

    Raises:
        AcinusError: the file cannot be written.
        ValueError: bands of another shape than `size` and `downsample` tell, or an index without a colour.
    """
    _write(path, _enlarged(bands, size, downsample), size, np.array(colours, dtype=np.uint8))


def write_class_mask(path: Path, bands: Iterable[np.ndarray], size: tuple[int, int]) -> None:
    """Write `bands`, uint8 class indices (rows, columns) from top to bottom, as a grey PNG of `size` (columns, rows).

    A px of the PNG is one of the bands; its grey is its class. Same bands, same bytes.

    Raises:
        AcinusError: the file cannot be written.
        ValueError: bands of another shape than `size` tells.
    """
    _write(path, _enlarged(bands, size, 1.0), size, None)


def _write(path: Path, bands: Iterable[np.ndarray], size: tuple[int, int], palette: np.ndarray | None) -> None:
    """Write the PNG's rows (n, width). palette: uint8 (classes, 3), None for greys."""
    width, height = size
    with atomic_path(path) as part, part.open("wb") as stream:
        stream.write(_SIGNATURE)
        kind = _GREY if palette is None else _PALETTE
        header = (width, height, _DEPTH, kind, _DEFLATE, _ADAPTIVE, _NOT_INTERLACED)
        _chunk(stream, b"IHDR", struct.pack(">IIBBBBB", *header))
        _chunk(stream, b"PLTE", b"" if palette is None else palette.tobytes())
        encoder = zlib.compressobj()
        for rows in bands:
            if palette is not None and rows.max() >= len(palette):
                raise ValueError(f"class {rows.max()} in a mask of {len(palette)} colours")
            filtered = np.zeros((len(rows), width + 1), dtype=np.uint8)  # each row begins with its filter
            filtered[:, 1:] = rows
            _chunk(stream, b"IDAT", encoder.compress(filtered.tobytes()))
        _chunk(stream, b"IDAT", encoder.flush())
        _chunk(stream, b"IEND", b"")


def _chunk(stream: BinaryIO, kind: bytes, data: bytes) -> None:
    if data or kind == b"IEND":
        stream.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def _enlarged(bands: Iterable[np.ndarray], size: tuple[int, int], downsample: float) -> Iterator[np.ndarray]:
    """Yield the PNG's rows (n, width), at most _ROWS at a time."""
    grid = MapGeometry(*size, downsample)
    column, row = _under(grid.width, grid.columns, downsample), _under(grid.height, grid.rows, downsample)
    top = 0
    for band in bands:
        if band.dtype != np.uint8 or band.ndim != 2 or band.shape[1] != grid.columns or top + len(band) > grid.rows:
            raise ValueError(
                f"band {band.shape} {band.dtype} at row {top}; expected uint8, {grid.columns} columns, {grid.rows} rows"
            )
        first, last = np.searchsorted(row, (top, top + len(band)))
        for start in range(first, last, _ROWS):
            yield band[row[start : min(start + _ROWS, last)] - top][:, column]
        top += len(band)
    if top != grid.rows:
        raise ValueError(f"bands end at row {top}; expected {grid.rows} rows")


def _under(length: int, pieces: int, downsample: float) -> np.ndarray:
    """Return the band px under the centre of each of `length` px."""
    return np.minimum(((np.arange(length) + 0.5) / downsample).astype(np.int64), pieces - 1)
