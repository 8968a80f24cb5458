"""The operating point of the best figure: Optuna over threshold and clean-up, then what makes no difference undone."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna

from acinus import params
from acinus.mapping.operating_point import OperatingPoint
from acinus.mapping.point_score import Result

Evaluate = Callable[[OperatingPoint], Result]
LOWEST, HIGHEST, STEP = 0.05, 0.95, 0.01
"""Thresholds searched."""
PLAIN: dict[str, float] = {"smoothing_px": 0.0, "max_hole_px": 0, "min_region_px": 0, "threshold": 0.5}
"""What is searched, and the value that means "as it is"; undone in this order."""


@dataclass(frozen=True)
class Tried:
    """One trial: the point's searched settings and its value, None where it is undefined."""

    settings: dict[str, float]
    value: float | None


@dataclass(frozen=True)
class Found:
    """The chosen point, its value, that of the plain point (threshold 0.5, no clean-up), and every trial in order."""

    point: OperatingPoint
    value: float | None
    value_plain: float | None
    tried: tuple[Tried, ...]


def search(
    evaluate: Evaluate, plain: OperatingPoint, settings: params.Calibrate, with_threshold: bool, seed: int
) -> Found:
    """Return the point of the highest value that `settings.trials` trials find, from `plain` as the first on.

    with_threshold: whether there is one to search. A setting whose largest value is 0 is not searched either. Of
    equal values the simplest point wins (`complexity`). What a few slides cannot tell apart is not taken for a
    gain: where plain is within one standard error of the best (of the slides' paired differences), it is plain, and
    else every single setting goes back to plain that can. The point is never worse than plain. The same seed and
    values give the same point. Without trials, or where the plain point's value is undefined, it is the plain one.

    Sampler: TPE (Bergstra et al. 2011). One standard error: Breiman et al. 1984.
    """
    as_it_is = evaluate(plain)
    value_plain = as_it_is.value
    if value_plain is None or not settings.trials:
        return Found(plain, value_plain, value_plain, ())
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed % 2**32)  # numpy's old generator takes no more bits
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(dict(PLAIN))
    best, best_value, tried = plain, value_plain, []
    for _ in range(settings.trials):
        trial = study.ask()
        chosen = _suggested(trial, settings, with_threshold)
        point = plain.model_copy(update=chosen)
        value = evaluate(point).value
        study.tell(trial, value, None if value is not None else optuna.trial.TrialState.PRUNED)
        tried.append(Tried(chosen, value))
        if value is not None and _better((point, value), (best, best_value)):
            best, best_value = point, value
    reached = evaluate(best)
    if _as_good(as_it_is, reached):
        return Found(plain, value_plain, value_plain, tuple(tried))
    point, value = _simplified(evaluate, best, reached, value_plain)
    return Found(point, value, value_plain, tuple(tried))


def complexity(point: OperatingPoint) -> tuple[float, float, float, float]:
    """Return how far a point is from plain, to be compared: how many steps of clean-up, their sizes, the threshold."""
    steps = (point.smoothing_px, point.max_hole_px, point.min_region_px)
    return sum(one > 0 for one in steps), sum(steps[1:]), steps[0], abs(point.threshold - PLAIN["threshold"])


def _better(first: tuple[OperatingPoint, float], second: tuple[OperatingPoint, float]) -> bool:
    if first[1] == second[1]:
        return complexity(first[0]) < complexity(second[0])
    return first[1] > second[1]


def _suggested(trial: optuna.Trial, settings: params.Calibrate, with_threshold: bool) -> dict[str, float]:
    """Return the searched settings of one trial, rounded to what a person would write."""
    chosen: dict[str, float] = {}
    if with_threshold:
        chosen["threshold"] = round(trial.suggest_float("threshold", LOWEST, HIGHEST, step=STEP), 2)
    if settings.max_smoothing_px:
        chosen["smoothing_px"] = round(trial.suggest_float("smoothing_px", 0.0, settings.max_smoothing_px), 2)
    if settings.max_region_px:
        chosen["min_region_px"] = trial.suggest_int("min_region_px", 0, settings.max_region_px)
    if settings.max_hole_px:
        chosen["max_hole_px"] = trial.suggest_int("max_hole_px", 0, settings.max_hole_px)
    return chosen


def _as_good(simpler: Result, best: Result) -> bool:
    """Return whether a simpler point is within one standard error of the best, over the slides of both."""
    if simpler.value is None or best.value is None:
        return False
    pairs = [(best.slides[name], own) for name, own in simpler.slides.items()]
    differences = np.array([first - second for first, second in pairs if first is not None and second is not None])
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return best.value - simpler.value <= error


def _simplified(
    evaluate: Evaluate, point: OperatingPoint, best: Result, at_least: float
) -> tuple[OperatingPoint, float | None]:
    """Return the point with every setting at plain that is as good there: a sampler's numbers mean nothing else."""
    value = best.value
    for name, plain in PLAIN.items():
        if getattr(point, name) == plain:
            continue
        simpler = point.model_copy(update={name: plain})
        found = evaluate(simpler)
        if _as_good(found, best) and found.value is not None and found.value >= at_least:
            point, value = simpler, found.value
    return point, value
