"""Quadratic weighted kappa against scikit-learn and by hand; labels stay fixed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from acinus.errors import AcinusError
from acinus.scoring.kappa import grade_confusion, quadratic_weighted_kappa

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40)


@given(PAIRS)
def test_agrees_with_scikit_learn_wherever_it_is_defined(pairs: list[tuple[int, int]]) -> None:
    true, predicted = map(list, zip(*pairs, strict=True))
    found = quadratic_weighted_kappa(true, predicted)
    if len(set(true)) == 1 and set(true) == set(predicted):
        assert found is None
        return
    assert found == pytest.approx(cohen_kappa_score(true, predicted, weights="quadratic", labels=range(6)))
    assert np.array_equal(grade_confusion(true, predicted, 6), confusion_matrix(true, predicted, labels=range(6)))


def test_by_hand() -> None:
    # squares of the pairs 0 + 1 + 4 + 0 = 5; of all 16 combinations 29 + 19 + 17 + 59 = 124, a quarter of it expected
    true, predicted = [0, 1, 2, 5], [0, 2, 0, 5]
    expected = sum((i - j) ** 2 for i in true for j in predicted) / 4
    assert expected == 31
    assert quadratic_weighted_kappa(true, predicted) == pytest.approx(1 - 5 / 31)


def test_ends_of_the_scale() -> None:
    assert quadratic_weighted_kappa([0, 5, 3], [0, 5, 3]) == 1
    assert quadratic_weighted_kappa([0, 5], [5, 0]) == -1
    assert quadratic_weighted_kappa([0, 1, 4, 5], [2, 2, 2, 2]) == 0  # one grade for all: as good as chance


def test_labels_are_fixed_so_that_they_do_not_depend_on_who_is_present() -> None:
    assert grade_confusion([1, 2], [2, 2], 6).shape == (6, 6)
    assert grade_confusion([1, 2], [2, 2], 6)[1, 2] == 1
    assert quadratic_weighted_kappa([0, 1, 1], [0, 1, 0], labels=2) == pytest.approx(
        cohen_kappa_score([0, 1, 1], [0, 1, 0])  # of two labels every weighting is the same
    )


@pytest.mark.parametrize(("true", "predicted"), [([], []), ([3, 3], [3, 3])])
def test_undefined_is_none(true: list[int], predicted: list[int]) -> None:
    assert quadratic_weighted_kappa(true, predicted) is None


@pytest.mark.parametrize("strange", [-1, 6])
def test_grades_outside_the_scale_are_refused_by_value(strange: int) -> None:
    with pytest.raises(AcinusError, match=f"grade {strange} found, expected 0 to 5"):
        quadratic_weighted_kappa([0, strange], [0, 1])
    with pytest.raises(AcinusError, match=f"grade {strange} found"):
        quadratic_weighted_kappa([0, 1], [0, strange])


def test_what_is_no_pair_of_grades_is_refused() -> None:
    with pytest.raises(ValueError, match="2 true grades and 1 predicted"):
        quadratic_weighted_kappa([0, 1], [1])
    with pytest.raises(ValueError, match="whole numbers"):
        quadratic_weighted_kappa(np.array([0.5]), np.array([0.5]))
