"""Survival against published tables: Freireich et al., Blood 21 (1963) 699, as in Kleinbaum and Klein's textbook."""

import numpy as np
import pytest
from scipy.stats import CensoredData, ecdf

from acinus.scoring.survival import c_index, high_risk, kaplan_meier, log_rank

TREATED = np.array([6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35], dtype=np.float64)
TREATED_EVENT = np.array([1] * 9 + [0] * 12)
PLACEBO = np.array([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23], dtype=np.float64)
TIME = np.concatenate([TREATED, PLACEBO])
EVENT = np.concatenate([TREATED_EVENT, np.ones(21, dtype=np.int64)])
IS_PLACEBO = np.arange(42) >= 21


def test_kaplan_meier_is_that_of_the_textbook() -> None:
    curve = kaplan_meier(TREATED, TREATED_EVENT)
    assert curve.times == (6, 7, 10, 13, 16, 22, 23)
    assert curve.at_risk == (21, 17, 15, 12, 11, 7, 6)
    assert curve.survival == pytest.approx((0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448), abs=5e-4)


def test_kaplan_meier_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    time, event = rng.integers(1, 9, 60).astype(np.float64), rng.integers(0, 2, 60)
    other = ecdf(CensoredData(uncensored=time[event == 1], right=time[event == 0])).sf
    curve = kaplan_meier(time, event)
    assert curve.survival == pytest.approx(other.evaluate(np.array(curve.times)))


def test_log_rank_is_that_of_the_textbook() -> None:
    assert log_rank(TIME, EVENT, IS_PLACEBO) == pytest.approx(4.17e-5, rel=0.01)  # chi2 = 16.79 of one degree
    assert log_rank(TIME, EVENT, np.zeros(42, dtype=bool)) is None
    assert log_rank(TIME, np.zeros(42, dtype=np.int64), IS_PLACEBO) is None


def test_c_index_of_a_table_worked_by_hand() -> None:
    # a dies at 2, b leaves at 3, c dies at 3, d dies at 5: pairs ab ac ad cb (b lived on) cd
    time, event = np.array([2.0, 3.0, 3.0, 5.0]), np.array([1, 0, 1, 1])
    assert c_index(time, event, np.array([4.0, 1.0, 3.0, 2.0])) == 1.0
    assert c_index(time, event, np.array([1.0, 3.0, 2.0, 4.0])) == 0.0
    assert c_index(time, event, np.array([4.0, 3.0, 3.0, 2.0])) == pytest.approx(4.5 / 5)
    assert c_index(time, np.zeros(4, dtype=np.int64), time) is None
    assert c_index(np.array([2.0, 2.0]), np.array([1, 1]), np.array([0.0, 1.0])) is None  # nobody was first


def test_c_index_is_the_share_of_pairs_counted_one_by_one() -> None:
    rng = np.random.default_rng(1)
    time, event, risk = rng.integers(1, 6, 40).astype(np.float64), rng.integers(0, 2, 40), rng.integers(0, 4, 40)
    right, pairs = 0.0, 0
    for i in range(40):
        for j in range(40):
            if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j])):
                pairs += 1
                right += 1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0
    assert c_index(time, event, risk.astype(np.float64)) == pytest.approx(right / pairs)


def test_pairs_of_two_strata_are_not_compared() -> None:
    time, event, risk = np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4, dtype=np.int64), np.array([2.0, 1.0, 9.0, 8.0])
    stratum = np.array([1, 1, 2, 2])
    assert c_index(time, event, risk) == pytest.approx(2 / 6)
    assert c_index(time, event, risk, stratum) == 1.0
    assert high_risk(risk, stratum).tolist() == [True, False, True, False]


def test_high_risk_is_above_the_median() -> None:
    assert high_risk(np.array([1.0, 2.0, 3.0])).tolist() == [False, False, True]
    assert high_risk(np.zeros(0)).tolist() == []
