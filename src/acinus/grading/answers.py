"""From a network's logits to a slide's answer, and what validation slides decide: temperature, threshold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acinus.grading.linear import Goal
from acinus.grading.mil import Loss, class_probs
from acinus.grading.targets import Kind
from acinus.scoring.calibration import COLDEST, HOTTEST
from acinus.scoring.decisions import CLASSED, HALF
from acinus.scoring.scaling import Scaling, logs, normalised, scaled

INTERVALS = 4
"""Of time, in which as many of the training slides' events lie each; less where event times are equal."""


def loss_of(kind: Kind, aggregator: str) -> Loss:
    """Return what a network of a kind of target learns by."""
    if kind in CLASSED:
        return "ordinal" if kind == "ordinal" and aggregator != "mean" else "cross_entropy"
    if kind == "regression":
        return "huber"
    return "cox" if aggregator == "mean" else "hazard"


def goal_of(kind: Kind) -> Goal:
    """Return what a linear model of a kind of target is."""
    return "classes" if kind in CLASSED else "number" if kind == "regression" else "survival"


# ---------------------------------------------------------------- numbers and times


@dataclass(frozen=True)
class Scale:
    """What makes labels fit for a network. mean, std: of numbers. edges: ends of intervals of time, from 0, rising."""

    mean: float = 0.0
    std: float = 1.0
    edges: tuple[float, ...] = ()


def scale_of(kind: Kind, values: np.ndarray, events: np.ndarray) -> Scale:
    """Return the scale of the training slides' labels. values, events: see `linear.Truths`."""
    if kind == "regression":
        return Scale(float(values.mean()), float(values.std()) or 1.0)
    if kind != "survival":
        return Scale()
    inner = np.unique(np.quantile(values[events == 1], np.arange(1, INTERVALS) / INTERVALS))
    last = max(float(values.max()), float(inner[-1]))
    return Scale(edges=(0.0, *inner.tolist(), last))


def label_of(value: float, event: int, kind: Kind, scale: Scale) -> tuple[float, int]:
    """Return the label and event that `mil.bag_loss` takes of a slide.

    A time becomes the number of intervals survived: with the event all before the one that it lies in, else all
    through half of which the slide was seen.
    """
    if kind == "regression":
        return (value - scale.mean) / scale.std, 1
    if kind != "survival":
        return value, 1
    edges = np.array(scale.edges)
    if event:
        return float(np.searchsorted(edges[1:-1], value, side="left")), 1
    return float(((edges[:-1] + edges[1:]) / 2 <= value).sum()), 0


def answer_of(logits: Tensor, loss: Loss, scale: Scale) -> np.ndarray:
    """Return float64: the probability of every class, or one number: the value, or the risk, the higher the sooner.

    The risk of hazards is minus the mean survival time up to the last edge (straight lines between edges), so that
    models with other intervals agree in its unit; that of loss cox is the log hazard.
    """
    values = logits.detach().double()
    if loss == "huber":
        return (values * scale.std + scale.mean).numpy()
    if loss == "cox":
        return values.numpy()
    if loss == "hazard":
        alive = np.concatenate([[1.0], np.cumprod(1.0 - torch.sigmoid(values).numpy())])
        return -np.array([np.sum(np.diff(scale.edges) * (alive[:-1] + alive[1:]) / 2)])
    return class_probs(values, loss).numpy()


# ---------------------------------------------------------------- what validation slides decide


@dataclass(frozen=True)
class Decision:
    """What validation slides decided. temperature: see `scaling.Scaling`. threshold: of the second of two classes."""

    temperature: float = 1.0
    threshold: float = HALF

    def calibrated(self, answer: np.ndarray, kind: Kind) -> np.ndarray:
        """Return an answer with its probabilities calibrated; a number stays as it is."""
        return scaled(answer, Scaling(self.temperature)) if kind in CLASSED else answer


def fit_decision(kind: Kind, probs: np.ndarray, labels: np.ndarray) -> Decision:
    """Return the decision of validation slides. probs: (n, classes), uncalibrated. labels: int (n,)."""
    if kind not in CLASSED or not len(labels):
        return Decision()
    temperature = smoothed_temperature(probs, labels)
    positive = scaled(probs, Scaling(temperature))[:, 1]
    return Decision(temperature, best_threshold(positive, labels) if kind == "binary" else HALF)


def smoothed_temperature(probs: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature of least log-loss against labels that leave some doubt: of few slides, all of them right,
    plain labels would ask for certainty.

    A class of n slides is believed with (n + 1) / (n + classes), each other one with 1 / (n + classes): Platt,
    Probabilistic outputs for support vector machines (1999), section 2.2, for any number of classes.
    """
    from scipy.optimize import minimize_scalar

    counts = np.bincount(labels, minlength=probs.shape[1])[labels]
    believed = np.repeat(1.0 / (counts + probs.shape[1])[:, None], probs.shape[1], axis=1)
    believed[np.arange(len(labels)), labels] *= counts + 1
    z = logs(probs)

    def loss(log_temperature: float) -> float:
        return float(-(believed * normalised(z / math.exp(log_temperature))).sum(axis=1).mean())

    ends = (math.log(COLDEST), math.log(HOTTEST))
    return math.exp(float(minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6}).x))


def best_threshold(probs: np.ndarray, labels: np.ndarray) -> float:
    """Return the threshold of the best balanced accuracy, of equals the one nearest to a half.

    Thresholds lie midway between neighbouring probabilities; a half is one too, and the one where a class is absent.
    """
    positive = labels == 1
    if positive.all() or not positive.any():
        return HALF
    values = np.unique(probs)
    best, most = HALF, -1.0
    for threshold in sorted([HALF, *((values[1:] + values[:-1]) / 2).tolist()], key=lambda one: abs(one - HALF)):
        called = probs >= threshold
        score = float(called[positive].mean() + (~called[~positive]).mean())
        if score > most + 1e-12:
            best, most = threshold, score
    return best


def spread_of(kind: Kind, by_model: np.ndarray, predicted: float) -> float:
    """Return the standard deviation over models, (models, outputs), of the answer's probability, or of the number."""
    return float(by_model[:, int(predicted) if kind in CLASSED else 0].std())


def counts_of(labels: Sequence[float], classes: int) -> np.ndarray:
    """Return how many slides each class has, int64 (classes,)."""
    return np.bincount(np.asarray(labels, dtype=np.int64), minlength=classes)
