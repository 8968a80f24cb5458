"""What a network's probabilities are worth: temperature and offsets, and the figures before and after them."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from acinus.scoring.calibration import brier, ece, fit_bias_corrected, fit_temperature, nll, reliability
from acinus.scoring.scaling import Scaling, scaled

BINS = 15


@dataclass(frozen=True)
class Confidence:
    """A scaling and what it does to the probabilities it was fitted on.

    before, after: ece, brier, nll (None without scores) and `reliability`, a JSON object of the bins. note: why
    there is no scaling, or no offset, where it was asked for; else None.
    """

    scaling: Scaling
    n_scores: int
    before: dict[str, Any]
    after: dict[str, Any]
    note: str | None


def confidence(probs: np.ndarray, labels: np.ndarray, fit: bool, bias: bool = False) -> Confidence:
    """Fit the temperature (and with `bias` an offset per class) on probs (n, classes) of known labels (n,).

    A network without a single wrong answer has no finite best temperature (Guo et al. 2017 minimise the negative
    log-likelihood, which then falls without end), and one answer throughout tells nothing either: both keep 1. Where
    offsets would leave no wrong answer the same holds for them: it is then the temperature alone.
    """
    before, why_not = figures(probs, labels), _why_not(probs, labels, fit)
    if why_not:
        return Confidence(Scaling(), len(labels), before, figures(probs, labels), why_not)
    scaling, note = _rounded(Scaling(fit_temperature(probs, labels))), None
    if bias:
        corrected = _rounded(fit_bias_corrected(probs, labels))
        if (scaled(probs, corrected).argmax(axis=1) == labels).all():
            note = "no offsets: they would leave no validation score wrong"
        else:
            scaling = corrected
    return Confidence(scaling, len(labels), before, figures(scaled(probs, scaling), labels), note)


def _rounded(scaling: Scaling) -> Scaling:
    """Return it to six places, as it is written; no minus zero."""
    return Scaling(round(scaling.temperature, 6), tuple(round(one, 6) + 0.0 for one in scaling.bias))


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
