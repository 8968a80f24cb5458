"""One channel of a map as a pyramid: its levels in files beside the result, so that memory does not grow with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TILE = 256
"""Edge of a tile, and the size at which a pyramid ends, in px."""


@dataclass(frozen=True)
class Level:
    """uint8 (rows, columns) px in a file, read strip by strip: a mapped file would count as memory of the process."""

    path: Path
    shape: tuple[int, int]

    def strips(self, rows: int) -> Iterator[np.ndarray]:
        """Yield the px from top to bottom, so many rows at a time, the last fewer."""
        height, columns = self.shape
        with self.path.open("rb") as stream:
            for top in range(0, height, rows):
                many = min(rows, height - top)
                yield np.fromfile(stream, dtype=np.uint8, count=many * columns).reshape(many, columns)


def levels(path: Path, shape: tuple[int, int]) -> Iterator[Level]:
    """Yield the pyramid of the channel in file `path`, uint8 (rows, columns), down to at most 256 px.

    Level k has ceil(size / 2^k) px, each the rounded mean of 2 x 2 px of the level before. Memory is a strip
    of 512 rows; level k lies in a file beside `path`.
    """
    level, number = Level(path, shape), 0
    yield level
    while max(level.shape) > TILE:
        number += 1
        target = path.with_suffix(f"{path.suffix}.{number}")
        with target.open("wb") as stream:  # a full disk fails here, as a write
            for strip in level.strips(2 * TILE):
                stream.write(_halved(strip).data)
        level = Level(target, ((level.shape[0] + 1) // 2, (level.shape[1] + 1) // 2))
        yield level


def count_levels(shape: tuple[int, int]) -> int:
    """Return how many levels `levels` yields."""
    number, edge = 1, max(shape)
    while edge > TILE:
        number, edge = number + 1, (edge + 1) // 2
    return number


def tiles(level: Level) -> Iterator[np.ndarray]:
    """Yield the level's tiles in row-major order, those at the border filled up with 0."""
    for strip in level.strips(TILE):
        for column in range(0, level.shape[1], TILE):
            part = strip[:, column : column + TILE]
            if part.shape == (TILE, TILE):
                yield part
                continue
            tile = np.zeros((TILE, TILE), dtype=np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def _halved(values: np.ndarray) -> np.ndarray:
    """Return the rounded means of 2 x 2 px; an odd last row or column stands for its missing neighbour."""
    even = np.pad(values, ((0, values.shape[0] % 2), (0, values.shape[1] % 2)), mode="edge").astype(np.uint16)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint8)
