"""What threads do ahead of a consumer that takes squares in order, and which tiles stay in memory."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from acinus.slides.touches import NEVER, Touches

Pixels = Future[np.ndarray]


@dataclass
class _Held:
    """A tile in memory, or on its way there; the next square that needs it, seen from the consumer."""

    pixels: Pixels
    next_use: int


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
        self._held: dict[int, _Held] = {}
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
            if beyond and len(started) >= self._limit:
                return
            if not self._start(self._cursor, beyond):
                return
            self._cursor += 1

    def tiles(self, square: int) -> list[Pixels]:
        """Return the tiles of a square that was reached, in the order of its touches."""
        return [self._held[self._tile[touch]].pixels for touch in self._touches(square)]

    def next_read(self) -> Pixels:
        """Return the read of the first square not served by tiles that was reached and not asked for yet."""
        return self._reads.popleft()

    def leave(self, square: int) -> None:
        """Let go of the tiles that no later square needs."""
        for touch in self._touches(square):
            following = self._next_use[touch]
            if following == NEVER:
                del self._held[self._tile[touch]]
            else:
                self._held[self._tile[touch]].next_use = following

    def _touches(self, square: int) -> range:
        return range(self._first[square], self._first[square + 1])

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
            self._held[tile] = _Held(self._decode(tile), square)
            if beyond:
                self._started.append(square)
            self.decoded += 1
        return True

    def _make_room(self, square: int) -> bool:
        """Drop the tile whose next use is farthest; False where all are needed by `square` or before."""
        farthest = max(self._held, key=lambda tile: self._held[tile].next_use)
        if self._held[farthest].next_use <= square:
            return False
        del self._held[farthest]
        return True
