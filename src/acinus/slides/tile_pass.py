"""Many squares of one slide in one pass: each source tile decoded once, by threads ahead of the consumer."""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from acinus.slides.geometry import Resolution
from acinus.slides.jpeg_tiles import tiles_of
from acinus.slides.open import SlidePixels
from acinus.slides.read_ahead import Pixels, ReadAhead
from acinus.slides.resampling import MAX_SOURCE_PX, Source
from acinus.slides.touches import touches_of

_AHEAD = 8
"""Decodes or reads per thread that may lie ready before the consumer comes to them."""


@dataclass(frozen=True)
class PassCounts:
    """What a pass did.

    tiles: distinct tiles that its squares touch. decoded: decodes, more than `tiles` only where memory forced
    it. squares: given so far. through_openslide: those of them that slide.read gave.
    """

    tiles: int
    decoded: int
    squares: int
    through_openslide: int


class TilePass:
    """The squares of edge_px working px at level-0 (x0, y0), in the order given; a context manager.

    Iterating yields uint8 (edge_px, edge_px, 3) per square, equal to slide.read in every pixel. A square that
    lies in one tile is a read-only view of it, which keeps it in memory: copy what is kept. What the bytes of
    the tiles cannot serve is read ahead with slide.read. A failure is raised at the square that it belongs
    to. Threads are joined at the end and on exit.

    x0, y0: int64 (n,). memory_mib: bound of the tiles and squares that wait; a tile that has no room until
    it is needed again is decoded again.
    """

    def __init__(
        self,
        slide: SlidePixels,
        at: Resolution,
        x0: np.ndarray,
        y0: np.ndarray,
        edge_px: int,
        threads: int = 1,
        memory_mib: int = 256,
    ) -> None:
        self._slide, self._at, self._edge, self._threads = slide, at, edge_px, threads
        self._x0, self._y0 = np.asarray(x0, dtype=np.int64), np.asarray(y0, dtype=np.int64)
        self._memory = memory_mib * 2**20
        self._source = Source((edge_px, edge_px), at)
        self._tiles = None if self._source.too_large else tiles_of(slide, at.level)
        self._touches = touches_of(self._source, self._x0, self._y0, self._tiles)
        self._distinct = np.unique(self._touches.tile).size
        self._decoded = self._given = self._through = 0
        self._running: list[Generator[np.ndarray, None, None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in self._running:
            run.close()

    def __len__(self) -> int:
        """Return the number of squares."""
        return len(self._x0)

    @property
    def counts(self) -> PassCounts:
        """Return what was done since the iteration began."""
        return PassCounts(self._distinct, self._decoded, self._given, self._through)

    def __iter__(self) -> Iterator[np.ndarray]:
        run = self._run()
        self._running.append(run)
        return run

    def _run(self) -> Generator[np.ndarray, None, None]:
        self._decoded = self._given = self._through = 0
        pool = ThreadPoolExecutor(self._threads)
        try:
            for square in _later(self._begun(pool), self._depth):
                pixels = square.result() if isinstance(square, Future) else square
                self._given += 1
                yield pixels
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    @property
    def _square_bytes(self) -> int:
        """Return what a square takes while it is made: its level px and, 4 bytes per px, Pillow's copy of them."""
        level_px = 0 if self._source.exact else min(math.prod(self._source.level_size), MAX_SOURCE_PX)
        return 7 * level_px + 3 * self._edge**2

    @property
    def _depth(self) -> int:
        """Return how many squares may wait while threads finish them; at none the consumer makes them.

        They get half of the memory at most: with too few tiles held, each is decoded again and again.
        """
        room = self._memory // 2 // self._square_bytes - 1
        return 0 if self._source.exact else min(2 * self._threads, max(0, room))

    @property
    def _limit(self) -> int:
        """Return how many decodes and reads may be begun ahead; reads take half of the memory at most."""
        limit = _AHEAD * self._threads
        if self._touches.served.all():
            return limit
        return max(1, min(limit, self._memory // 2 // self._square_bytes))

    def _begun(self, pool: ThreadPoolExecutor) -> Iterator[np.ndarray | Pixels]:
        """Yield each square as pixels, or as what a thread makes of them."""
        alone, served = self._depth == 0, self._touches.served.data
        ahead = ReadAhead(self._touches, self._capacity(), self._limit, *self._work(pool))
        for square in range(len(self)):
            ahead.reach(square)
            self._decoded = ahead.decoded
            if not served[square]:
                self._through += 1
                yield ahead.next_read()
                continue
            tiles = ahead.tiles(square)
            ahead.leave(square)
            yield self._finish(square, tiles) if alone else pool.submit(self._finish, square, tiles)

    def _work(self, pool: ThreadPoolExecutor) -> tuple[Callable[[int], Pixels], Callable[[int], Pixels]]:
        """Return what starts the decoding of a tile, and the reading of a square."""

        def decode(tile: int) -> Pixels:
            assert self._tiles is not None  # no square touches a tile otherwise
            return pool.submit(self._tiles.decode, tile)

        def read(square: int) -> Pixels:
            x0, y0 = int(self._x0[square]), int(self._y0[square])
            return pool.submit(self._slide.read, x0, y0, self._edge, self._edge, self._at)

        return decode, read

    def _capacity(self) -> int:
        """Return how many tiles may be held beside the squares that wait."""
        squares = 0 if self._source.exact else self._depth + 1
        if not self._touches.served.all():
            squares += self._limit
        tile = math.prod(self._tiles.tile_px) if self._tiles is not None else 1
        return max(1, (self._memory - squares * self._square_bytes) // (3 * tile))

    def _finish(self, square: int, tiles: list[Pixels]) -> np.ndarray:
        """Return a square from its tiles; they were asked for before, so no thread waits in vain."""
        touches = self._touches
        pixels = self._assemble(square, tiles)
        tiles.clear()  # else they lie there until the square is shrunk
        return self._source.finish(pixels, float(touches.left[square]), float(touches.top[square]))

    def _assemble(self, square: int, tiles: list[Pixels]) -> np.ndarray:
        """Return the level px of a square from its tiles, white beyond the level."""
        touches, grid = self._touches, self._tiles
        assert grid is not None
        (wide, high), (tile_wide, tile_high) = self._source.level_size, grid.tile_px
        x, y, first = int(touches.x[square]), int(touches.y[square]), int(touches.first[square])
        if touches.inside[square]:
            if len(tiles) == 1:
                left, top = x % tile_wide, y % tile_high
                part = tiles[0].result()[top : top + high, left : left + wide]
                part.flags.writeable = False  # of this view: other squares see the same tile
                return part
            pixels = np.empty((high, wide, 3), dtype=np.uint8)
        else:
            pixels = np.full((high, wide, 3), 255, dtype=np.uint8)
        right, bottom = min(x + wide, grid.width), min(y + high, grid.height)
        for number, tile in enumerate(tiles, first):
            row, column = divmod(int(touches.tile[number]), grid.across)
            tile_x, tile_y = column * tile_wide, row * tile_high
            left, top = max(x, tile_x), max(y, tile_y)
            stop_x, stop_y = min(right, tile_x + tile_wide), min(bottom, tile_y + tile_high)
            part = tile.result()[top - tile_y : stop_y - tile_y, left - tile_x : stop_x - tile_x]
            pixels[top - y : stop_y - y, left - x : stop_x - x] = part
        return pixels


def _later(squares: Iterator[np.ndarray | Pixels], depth: int) -> Iterator[np.ndarray | Pixels]:
    """Yield the squares in order, each after `depth` more have been begun."""
    waiting: deque[np.ndarray | Pixels] = deque()
    for square in squares:
        waiting.append(square)
        if len(waiting) > depth:
            yield waiting.popleft()
    yield from waiting
