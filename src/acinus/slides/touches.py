"""Which tiles of a level each of many squares needs, and when a tile is needed for the last time."""

from dataclasses import dataclass

import numpy as np

from acinus.slides.jpeg_tiles import JpegTiles
from acinus.slides.pixels import Source

NEVER = -1
_DRAWN_PX = 4096
"""OpenSlide draws a larger region in pieces of this size and rounds each piece's corner to level-0 px."""


@dataclass(frozen=True, eq=False)
class Touches:
    """What n squares need of a level: those of square i are [first[i], first[i + 1]) of `tile` and `next_use`.

    x, y: int64 (n,), the level px of the squares' corners. left, top: float64 (n,), see Source.starts.
    served: bool (n,), whether tiles can serve it; it touches none otherwise, and none beyond the border.
    inside: bool (n,), whether all of it lies on the level.
    """

    x: np.ndarray
    y: np.ndarray
    left: np.ndarray
    top: np.ndarray
    served: np.ndarray
    inside: np.ndarray
    first: np.ndarray  # int64 (n + 1,)
    tile: np.ndarray  # int32 where that holds all numbers, else int64 (m,)
    next_use: np.ndarray  # of the same type (m,): the next square that needs the same tile, NEVER after the last


def touches_of(source: Source, corners: np.ndarray, tiles: JpegTiles | None) -> Touches:
    """Return the touches of squares of source.size at level-0 `corners` (n, 2); of none where there are no tiles."""
    (corner_x, left), (corner_y, top) = source.starts(corners[:, 0]), source.starts(corners[:, 1])
    downsample = source.at.level_downsample
    wide, high = source.level_size
    level_x, level_y = corner_x / downsample, corner_y / downsample
    # elsewhere cairo interpolates between the level's px
    served = (level_x == np.rint(level_x)) & (level_y == np.rint(level_y))
    if max(wide, high) > _DRAWN_PX and not (_DRAWN_PX * downsample).is_integer():
        served[:] = False
    x, y = np.rint(level_x).astype(np.int64), np.rint(level_y).astype(np.int64)
    if tiles is None or source.too_large:
        none = np.zeros(len(corners), dtype=bool)
        empty = np.zeros(0, dtype=np.int64)
        return Touches(x, y, left, top, none, none, np.zeros(len(corners) + 1, dtype=np.int64), empty, empty)
    inside = (x >= 0) & (y >= 0) & (x + wide <= tiles.width) & (y + high <= tiles.height)
    first_column, columns = _span(x, wide, tiles.tile_px[0], tiles.width)
    first_row, rows = _span(y, high, tiles.tile_px[1], tiles.height)
    counts = np.where(served, columns * rows, 0)
    first = np.concatenate([[0], np.cumsum(counts)])
    largest = max(int(first[-1]), len(corners), tiles.across * tiles.down)
    number = np.int32 if largest <= np.iinfo(np.int32).max else np.int64  # there are millions of touches
    square = np.repeat(np.arange(len(corners), dtype=number), counts)
    begins, across = first.astype(number), np.maximum(columns, 1).astype(number)
    # of a touch among those of its square, row by row
    tile, column = np.divmod(np.arange(first[-1], dtype=number) - begins[square], across[square])
    tile += first_row.astype(number)[square]
    tile *= number(tiles.across)
    tile += column
    del column
    tile += first_column.astype(number)[square]
    next_use = np.full(tile.size, NEVER, dtype=number)
    order = np.argsort(tile, kind="stable")  # by tile, and within a tile by square
    same = tile[order[:-1]] == tile[order[1:]]
    next_use[order[:-1][same]] = square[order[1:][same]]
    return Touches(x, y, left, top, served, inside, first, tile, next_use)


def _span(start: np.ndarray, edge: int, tile_px: int, extent: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first tile along one axis and how many there are, 0 where all lies beyond the level."""
    first = np.clip(start, 0, None) // tile_px
    last = np.clip(start + edge, None, extent) - 1
    return first, np.where(last >= np.clip(start, 0, None), last // tile_px - first + 1, 0)
