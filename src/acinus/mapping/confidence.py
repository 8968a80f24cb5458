"""What a network's probabilities are worth: the temperature, and the figures before and after it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from acinus.scoring.calibration import brier, ece, fit_temperature, nll, reliability, temper

BINS = 15


@dataclass(frozen=True)
class Confidence:
    """A temperature and what it does to the probabilities it was fitted on.

    before, after: ece, brier, nll (None without scores) and `reliability`, a JSON object of the bins. note: why the
    temperature is 1, where it was not fitted; else None.
    """

    temperature: float
    n_scores: int
    before: dict[str, Any]
    after: dict[str, Any]
    note: str | None


def confidence(probs: np.ndarray, labels: np.ndarray, fit: bool) -> Confidence:
    """Fit the temperature on probs (n, classes) of known labels (n,), or leave it at 1.

    A network without a single wrong answer has no finite best temperature (Guo et al. 2017 minimise the negative
    log-likelihood, which then falls without end), and one answer throughout tells nothing either: both keep 1.
    """
    note = _why_not(probs, labels, fit)
    temperature = 1.0 if note else round(fit_temperature(probs, labels), 6)
    after = probs if note else temper(probs, temperature)
    return Confidence(temperature, len(labels), figures(probs, labels), figures(after, labels), note)


def figures(probs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return ece, brier, nll (None without scores) and the reliability bins of the most probable class, for JSON."""
    if not len(labels):
        return {"ece": None, "brier": None, "nll": None, "reliability": None}
    bins = reliability(probs.max(axis=1), probs.argmax(axis=1) == labels, BINS)
    return {"ece": ece(bins), "brier": brier(probs, labels), "nll": nll(probs, labels), "reliability": asdict(bins)}


def _why_not(probs: np.ndarray, labels: np.ndarray, fit: bool) -> str | None:
    if not fit:
        return "calibrate.temperature is false"
    if not len(labels):
        return "no validation scores"
    right = int(np.count_nonzero(probs.argmax(axis=1) == labels))
    return None if 0 < right < len(labels) else f"{right} of {len(labels)} validation scores are right: nothing to fit"
