"""Burden, its error and its limits of agreement, by hand and against theory."""

import math

import numpy as np
import pytest

from acinus.scoring.burden import bland_altman, burden_error, burden_percent
from acinus.scoring.defined import mean_defined


@pytest.mark.parametrize(("tumour", "tissue", "expected"), [(0, 0, None), (0, 10, 0.0), (10, 10, 100.0), (1, 8, 12.5)])
def test_burden(tumour: int, tissue: int, expected: float | None) -> None:
    assert burden_percent(tumour, tissue) == expected


def test_tumour_outside_tissue_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="5 tumour px inside 4 tissue px"):
        burden_percent(5, 4)


def test_an_error_needs_both_burdens() -> None:
    assert burden_error(3.0, 5.0) == -2.0
    assert [burden_error(*pair) for pair in ((None, 5.0), (5.0, None), (2.0, math.nan), (math.nan, 2.0))] == [None] * 4


def test_a_mean_is_of_what_is_defined() -> None:
    assert mean_defined([0.0, None, math.nan, 1.0]) == 0.5
    assert mean_defined([None, math.nan]) is None
    assert mean_defined([]) is None


def test_limits_of_agreement_by_hand() -> None:
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
