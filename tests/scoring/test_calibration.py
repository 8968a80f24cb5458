"""Calibration figures by hand, against scikit-learn, and temperatures and offsets that are known beforehand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from acinus.scoring.calibration import (
    COLDEST,
    HOTTEST,
    Bins,
    brier,
    ece,
    fit_bias_corrected,
    fit_temperature,
    nll,
    reliability,
)
from acinus.scoring.scaling import Scaling, scaled


def drawn(count: int, classes: int, seed: int, scale: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax: perfectly calibrated at temperature 1."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, scale, (count, classes))
    labels = (softmax(logits, axis=1).cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    return logits, labels


def temper(probs: np.ndarray, temperature: float) -> np.ndarray:
    return scaled(probs, Scaling(temperature))


def test_bins_and_ece_by_hand() -> None:
    confidence = np.array([0.1, 0.4, 0.5, 0.9, 0.7, 0.8])
    correct = np.array([0, 1, 0, 1, 1, 0])
    found = reliability(confidence, correct, bins=2)  # (0, 0.5] holds 0.1, 0.4, 0.5
    assert found.edges == (0.0, 0.5, 1.0)
    assert found.count == (3, 3)
    assert found.confidence == pytest.approx((1 / 3, 0.8))
    assert found.accuracy == pytest.approx((1 / 3, 2 / 3))
    assert ece(found) == pytest.approx(0.5 * 0 + 0.5 * (0.8 - 2 / 3))


def test_edges_belong_to_the_lower_bin_and_empty_bins_have_no_mean() -> None:
    found = reliability(np.array([0.0, 0.25, 1.0]), np.array([False, True, True]), bins=4)
    assert found == Bins((0, 0.25, 0.5, 0.75, 1), (2, 0, 0, 1), (0.125, None, None, 1.0), (0.5, None, None, 1.0))
    assert ece(found) == pytest.approx(2 / 3 * 0.375)


def test_ece_is_what_is_promised_beyond_what_is_kept() -> None:
    correct = np.arange(1000) % 10 < 7  # right in 70 %
    assert ece(reliability(np.full(1000, 0.7), correct)) == pytest.approx(0, abs=1e-12)
    assert ece(reliability(np.full(1000, 0.95), correct)) == pytest.approx(0.25)
    assert ece(reliability(np.array([]), np.array([]))) is None


def test_ece_against_a_loop_over_the_bins() -> None:
    random = np.random.default_rng(8)
    confidence = random.random(500)
    correct = random.random(500) < confidence**2
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        expected += abs(correct[inside].sum() - confidence[inside].sum()) / 500
    assert ece(reliability(confidence, correct)) == pytest.approx(expected)


def test_brier_against_scikit_learn() -> None:
    logits, labels = drawn(200, 4, seed=2)
    probs = softmax(logits, axis=1)
    assert brier(probs, labels) == pytest.approx(brier_score_loss(labels, probs, labels=range(4), scale_by_half=False))
    two, answer = softmax(logits[:, :2], axis=1), labels % 2
    assert brier(two, answer) == pytest.approx(2 * brier_score_loss(answer, two[:, 1]))  # the convention: twice


def test_brier_by_hand() -> None:
    probs = np.array([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    assert brier(probs, np.array([0, 1, 2])) == pytest.approx((0 + (0.25 + 0.5625 + 0.0625) + 2) / 3)
    assert brier(np.empty((0, 3)), np.array([], dtype=int)) is None


def test_nll_against_scikit_learn_and_finite_at_zero() -> None:
    logits, labels = drawn(100, 3, seed=3)
    probs = softmax(logits, axis=1)
    assert nll(probs, labels) == pytest.approx(log_loss(labels, probs, labels=range(3)))
    assert nll(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-math.log(np.finfo(np.float32).tiny))
    assert nll(np.empty((0, 2)), np.array([], dtype=int)) is None


@given(st.integers(0, 1000), st.floats(0.05, 20))
def test_tempering_a_softmax_is_the_softmax_of_tempered_logits(seed: int, temperature: float) -> None:
    logits, _ = drawn(5, 4, seed)
    found = temper(softmax(logits, axis=1), temperature)
    assert found == pytest.approx(softmax(logits / temperature, axis=1), rel=1e-9)
    assert found.sum(axis=1) == pytest.approx(np.ones(5))


def test_temper_at_its_ends() -> None:
    probs = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    assert temper(probs, 1.0) == pytest.approx(probs)
    assert temper(probs, 0.01)[0] == pytest.approx([1, 0, 0])
    assert temper(probs, 1e6) == pytest.approx(np.full((2, 3), 1 / 3), abs=1e-3)
    assert np.isfinite(temper(np.array([[1.0, 0.0]]), 0.001)).all()
    back = temper(temper(probs[:1], 4.0), 0.25)
    assert back == pytest.approx(probs[:1])


def test_temper_takes_maps_with_the_classes_last() -> None:
    probs = np.random.default_rng(1).dirichlet([1, 1, 1], size=(2, 4))
    found = temper(probs, 2.0)
    assert found.shape == (2, 4, 3)
    assert found[1, 2] == pytest.approx(np.sqrt(probs[1, 2]) / np.sqrt(probs[1, 2]).sum())


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_a_known_temperature_is_found(true: float, classes: int) -> None:
    logits, labels = drawn(20_000, classes, seed=11)
    off = softmax(logits * true, axis=1)  # too sure by `true`
    assert fit_temperature(off, labels) == pytest.approx(true, rel=0.05)


def test_the_fit_is_the_minimum_of_the_loss_and_mends_calibration() -> None:
    logits, labels = drawn(3000, 3, seed=5)
    probs = softmax(2.5 * logits, axis=1).astype(np.float32)  # as a network gives them
    fitted = fit_temperature(probs, labels)
    grid = np.exp(np.linspace(math.log(COLDEST), math.log(HOTTEST), 4000))
    losses = [-log_softmax(2.5 * logits / one, axis=1)[np.arange(3000), labels].mean() for one in grid]
    assert fitted == pytest.approx(grid[int(np.argmin(losses))], rel=3e-3)
    before, after = (
        ece(reliability(one.max(axis=1), one.argmax(axis=1) == labels)) for one in (probs, temper(probs, fitted))
    )
    assert before is not None
    assert after is not None
    assert after < before / 3
    softer, sharp = nll(temper(probs, fitted), labels), nll(probs, labels)
    assert softer is not None
    assert sharp is not None
    assert softer < sharp
    assert fit_temperature(probs, labels) == fitted


def test_without_a_minimum_in_the_range_its_end_is_returned() -> None:
    probs = np.tile([0.9, 0.1], (20, 1))
    assert COLDEST < fit_temperature(probs, np.zeros(20, dtype=int)) < 0.1  # always right: 0 to rounding from there
    assert fit_temperature(probs, np.ones(20, dtype=int)) == pytest.approx(HOTTEST, rel=1e-4)  # always wrong


def test_a_zero_for_the_true_class_does_not_break_the_fit() -> None:
    logits, labels = drawn(2000, 2, seed=6)
    probs = softmax(logits, axis=1)
    probs[0], labels[0] = [1.0, 0.0], 1
    assert 1 < fit_temperature(probs, labels) < 3


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_scaling_a_softmax_is_the_softmax_of_scaled_logits(seed: int, temperature: float) -> None:
    logits, _ = drawn(6, 4, seed)
    bias = np.random.default_rng(seed).normal(0, 2, 4)
    found = scaled(softmax(logits, axis=1).reshape(2, 3, 4), Scaling(temperature, tuple(bias)))
    assert found.reshape(6, 4) == pytest.approx(softmax(logits / temperature + bias, axis=1), rel=1e-9)
    assert temper(softmax(logits, axis=1), temperature) == pytest.approx(softmax(logits / temperature, axis=1))


@pytest.mark.parametrize("seed", [1, 2])
def test_two_classes_give_the_logistic_regression_on_the_difference_of_logs(seed: int) -> None:
    """Platt's own form: slope 1/T, and the intercept is what the second class is above the first."""
    logits, labels = drawn(3000, 2, seed)
    probs = softmax(1.7 * logits + np.array([0.8, 0.0]), axis=1)
    found = fit_bias_corrected(probs, labels)
    difference = np.log(probs[:, 1]) - np.log(probs[:, 0])
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(difference[:, None], labels)
    assert 1 / found.temperature == pytest.approx(reference.coef_[0, 0], rel=1e-5)
    assert found.bias[1] - found.bias[0] == pytest.approx(reference.intercept_[0], abs=1e-5)


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("classes", [2, 5])
def test_a_known_temperature_with_known_offsets_is_found(true: float, classes: int) -> None:
    logits, labels = drawn(40_000, classes, seed=12)
    bias = np.linspace(-1, 1, classes) ** 3 + 0.2
    found = fit_bias_corrected(softmax(true * (logits - bias), axis=1), labels)
    assert found.temperature == pytest.approx(true, rel=0.05)
    assert np.array(found.bias) == pytest.approx(bias - bias.mean(), abs=0.06)
    assert sum(found.bias) == pytest.approx(0, abs=1e-9)


