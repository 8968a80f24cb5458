"""Windows put side by side for a model: batch after batch in the same few arrays, no new one each time."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

Empty = Callable[[tuple[int, ...]], np.ndarray]
"""shape -> a writable uint8 array; page-locked where batches go to a GPU."""


def batches(
    squares: Iterable[np.ndarray], count: int, batch_size: int, in_turn: int, empty: Empty | None = None
) -> Iterator[np.ndarray]:
    """Yield `count` squares as uint8 (batch_size, h, w, 3), the last batch shorter.

    A batch is overwritten when `in_turn` more have been asked for: it holds as long as so many are in use at a time.

    Raises:
        ValueError: fewer squares.
    """
    make, turn, given, done = empty or _empty, list[np.ndarray](), iter(squares), 0
    for number, start in enumerate(range(0, count, batch_size)):
        many = min(batch_size, count - start)
        for place, square in enumerate(islice(given, many)):
            if place == 0 and number < in_turn:
                turn.append(make((min(batch_size, count), *square.shape)))
            turn[number % in_turn][place] = square
            done = start + place + 1
        if done < start + many:
            raise ValueError(f"{done} of {count} squares came")
        yield turn[number % in_turn][:many]


def _empty(shape: tuple[int, ...]) -> np.ndarray:
    return np.empty(shape, dtype=np.uint8)
