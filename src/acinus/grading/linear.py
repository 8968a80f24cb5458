"""Linear models of slides: logistic regression, ridge regression, Cox regression, with one L2 penalty."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from acinus.scoring.scaling import normalised

Goal = Literal["classes", "number", "survival"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Weights of the data against the penalty |w|^2 / 2 that are tried on validation slides."""
PLAIN = 1e-2
"""The one that is taken without any."""
ABSENT = -30.0
"""Logit of a class that no training slide has."""


@dataclass(frozen=True, eq=False)
class Truths:
    """What slides are, row by row. value: float64 (n,), class index, number or time. event: int64 (n,), of survival."""

    value: np.ndarray
    event: np.ndarray

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, eq=False)
class Linear:
    """weights @ ((x - mean) / scale) + bias. mean, scale: (d,). weights: (outputs, d). bias: (outputs,)."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return float64 (n, outputs) of float (n, d): of every class; the number; the log hazard."""
        standard = (np.asarray(x, dtype=np.float64) - self.mean) / self.scale
        result: np.ndarray = standard @ self.weights.T + self.bias
        return result


def fit_linear(
    x: np.ndarray, truths: Truths, goal: Goal, classes: int, val: tuple[np.ndarray, Truths] | None = None
) -> Linear:
    """Return the model of x, float (n, d), that is best on the validation slides, of STRENGTHS. Deterministic."""
    mean, scale = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 1e-9, scale, 1.0)
    standard = (x - mean) / scale
    best, least = None, np.inf
    for strength in STRENGTHS if val is not None and len(val[1]) else (PLAIN,):
        weights, bias = _FITS[goal](standard, truths, classes, strength)
        model = Linear(mean, scale, weights, bias)
        loss = loss_of(model.logits(val[0]), val[1], goal) if val is not None and len(val[1]) else 0.0
        if best is None or loss < least - 1e-12:
            best, least = model, loss
    return best  # type: ignore[return-value]  # STRENGTHS is not empty


def loss_of(logits: np.ndarray, truths: Truths, goal: Goal) -> float:
    """Return the mean log-loss or squared error, or the negative log partial likelihood."""
    if goal == "classes":
        return float(-normalised(logits)[np.arange(len(truths)), truths.value.astype(np.int64)].mean())
    if goal == "number":
        return float(((logits[:, 0] - truths.value) ** 2).mean())
    return cox_loss(logits[:, 0], truths)[0]


def _logistic(x: np.ndarray, truths: Truths, classes: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    labels = truths.value.astype(np.int64)
    seen = np.unique(labels)
    weights, bias = np.zeros((classes, x.shape[1])), np.full(classes, ABSENT)
    if len(seen) == 1:
        bias[seen] = 0.0
        return weights, bias
    model = LogisticRegression(C=strength, max_iter=10_000).fit(x, labels)
    if len(seen) == 2:  # scikit-learn has the log odds of the second against the first
        weights[seen[1]], bias[seen] = model.coef_[0], (0.0, model.intercept_[0])
    else:
        weights[seen], bias[seen] = model.coef_, model.intercept_
    return weights, bias


def _ridge(x: np.ndarray, truths: Truths, classes: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import Ridge

    del classes
    spread = float(truths.value.std()) or 1.0  # the penalty is meant for numbers of unit spread
    model = Ridge(alpha=1.0 / strength, solver="svd").fit(x, truths.value / spread)
    return model.coef_[None] * spread, np.array([model.intercept_ * spread])


def _cox(x: np.ndarray, truths: Truths, classes: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import minimize

    del classes

    def penalised(weights: np.ndarray) -> tuple[float, np.ndarray]:
        loss, slope = cox_loss(x @ weights, truths)
        return strength * loss + weights @ weights / 2, strength * (x.T @ slope) + weights

    best = minimize(penalised, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    return best[None], np.zeros(1)


def cox_loss(log_hazard: np.ndarray, truths: Truths) -> tuple[float, np.ndarray]:
    """Return the negative log partial likelihood and its slope by each log hazard, float64 (n,).

    Equal times by Breslow. Source: Cox, Regression models and life-tables, J. R. Stat. Soc. B 34 (1972) 187-220.
    """
    if not len(truths):
        return 0.0, np.zeros(0)
    order = np.argsort(truths.value, kind="stable")
    eta, time, event = log_hazard[order], truths.value[order], truths.event[order] == 1
    first = np.searchsorted(time, time, side="left")  # everybody from here on is at risk
    at_risk = np.logaddexp.accumulate(eta[::-1])[::-1][first]
    loss = float((at_risk - eta)[event].sum())
    shares = np.where(event, np.exp(-at_risk + eta.max()), 0.0)
    upto = np.cumsum(shares)[np.searchsorted(time, time, side="right") - 1]  # of the events until each one's time
    slope = np.empty_like(eta)
    slope[order] = np.exp(eta - eta.max()) * upto - event
    return loss, slope


_FITS = {"classes": _logistic, "number": _ridge, "survival": _cox}


def as_probs(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits of classes, (n, classes)."""
    return np.exp(normalised(logits))


def scaled_back(linear: Linear, mean: float, std: float) -> Linear:
    """Return the model of (value - mean) / std where `linear` is that of the value."""
    return replace(linear, weights=linear.weights / std, bias=(linear.bias - mean) / std)