def test_the_fit_is_the_minimum_that_a_search_without_gradients_finds() -> None:
    logits, labels = drawn(1500, 3, seed=9)
    probs = softmax(3 * logits + np.array([1.0, -0.5, 0.0]), axis=1)

    def loss(at: np.ndarray) -> float:
        moved = at[0] * np.log(probs) + np.array([at[1], at[2], 0.0])
        return float(-log_softmax(moved, axis=1)[np.arange(1500), labels].mean())

    free = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000, "maxfev": 4000}
    expected = minimize(loss, [1.0, 0.0, 0.0], method="Nelder-Mead", options=free)
    found = fit_bias_corrected(probs, labels)
    assert nll(scaled(probs, found), labels) == pytest.approx(expected.fun, abs=1e-9)
    assert 1 / found.temperature == pytest.approx(expected.x[0], rel=1e-4)
    assert np.array(found.bias) - found.bias[2] == pytest.approx([*expected.x[1:], 0.0], abs=1e-4)
    single = nll(temper(probs, fit_temperature(probs, labels)), labels)
    assert single is not None
    assert expected.fun < single - 0.001  # the offsets are worth something here
    assert fit_bias_corrected(probs, labels) == found


def test_at_the_minimum_every_class_is_expected_as_often_as_it_is_there() -> None:
    """The derivative by an offset is mean p of the class less its share: 0 where the fit has arrived."""
    logits, labels = drawn(2000, 4, seed=10)
    probs = softmax(2 * logits + np.array([2.0, 0.0, 0.0, -1.0]), axis=1).astype(np.float32)
    mean = scaled(probs, fit_bias_corrected(probs, labels)).mean(axis=0)
    assert mean == pytest.approx(np.bincount(labels, minlength=4) / 2000, abs=1e-6)


