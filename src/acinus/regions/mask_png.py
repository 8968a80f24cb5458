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


def write_mask(
    path: Path,
    bands: Iterable[np.ndarray],
    size: tuple[int, int],
    colours: Sequence[Sequence[int]] | None = None,
    downsample: float = 1.0,
) -> None:
    """Write `bands`, uint8 class indices (rows, columns) from top to bottom, as a PNG of `size` (width, height) px.

    colours: of the classes, in order; without any the grey of a px is its class. downsample: px of the PNG per px of
    the bands; px (X, Y) shows the one under its centre, column floor((X + 0.5) / downsample), and where the bands end
    earlier their last. Same bands, same bytes.

    Raises:
        AcinusError: the file cannot be written.
        ValueError: bands of another shape than `size` and `downsample` tell, or an index without a colour.
    """
    width, height = size
    with atomic_path(path) as part, part.open("wb") as stream:
        stream.write(_SIGNATURE)
        kind = _GREY if colours is None else _PALETTE
        header = (width, height, _DEPTH, kind, _DEFLATE, _ADAPTIVE, _NOT_INTERLACED)
        _chunk(stream, b"IHDR", struct.pack(">IIBBBBB", *header))
        if colours is not None:
            _chunk(stream, b"PLTE", np.array(colours, dtype=np.uint8).tobytes())
        encoder = zlib.compressobj()
        for rows in _enlarged(bands, MapGeometry(width, height, downsample)):
            if colours is not None and rows.max() >= len(colours):
                raise ValueError(f"class {rows.max()} in a mask of {len(colours)} colours")
            filtered = np.zeros((len(rows), width + 1), dtype=np.uint8)  # each row begins with its filter
            filtered[:, 1:] = rows
            _chunk(stream, b"IDAT", encoder.compress(filtered.tobytes()))
        _chunk(stream, b"IDAT", encoder.flush())
        _chunk(stream, b"IEND", b"")


def _chunk(stream: BinaryIO, kind: bytes, data: bytes) -> None:
    if data or kind == b"IEND":
        stream.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def _enlarged(bands: Iterable[np.ndarray], grid: MapGeometry) -> Iterator[np.ndarray]:
    """Yield the PNG's rows (n, width), at most _ROWS at a time; grid: how the bands lie on it."""
    row, column = grid.under(grid.width, grid.height, 1.0)
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
