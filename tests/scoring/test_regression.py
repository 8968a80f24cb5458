"""Figures of numbers against scikit-learn and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score

from acinus.scoring.regression import mae, pearson, r2, spearman

NUMBERS = st.lists(st.tuples(*[st.integers(-20, 20)] * 2), min_size=3, max_size=30)


@given(NUMBERS)
def test_as_scikit_learn_and_scipy_say(pairs: list[tuple[int, int]]) -> None:
    true, predicted = np.array(pairs, dtype=np.float64).T
    assert mae(true, predicted) == pytest.approx(mean_absolute_error(true, predicted))
    if np.ptp(true) == 0:
        assert r2(true, predicted) is None
    else:
        assert r2(true, predicted) == pytest.approx(r2_score(true, predicted))
    if np.ptp(true) == 0 or np.ptp(predicted) == 0:
        assert pearson(true, predicted) is None
        assert spearman(true, predicted) is None
    else:
        assert pearson(true, predicted) == pytest.approx(stats.pearsonr(true, predicted).statistic, abs=1e-12)
        assert spearman(true, predicted) == pytest.approx(stats.spearmanr(true, predicted).statistic, abs=1e-12)


def test_nothing_is_undefined() -> None:
    nothing = np.zeros(0)
    assert [figure(nothing, nothing) for figure in (mae, r2, pearson, spearman)] == [None] * 4
