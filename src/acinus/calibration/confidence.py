"""What a network's probabilities are worth: temperature and offsets, and the calibration before and after them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from acinus.scoring.bootstrap import paired_bootstrap
from acinus.scoring.calibration import brier, ece, fit_bias_corrected, fit_temperature, nll, reliability
from acinus.scoring.scaling import AS_TRAINED, Scaling, logs, scaled

BINS = 15
FOLDS = 10
"""Most parts that the validation slides are dealt into, each judged by a scaling of the others."""
RESAMPLES = 1000
ECE_SLACK = 0.002
"""A rise of the calibration error that is none: a few scores in another bin make as much."""

Fit = Callable[[np.ndarray, np.ndarray], Scaling]
"""probs (n, classes) and labels (n,) -> the scaling that is best there."""


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


def confidence(
    probs: np.ndarray, labels: np.ndarray, groups: Sequence[str], fit: bool, bias: bool = False, seed: int = 0
) -> Confidence:
    """Fit the temperature, and with `bias` then an offset per class, and keep each only where it wins.

    probs (n, classes) of known labels (n,), groups: the patient (or slide) of each. A fit wins on slides that it was
    not made on: the groups are dealt into FOLDS parts (fewer groups: each its own), each is scaled by a fit of the
    others, and

    - the log-loss of the scores falls, by a paired 95 % interval over resampled groups that is above 0;
    - their expected calibration error does not rise (by more than ECE_SLACK): the log-loss may fall where it does.

    The temperature is held against none, the offsets against the temperature alone. With a single group nothing wins.
    A network without a single wrong answer has no finite best temperature (Guo et al. 2017 minimise the negative
    log-likelihood, which then falls without end), and one answer throughout tells nothing either: both keep 1. Where
    offsets would leave no wrong answer the same holds for them: it is then the temperature alone.
    """
    before = calibration_of(probs, labels)
    if why_not := _why_not(probs, labels, fit):
        return Confidence(AS_TRAINED, len(labels), before, before, why_not)
    scaling, notes = AS_TRAINED, list[str]()
    current = probs  # as every group is without a fit of its own
    fits: dict[str, Fit] = {"temperature": lambda p, y: _rounded(Scaling(fit_temperature(p, y)))}
    if bias:
        fits["offsets"] = lambda p, y: _rounded(fit_bias_corrected(p, y))
    for name, make in fits.items():
        fitted = make(probs, labels)
        if name == "offsets" and (scaled(probs, fitted).argmax(axis=1) == labels).all():
            notes.append("no offsets: they would leave no validation score wrong")
            continue
        apart = held_out(probs, labels, np.asarray(groups, dtype=str), make)
        reason = _no_gain(current, apart, labels, groups, seed)
        if reason is None:
            scaling, current = fitted, apart
        else:
            notes.append(f"no {name}: {reason}")
    after = before if scaling == AS_TRAINED else calibration_of(scaled(probs, scaling), labels)
    return Confidence(scaling, len(labels), before, after, "; ".join(notes) or None)


def held_out(probs: np.ndarray, labels: np.ndarray, groups: np.ndarray, make: Fit) -> np.ndarray:
    """Return probs (n, classes) scaled part by part, each by the fit of all other parts; as they are of one group."""
    names, group = np.unique(groups, return_inverse=True)
    parts = min(FOLDS, len(names))
    result = np.array(probs, dtype=np.float64)
    for part in range(parts) if parts > 1 else ():
        inside = group % parts == part
        result[inside] = scaled(probs[inside], make(probs[~inside], labels[~inside]))
    return result


def calibration_of(probs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return ece, brier, nll (None without scores) and the reliability bins of the most probable class, for JSON."""
    if not len(labels):
        return {"ece": None, "brier": None, "nll": None, "reliability": None}
    bins = reliability(probs.max(axis=1), probs.argmax(axis=1) == labels, BINS)
    return {"ece": ece(bins), "brier": brier(probs, labels), "nll": nll(probs, labels), "reliability": asdict(bins)}


def _rounded(scaling: Scaling) -> Scaling:
    """Return it to six places, as it is written; no minus zero."""
    return Scaling(round(scaling.temperature, 6), tuple(round(offset, 6) + 0.0 for offset in scaling.bias))


def _no_gain(before: np.ndarray, after: np.ndarray, labels: np.ndarray, groups: Sequence[str], seed: int) -> str | None:
    """Return why scaled probabilities do not win over others, None where they do."""
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < 2:
        return "the scores are of a single validation slide or patient"
    number = np.bincount(group)

    def mean_loss(probs: np.ndarray) -> Callable[[np.ndarray], float | None]:
        loss = np.bincount(group, weights=-logs(probs)[np.arange(len(labels)), labels])
        return lambda rows: float(loss[rows].sum() / number[rows].sum())

    gain = paired_bootstrap(names.tolist(), mean_loss(after), mean_loss(before), RESAMPLES, seed)
    fall, low, high = (value or 0.0 for value in gain[:3])
    if low <= 0:
        change = "falls"
        if fall < 0:
            change, fall, low, high = "rises", -fall, -high + 0.0, -low + 0.0
        holds = ", which holds 0" if low <= 0 <= high else ""
        return (
            f"on slides it was not fitted on the log-loss {change} by {fall:.4f}, "
            f"95 % interval {low:.4f} to {high:.4f}{holds}"
        )
    errors = [calibration_of(probs, labels)["ece"] for probs in (before, after)]
    if errors[1] > errors[0] + ECE_SLACK:
        return f"on slides it was not fitted on the calibration error rises from {errors[0]:.4f} to {errors[1]:.4f}"
    return None


def _why_not(probs: np.ndarray, labels: np.ndarray, fit: bool) -> str | None:
    if not fit:
        return "calibrate.temperature is false"
    if not len(labels):
        return "no validation scores"
    right = int(np.count_nonzero(probs.argmax(axis=1) == labels))
    return None if 0 < right < len(labels) else f"{right} of {len(labels)} validation scores are right: nothing to fit"
