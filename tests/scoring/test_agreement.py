"""Limits of agreement by hand and against theory."""

import math

import numpy as np
import pytest

from acinus.scoring.agreement import bland_altman


def test_by_hand() -> None:
    found = bland_altman([3.0, 5.0, 10.0], [2.0, 5.0, 8.0])  # differences 1, 0, 2
    assert found is not None
    assert (found.bias, found.sd, found.n) == (1.0, 1.0, 3)
    assert (found.low, found.high) == pytest.approx((1 - 1.96, 1 + 1.96))


def test_limits_hold_95_percent_of_normal_differences() -> None:
    random = np.random.default_rng(4)
    true = random.uniform(0, 100, 20_000)
    error = random.normal(2, 5, true.size)
    found = bland_altman(true + error, true)
    assert found is not None
    assert found.bias == pytest.approx(2, abs=0.15)
    assert np.mean((error >= found.low) & (error <= found.high)) == pytest.approx(0.95, abs=0.005)


def test_swapped_sides_mirror_the_limits() -> None:
    one, other = [1.0, 4.0, 9.0, 2.0], [2.0, 2.0, 8.0, 5.0]
    found, mirrored = bland_altman(one, other), bland_altman(other, one)
    assert found is not None
    assert mirrored is not None
    assert (mirrored.bias, mirrored.low, mirrored.high) == pytest.approx((-found.bias, -found.high, -found.low))
    assert mirrored.sd == pytest.approx(found.sd)


def test_undefined_pairs_are_left_out() -> None:
    found = bland_altman([3.0, None, 7.0, math.nan, 5.0], [2.0, 1.0, None, 4.0, 5.0])
    assert found == bland_altman([3.0, 5.0], [2.0, 5.0])
    assert found is not None
    assert found.n == 2


@pytest.mark.parametrize(("predicted", "true"), [([], []), ([1.0], [2.0]), ([1.0, None], [2.0, 3.0])])
def test_fewer_than_two_pairs_have_no_limits(predicted: list[float | None], true: list[float | None]) -> None:
    assert bland_altman(predicted, true) is None


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="shorter"):
        bland_altman([1.0, 2.0], [1.0])
