"""Many squares of one slide in one pass: each source tile decoded once, by threads ahead of the consumer."""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np

from acinus.slides.geometry import Resolution
from acinus.slides.jpeg_tiles import tiles_of
from acinus.slides.pixels import MAX_SOURCE_PX, SlidePixels, Source
from acinus.slides.touches import NEVER, Touches, touches_of

Pixels = Future[np.ndarray]

_AHEAD = 8
"""Decodes or reads per thread that may lie ready before the consumer comes to them."""


@dataclass
class PassCounts:
    """What a pass did so far.

    tiles: distinct tiles that its squares touch. decoded: decodes, more than `tiles` only where memory forced
    it. squares: given. through_openslide: those of them that slide.read gave.
    """

    tiles: int
    decoded: int = 0
    squares: int = 0
    through_openslide: int = 0


class TilePass:
    """The squares of edge_px working px at level-0 `corners`, in the order given; a context manager.

    Iterating yields uint8 (edge_px, edge_px, 3) per square, equal to slide.read in every pixel. A square that
    lies in one tile is a read-only view of it, which keeps it in memory: copy what is kept. What the bytes of
    the tiles cannot serve is read ahead with slide.read. A failure is raised at the square that it belongs
    to. Threads are joined at the end and on exit. `counts`: what was done since the iteration began.

    corners: int64 (n, 2), x0 and y0. memory_mib: bound of the tiles and squares that wait; a tile that has no
    room until it is needed again is decoded again.
    """

    def __init__(
        self,
        slide: SlidePixels,
        at: Resolution,
        corners: np.ndarray,
        edge_px: int,
        threads: int = 1,
        memory_mib: int = 256,
    ) -> None:
        self._slide, self._at, self._corners, self._edge = slide, at, np.asarray(corners, dtype=np.int64), edge_px
        self._threads = threads
        self._source = Source((edge_px, edge_px), at)
        self._tiles = None if self._source.too_large else tiles_of(slide, at.level)
        self._touches = touches_of(self._source, self._corners, self._tiles)
        self.counts = PassCounts(np.unique(self._touches.tile).size)
        self._running: list[Generator[np.ndarray, None, None]] = []
        self._bound(memory_mib * 2**20)

    def _bound(self, memory: int) -> None:
        """Divide the memory, in bytes. Squares and reads that wait get half of it at most.

        _depth: squares that may wait while threads finish them; at none the consumer makes them. _limit: decodes and
        reads that may be begun ahead. _capacity: tiles held; with too few, each is decoded again and again.
        """
        exact, all_served = self._source.exact, bool(self._touches.served.all())
        level_px = 0 if exact else min(math.prod(self._source.level_size), MAX_SOURCE_PX)
        square_bytes = 7 * level_px + 3 * self._edge**2  # level px with, 4 bytes per px, Pillow's copy; the square
        room = memory // 2 // square_bytes
        self._depth = 0 if exact else min(2 * self._threads, max(0, room - 1))
        self._limit = _AHEAD * self._threads if all_served else max(1, min(_AHEAD * self._threads, room))
        waiting = (0 if exact else self._depth + 1) + (0 if all_served else self._limit)
        tile_px = math.prod(self._tiles.tile_px) if self._tiles is not None else 1
        self._capacity = max(1, (memory - waiting * square_bytes) // (3 * tile_px))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        for run in self._running:
            run.close()

    def __len__(self) -> int:
        """Return the number of squares."""
        return len(self._corners)

    def __iter__(self) -> Iterator[np.ndarray]:
        run = self._run()
        self._running.append(run)
        return run

    def _run(self) -> Generator[np.ndarray, None, None]:
        self.counts = PassCounts(self.counts.tiles)
        pool = ThreadPoolExecutor(self._threads)
        waiting: deque[np.ndarray | Pixels] = deque()
        try:
            for square in self._begun(pool):
                waiting.append(square)
                if len(waiting) > self._depth:
                    yield self._given(waiting.popleft())
            while waiting:
                yield self._given(waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _given(self, square: np.ndarray | Pixels) -> np.ndarray:
        pixels = square.result() if isinstance(square, Future) else square
        self.counts.squares += 1
        return pixels

    def _begun(self, pool: ThreadPoolExecutor) -> Iterator[np.ndarray | Pixels]:
        """Yield each square as pixels, or as what a thread makes of them."""

        def decode(tile: int) -> Pixels:
            assert self._tiles is not None  # no square touches a tile otherwise
            return pool.submit(self._tiles.decode, tile)

        def read(square: int) -> Pixels:
            x0, y0 = self._corners[square].tolist()
            return pool.submit(self._slide.read, x0, y0, self._edge, self._edge, self._at)

        served = self._touches.served.data
        ahead = ReadAhead(self._touches, self._capacity, self._limit, decode, read)
        for square in range(len(self)):
            ahead.reach(square)
            self.counts.decoded = ahead.decoded
            if not served[square]:
                self.counts.through_openslide += 1
                yield ahead.next_read()
                continue
            tiles = ahead.tiles(square)
            ahead.leave(square)
            yield pool.submit(self._finish, square, tiles) if self._depth else self._finish(square, tiles)

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


class ReadAhead:
    """Starts the decodes and reads of squares before the consumer comes to them, in the squares' order.

    capacity: tiles held at once; where it is reached the one whose next use is farthest makes room, and if
    all are needed sooner the look-ahead waits for the consumer. Only what one square needs may exceed it.
    limit: decodes and reads started for squares that the consumer has not reached.
    decode, read: start the work on a tile, on a square that tiles do not serve.
    """

    def __init__(
        self,
        touches: Touches,
        capacity: int,
        limit: int,
        decode: Callable[[int], Pixels],
        read: Callable[[int], Pixels],
    ) -> None:
        self._capacity, self._limit, self._decode, self._read = capacity, limit, decode, read
        # a memoryview gives plain numbers, several times faster than indexing the array
        self._first, self._tile = touches.first.data, touches.tile.data
        self._next_use, self._served = touches.next_use.data, touches.served.data
        self._held: dict[int, Pixels] = {}  # tiles in memory, or on their way there
        self._needed: dict[int, int] = {}  # the next square that needs each of them, seen from the consumer
        self._reads: deque[Pixels] = deque()
        self._started: deque[int] = deque()  # per decode or read ahead the square that it is for
        self._cursor = 0  # the next square to look at
        self.decoded = 0

    def reach(self, square: int) -> None:
        """Start what `square` needs, and what those after it need as far as there is room."""
        started = self._started
        while started and started[0] <= square:
            started.popleft()
        while self._cursor < len(self._served):
            beyond = self._cursor > square
            if (beyond and len(started) >= self._limit) or not self._start(self._cursor, beyond):
                return
            self._cursor += 1

    def tiles(self, square: int) -> list[Pixels]:
        """Return the tiles of a square that was reached, in the order of its touches."""
        return [self._held[self._tile[touch]] for touch in self._touches(square)]

    def next_read(self) -> Pixels:
        """Return the read of the first square not served by tiles that was reached and not asked for yet."""
        return self._reads.popleft()

    def leave(self, square: int) -> None:
        """Let go of the tiles that no later square needs."""
        for touch in self._touches(square):
            self._needed[self._tile[touch]] = self._next_use[touch]
            if self._next_use[touch] == NEVER:
                self._drop(self._tile[touch])

    def _touches(self, square: int) -> range:
        return range(self._first[square], self._first[square + 1])

    def _drop(self, tile: int) -> None:
        del self._held[tile], self._needed[tile]

    def _start(self, square: int, beyond: bool) -> bool:
        """Start what a square needs; False where it has to wait for room."""
        if not self._served[square]:
            self._reads.append(self._read(square))
            if beyond:
                self._started.append(square)
            return True
        for touch in self._touches(square):
            tile = self._tile[touch]
            if tile in self._held:
                continue
            if len(self._held) >= self._capacity and not self._make_room(square) and beyond:
                return False
            self._held[tile], self._needed[tile] = self._decode(tile), square
            if beyond:
                self._started.append(square)
            self.decoded += 1
        return True

    def _make_room(self, square: int) -> bool:
        """Drop the tile whose next use is farthest; False where all are needed by `square` or before."""
        farthest = max(self._needed, key=self._needed.__getitem__)
        if self._needed[farthest] <= square:
            return False
        self._drop(farthest)
        return True
