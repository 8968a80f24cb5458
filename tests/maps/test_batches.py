"""Squares in batches: all of them, in order, in arrays that are used again and again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus.maps.slide_map import batches


def squares(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)


@given(st.integers(0, 25), st.integers(1, 9), st.integers(1, 4))
def test_every_square_comes_once_and_in_order(count: int, batch_size: int, in_turn: int) -> None:
    every = squares(count)
    found = [batch.copy() for batch in batches(iter(every), count, batch_size, in_turn)]
    assert [len(batch) for batch in found] == [min(batch_size, count - at) for at in range(0, count, batch_size)]
    if count:
        assert np.array_equal(np.concatenate(found), every)


def test_a_batch_holds_until_as_many_more_were_asked_for() -> None:
    every, made = squares(23), []

    def empty(shape: tuple[int, ...]) -> np.ndarray:
        made.append(np.empty(shape, dtype=np.uint8))
        return made[-1]

    held: list[np.ndarray] = []
    for number, batch in enumerate(batches(iter(every), 23, 4, 3, empty)):
        held = [*held, batch][-3:]
        for back, one in enumerate(reversed(held)):
            start = 4 * (number - back)
            assert np.array_equal(one, every[start : start + 4])
    assert [one.shape for one in made] == [(4, 4, 5, 3)] * 3


def test_a_batch_is_one_piece_of_memory_that_may_be_written() -> None:
    for batch in batches(iter(squares(5)), 5, 3, 2):
        assert batch.flags.c_contiguous
        assert batch.flags.writeable


def test_fewer_squares_than_a_batch_take_no_more_memory_than_they_need() -> None:
    (batch,) = batches(iter(squares(2)), 2, 64, 3)
    assert batch.base is not None
    assert batch.base.shape == (2, 4, 5, 3)


def test_squares_that_are_missing_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 of 5 squares"):
        list(batches(iter(squares(3)), 5, 2, 3))
