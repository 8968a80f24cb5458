"""How far probabilities can be taken at their word: reliability, ECE, Brier score, temperature and offsets."""

import math
from dataclasses import dataclass

import numpy as np

from acinus.scoring.scaling import Scaling, logs, normalised

COLDEST, HOTTEST = 0.05, 20.0
"""Where `fit_temperature` and `fit_bias_corrected` look."""
MOST_OFFSET = 20.0
"""How far `fit_bias_corrected` moves a class: a factor of e^20 on its odds."""
_CLOSE = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}


@dataclass(frozen=True)
class Bins:
    """A reliability diagram: of each bin the items in it, their mean confidence and the share that is right.

    `edges` has one value more than the others. A bin without items has None twice.
    """

    edges: tuple[float, ...]
    count: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> Bins:
    """Sort items into `bins` equal widths of [0, 1]; a bin holds its upper edge, the first one also 0.

    confidence: (n,) probability of the answer given (the largest of an item's probabilities, or, for one
    class against the rest, that class's). correct: (n,) bool or 0/1, whether the answer is right.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017, section 2.
    """
    value, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if value.shape != right.shape or value.ndim != 1:
        raise ValueError(f"confidence of shape {value.shape}, correct of shape {right.shape}, expected one length")
    if value.size and not (value.min() >= 0 and value.max() <= 1):  # a NaN fails both
        raise ValueError(f"confidence from {value.min()} to {value.max()}, expected 0 to 1")
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.maximum(np.searchsorted(edges, value, side="left") - 1, 0)
    count = np.bincount(place, minlength=bins)
    sums = (np.bincount(place, weights=weights, minlength=bins) for weights in (value, right))
    means = [tuple(float(s / n) if n else None for s, n in zip(of_bin, count, strict=True)) for of_bin in sums]
    return Bins(tuple(edges.tolist()), tuple(count.tolist()), means[0], means[1])


def ece(bins: Bins) -> float | None:
    """Return the expected calibration error: |accuracy - confidence| of the bins, weighted by their counts.

    None without items. Source: Naeini et al., AAAI 2015; Guo et al., ICML 2017, equation 3.
    """
    total = sum(bins.count)
    gaps = (
        n * abs(accuracy - confidence)
        for n, confidence, accuracy in zip(bins.count, bins.confidence, bins.accuracy, strict=True)
        if confidence is not None and accuracy is not None
    )
    return math.fsum(gaps) / total if total else None


def brier(probs: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the mean over items of the squared errors summed over the classes (0 best, 2 worst).

    probs (n, C), labels (n,) class indices. This is Brier's own definition (Monthly Weather Review 78,
    1950), also for two classes: there it is twice the mean of (p - y)^2 of the positive class. None
    without items.
    """
    values, truth = _checked(probs, labels)
    if not truth.size:
        return None
    errors = values.copy()
    errors[np.arange(truth.size), truth] -= 1.0
    return float((errors**2).sum(axis=1).mean())


def nll(probs: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the mean of -log p of the true class; None without items. probs (n, C), labels (n,)."""
    values, truth = _checked(probs, labels)
    if not truth.size:
        return None
    return float(-logs(values)[np.arange(truth.size), truth].mean())


def fit_temperature(probs: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature in (0.05, 20) that minimises `nll(scaled(probs, Scaling(T)), labels)`.

    The loss is convex in 1/T, so it has one minimum. Where every item is right there is none: the result
    is then near the lower end, where the loss is 0 to rounding. Deterministic. All items weigh the same.

    Raises:
        ValueError: no items, shapes that do not fit, labels that are no class.
    Source: Guo et al., ICML 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    values, truth = _checked(probs, labels)
    if not truth.size:
        raise ValueError("no labelled items to fit a temperature on")
    z, item = logs(values), np.arange(truth.size)

    def loss(log_temperature: float) -> float:
        return float(-normalised(z / math.exp(log_temperature))[item, truth].mean())

    ends = (math.log(COLDEST), math.log(HOTTEST))
    return math.exp(float(minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6}).x))


def fit_bias_corrected(probs: np.ndarray, labels: np.ndarray) -> Scaling:
    """Return temperature and offsets that minimise `nll(scaled(probs, scaling), labels)`; all items weigh the same.

    The loss is convex in (1/T, bias), T is within (0.05, 20). The offsets of the classes that occur among the labels
    have mean 0 (to rounding); a class that does not occur keeps 0, since its own best is minus infinity: it stays
    where it was against the geometric mean of the others. Where some temperature and offsets make every item right
    there is no minimum: the result is then at an end of the range. Deterministic.

    Raises:
        ValueError: no items, shapes that do not fit, labels that are no class.
    Source: Alexandari, Kundaje, Shrikumar, Maximum likelihood with bias-corrected calibration is hard-to-beat at
    label shift adaptation, ICML 2020, section 3 (there: BCTS).
    """
    from scipy.optimize import minimize

    values, truth = _checked(probs, labels)
    if not truth.size:
        raise ValueError("no labelled items to fit a temperature and offsets on")
    z, present = logs(values), np.unique(truth)
    share = np.bincount(truth, minlength=z.shape[1])[present] / truth.size
    item = np.arange(truth.size)

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        log_p = normalised(at[0] * z + _offsets(at[1:], present, z.shape[1]))
        prob = np.exp(log_p)
        of_bias = prob.mean(axis=0)[present] - share
        of_inverse = float(((prob * z).sum(axis=1) - z[item, truth]).mean())
        return float(-log_p[item, truth].mean()), np.array([of_inverse, *(of_bias - of_bias.mean())])

    start = np.array([1 / fit_temperature(probs, labels), *np.zeros(present.size)])
    bounds = [(1 / HOTTEST, 1 / COLDEST), *[(-MOST_OFFSET, MOST_OFFSET)] * present.size]
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=_CLOSE).x
    return Scaling(1 / float(best[0]), tuple(_offsets(best[1:], present, z.shape[1]).tolist()))


def _offsets(free: np.ndarray, present: np.ndarray, classes: int) -> np.ndarray:
    """Return an offset per class: mean 0 over the classes present, 0 for the others."""
    bias = np.zeros(classes)
    bias[present] = free - free.mean()
    return bias


def _checked(probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probs as float64 (n, C) and labels as int64 (n,), or refuse them."""
    values, truth = np.asarray(probs, dtype=np.float64), np.asarray(labels)
    if values.ndim != 2 or truth.shape != values.shape[:1]:
        raise ValueError(f"probabilities of shape {values.shape}, labels of shape {truth.shape}, expected (n, C), (n,)")
    if truth.size and not (truth.min() >= 0 and truth.max() < values.shape[1]):
        raise ValueError(f"labels from {truth.min()} to {truth.max()}, expected 0 to {values.shape[1] - 1}")
    return values, truth.astype(np.int64)
