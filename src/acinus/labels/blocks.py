"""A raster of class indices that comes in tiles, laid over a slide: exact area shares, rasters and windows of it.

The raster is related to the slide by the ratio of their sizes. Every pixel is a rectangle of its class.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from acinus.labels.outlines import snapped, windows_of
from acinus.scoring.confusion import IGNORE
from acinus.slides.geometry import pixel_centres

BLOCK_PX = 1024
"""Edge of the blocks worked on at a time, in raster pixels (more where one tile is larger)."""
CACHE_PX = 2**26
"""Tile pixels that `windows` holds at most, whatever the raster's size; tiles of one value cost nothing."""


class Blocks(Protocol):
    """A raster of class indices (IGNORE where not known) in tiles; sizes in its own pixels."""

    columns: int
    rows: int
    tile_columns: int
    tile_rows: int

    def tile(self, row: int, column: int) -> np.ndarray:
        """Return one tile, uint8, cut to the raster."""
        ...


@dataclass(frozen=True)
class Frame:
    """How many classes there are, the slide in level-0 px, and what is taken to be beyond the raster: 0 or IGNORE."""

    classes: int
    width: int
    height: int
    beyond: int = 0


def fractions(blocks: Blocks, frame: Frame, x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
    """Return float64 (classes + 1, n): the area share of each class in each square patch, the last of IGNORE.

    Exact also where a patch cuts through pixels. Columns sum to 1: the rest of a patch is `frame.beyond`.
    """
    per_x, per_y = blocks.columns / frame.width, blocks.rows / frame.height  # raster px per level-0 px
    x, y = np.asarray(x0, dtype=np.float64), np.asarray(y0, dtype=np.float64)
    squares = np.stack([x * per_x, y * per_y, (x + edge0) * per_x, (y + edge0) * per_y])
    beyond = frame.classes if frame.beyond == IGNORE else frame.beyond
    kinds = [*range(frame.classes), IGNORE]
    sums = np.zeros((frame.classes + 1, squares.shape[1]))
    for top, bottom in _cuts(blocks.rows, blocks.tile_rows):
        band = np.flatnonzero((squares[3] > top) & (squares[1] < bottom))
        for left, right in _cuts(blocks.columns, blocks.tile_columns) if len(band) else ():
            which = band[(squares[2, band] > left) & (squares[0, band] < right)]
            if len(which):
                block = _read(blocks, left, top, right, bottom)
                corners = squares[:, which] - np.array([[left], [top], [left], [top]])
                _add_areas(sums, which, block, corners, [kind for kind in kinds if kind != frame.beyond])
    shares: np.ndarray = snapped(sums / (edge0 * per_x * edge0 * per_y))
    shares[beyond] = snapped(np.maximum(1.0 - shares.sum(axis=0), 0.0))
    return shares


def raster(blocks: Blocks, frame: Frame, columns: int, rows: int, downsample: float, top: int = 0) -> np.ndarray:
    """Return uint8 (rows, columns): the raster's pixel under the centre of each px of a grid, from its row `top` on."""
    labels = np.full((rows, columns), frame.beyond, dtype=np.uint8)
    x = _under(pixel_centres(columns, downsample, frame.width), blocks.columns, frame.width)
    y = _under(pixel_centres(rows, downsample, frame.height, top), blocks.rows, frame.height)
    for upper, lower in _cuts(blocks.rows, blocks.tile_rows):
        r = slice(*np.searchsorted(y, (upper, lower)))
        for left, right in _cuts(blocks.columns, blocks.tile_columns) if r.stop > r.start else ():
            c = slice(*np.searchsorted(x, (left, right)))
            if c.stop > c.start:
                labels[r, c] = _read(blocks, left, upper, right, lower)[np.ix_(y[r] - upper, x[c] - left)]
    return labels


def windows(
    blocks: Blocks, frame: Frame, x0: np.ndarray, y0: np.ndarray, edge_px: int, downsample: float
) -> Iterator[np.ndarray]:
    """Yield uint8 (edge_px, edge_px) per patch at level-0 (x0, y0), in the order given; IGNORE beyond the slide.

    Px (c, r) is looked at in its centre, x0 + (c + 0.5) * downsample. Patches in rows read each tile once.
    """
    tiles = _TileCache(blocks)
    wide, high = blocks.tile_columns, blocks.tile_rows

    def labels_at(x_centres: np.ndarray, y_centres: np.ndarray) -> np.ndarray:
        x = np.minimum(_under(x_centres, blocks.columns, frame.width), blocks.columns - 1)
        y = np.minimum(_under(y_centres, blocks.rows, frame.height), blocks.rows - 1)
        labels = np.empty((len(y), len(x)), dtype=np.uint8)
        for row in np.unique(y // high).tolist():
            r = slice(*np.searchsorted(y, (row * high, (row + 1) * high)))
            for column in np.unique(x // wide).tolist():
                c = slice(*np.searchsorted(x, (column * wide, (column + 1) * wide)))
                labels[r, c] = tiles.tile(row, column)[np.ix_(y[r] - row * high, x[c] - column * wide)]
        return labels

    yield from windows_of(labels_at, (frame.width, frame.height), x0, y0, edge_px, downsample)


class _TileCache:
    """The tiles used last, CACHE_PX pixels of them at most."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._held: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._held_px = 0

    def tile(self, row: int, column: int) -> np.ndarray:
        """Return one tile of the blocks."""
        key = (row, column)
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        tile = self._blocks.tile(row, column)
        if tile.min() == tile.max():  # most of a mask: kept as one value, seen in every place
            tile = np.broadcast_to(tile.ravel()[:1].copy(), tile.shape)
        self._held[key] = tile
        self._held_px += _stored_px(tile)
        while self._held_px > CACHE_PX and len(self._held) > 1:
            self._held_px -= _stored_px(self._held.popitem(last=False)[1])
        return tile


def _stored_px(tile: np.ndarray) -> int:
    return 1 if tile.strides == (0, 0) else tile.size


def _under(centres: np.ndarray, count: int, extent: int) -> np.ndarray:
    """Return the raster's column (or row) under each centre in level-0 px; `count` of them lie over `extent`."""
    return np.floor(centres * (count / extent)).astype(np.int64)


def _read(blocks: Blocks, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Return a block, uint8 (bottom - top, right - left), whose corner is on a tile border."""
    block = np.empty((bottom - top, right - left), dtype=np.uint8)
    for y in range(top, bottom, blocks.tile_rows):
        for x in range(left, right, blocks.tile_columns):
            tile = blocks.tile(y // blocks.tile_rows, x // blocks.tile_columns)
            block[y - top : y - top + tile.shape[0], x - left : x - left + tile.shape[1]] = tile
    return block


def _cuts(length: int, tile: int) -> list[tuple[int, int]]:
    """Return (start, end) of the blocks along one side, on tile borders."""
    step = tile * max(1, BLOCK_PX // tile)
    return [(start, min(start + step, length)) for start in range(0, length, step)]


def _add_areas(sums: np.ndarray, which: np.ndarray, block: np.ndarray, corners: np.ndarray, kinds: list[int]) -> None:
    """Add each kind's area of a block inside rectangles (4, n) to its row; in parts, as strips can be wide."""
    for top, bottom in _cuts(block.shape[0], 1):
        for left, right in _cuts(block.shape[1], 1):
            part = block[top:bottom, left:right]
            for kind in kinds:
                hits = part == kind
                if hits.any():
                    row = -1 if kind == IGNORE else kind
                    sums[row, which] += _inside(hits, corners - np.array([[left], [top], [left], [top]]))


def _inside(hits: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the area of true pixels inside rectangles (4, n) that may stick out of the block."""
    x, y = np.clip(corners[0::2], 0, hits.shape[1]), np.clip(corners[1::2], 0, hits.shape[0])
    if hits.all():  # most of a mask
        return (x[1] - x[0]) * (y[1] - y[0])
    table = np.zeros((hits.shape[0] + 1, hits.shape[1] + 1), dtype=np.int32)  # at most BLOCK_PX^2
    np.cumsum(hits, axis=1, dtype=np.int32, out=table[1:, 1:])
    np.cumsum(table, axis=0, dtype=np.int32, out=table)

    def before(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the area left of x and above y; between pixels a summed-area table is bilinear, exactly."""
        c, r = np.minimum(x.astype(np.int64), table.shape[1] - 2), np.minimum(y.astype(np.int64), table.shape[0] - 2)
        fx, fy = x - c, y - r
        above = table[r, c] * (1 - fx) + table[r, c + 1] * fx
        below = table[r + 1, c] * (1 - fx) + table[r + 1, c + 1] * fx
        return above * (1 - fy) + below * fy

    return before(x[1], y[1]) - before(x[0], y[1]) - before(x[1], y[0]) + before(x[0], y[0])
