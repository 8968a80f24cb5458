"""Linear models of slides against published numbers, scikit-learn, and slopes taken by differences."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize_scalar
from sklearn.linear_model import LogisticRegression, Ridge

from acinus.grading.linear import ABSENT, STRENGTHS, Truths, as_probs, cox_loss, fit_linear, loss_of

TREATED = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
FREIREICH = Truths(np.array(TREATED + PLACEBO, dtype=np.float64), np.array([1] * 9 + [0] * 12 + [1] * 21))


def test_cox_regression_finds_the_published_hazard() -> None:
    """Freireich et al. 1963: log hazard of placebo against 6-MP 1.509 by Breslow's way with equal times."""
    placebo = np.repeat([0.0, 1.0], 21)
    best = minimize_scalar(lambda weight: cox_loss(weight * placebo, FREIREICH)[0], bracket=(0, 3)).x
    assert best == pytest.approx(1.509, abs=1e-3)


def test_the_slope_of_the_partial_likelihood() -> None:
    rng = np.random.default_rng(0)
    truths = Truths(rng.integers(1, 6, 20).astype(np.float64), rng.integers(0, 2, 20))
    at = rng.normal(size=20) * 3
    slope = approx_fprime(at, lambda eta: cox_loss(eta, truths)[0], 1e-7)
    assert cox_loss(at, truths)[1] == pytest.approx(slope, abs=1e-4)
    assert cox_loss(at + 5, truths)[0] == pytest.approx(cox_loss(at, truths)[0])  # only differences count


def test_the_fit_of_a_survival_orders_new_slides() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 5))
    time = rng.exponential(np.exp(-1.5 * x[:, 0]))
    truths = Truths(time, (rng.random(200) < 0.7).astype(np.int64))
    model = fit_linear(x, truths, "survival", 1)
    assert np.corrcoef(model.logits(x)[:, 0], x[:, 0])[0, 1] > 0.95


def test_logistic_regression_is_scikit_learns() -> None:
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(60, 4)) * 3 + 1, np.arange(60) % 3
    x[:, 1] += labels
    for classes in (2, 3):
        truths = Truths(np.minimum(labels, classes - 1).astype(np.float64), np.ones(60))
        model = fit_linear(x, truths, "classes", classes)
        standard = (x - x.mean(axis=0)) / x.std(axis=0)
        other = LogisticRegression(C=0.01, max_iter=1000).fit(standard, truths.value)
        assert as_probs(model.logits(x)) == pytest.approx(other.predict_proba(standard), abs=1e-6)


def test_ridge_regression_is_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 80))
    value = x[:, 0] * 40 + 1000
    model = fit_linear(x, Truths(value, np.ones(50)), "number", 1)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    assert model.logits(x)[:, 0] == pytest.approx(Ridge(alpha=100.0).fit(standard, value).predict(standard))


def test_a_class_that_no_training_slide_has_is_never_said() -> None:
    truths = Truths(np.array([0.0, 2.0, 0.0, 2.0]), np.ones(4))
    x = np.array([[0.0], [1.0], [0.1], [0.9]])
    probs = as_probs(fit_linear(x, truths, "classes", 3).logits(x))
    assert probs[:, 1].max() < np.exp(ABSENT) * 2
    one = fit_linear(x, Truths(np.ones(4), np.ones(4)), "classes", 3)
    assert as_probs(one.logits(x))[:, 1] == pytest.approx(1.0)


def test_the_penalty_is_the_best_on_validation_slides() -> None:
    rng = np.random.default_rng(4)
    x, noise = rng.normal(size=(40, 30)), rng.integers(0, 2, 40).astype(np.float64)
    val = rng.normal(size=(40, 30)), Truths(rng.integers(0, 2, 40).astype(np.float64), np.ones(40))
    losses = []
    for strength in STRENGTHS:
        standard = (x - x.mean(axis=0)) / x.std(axis=0)
        fitted = LogisticRegression(C=strength, max_iter=1000).fit(standard, noise)
        probs = fitted.predict_proba((val[0] - x.mean(axis=0)) / x.std(axis=0))
        losses.append(-np.log(probs[np.arange(40), val[1].value.astype(int)]).mean())
    model = fit_linear(x, Truths(noise, np.ones(40)), "classes", 2, val)
    assert loss_of(model.logits(val[0]), val[1], "classes") == pytest.approx(min(losses), abs=1e-6)