def test_a_class_that_does_not_occur_has_no_offset() -> None:
    logits, labels = drawn(4000, 4, seed=13)
    kept = labels != 2
    found = fit_bias_corrected(softmax(logits[kept], axis=1), labels[kept])
    assert found.bias[2] == 0
    assert sum(found.bias) == pytest.approx(0, abs=1e-9)
    assert max(map(abs, found.bias)) > 0
    only = fit_bias_corrected(softmax(logits, axis=1)[labels == 1], labels[labels == 1])
    assert only.bias == (0, 0, 0, 0)


def test_classes_that_offsets_part_end_at_the_range() -> None:
    first = np.array([0.6, 0.7, 0.8, 0.9])
    found = fit_bias_corrected(np.stack([first, 1 - first], axis=1), np.array([1, 1, 0, 0]))
    assert found.temperature == pytest.approx(COLDEST, rel=0.01)
    assert all(math.isfinite(one) for one in found.bias)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: fit_temperature(np.empty((0, 2)), np.array([], dtype=int)), "no labelled items"),
        (lambda: nll(np.ones((2, 2)), np.array([0, 2])), "labels from 0 to 2, expected 0 to 1"),
        (lambda: brier(np.ones((2, 2)), np.array([0, -1])), "labels from -1 to 0"),
        (lambda: brier(np.ones(2), np.array([0, 1])), r"expected \(n, C\), \(n,\)"),
        (lambda: fit_bias_corrected(np.empty((0, 2)), np.array([], dtype=int)), "no labelled items"),
        (lambda: scaled(np.ones((1, 2)), Scaling(1.0, (0.1, 0.2, 0.3))), r"3 offsets for .* \(1, 2\)"),
        (lambda: Scaling(1.0, (math.inf, 0.0)), "expected finite"),
        (lambda: temper(np.ones((1, 2)), 0.0), "temperature 0.0"),
        (lambda: temper(np.ones((1, 2)), math.nan), "temperature nan"),
        (lambda: reliability(np.array([1.5]), np.array([1])), "expected 0 to 1"),
        (lambda: reliability(np.array([math.nan]), np.array([1])), "expected 0 to 1"),
        (lambda: reliability(np.array([0.5]), np.array([1, 0])), "one length"),
    ],
)
def test_what_makes_no_sense_is_refused(call: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()  # type: ignore[operator]
