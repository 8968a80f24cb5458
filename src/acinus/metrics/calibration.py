"""How far probabilities can be believed: calibration error and Brier score on the test split."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import TableError
from acinus.metrics.metric import Case, Measure, Metric, OverRows
from acinus.metrics.setup import MetricSetup, Tables
from acinus.scoring.calibration import Bins, brier, ece, reliability
from acinus.scoring.scaling import AS_TRAINED, Scaling, scaled


@dataclass(frozen=True)
class Believed:
    """Known patches (or px) of the test slides: the slide of each, calibrated probabilities and the true class."""

    slide: np.ndarray  # int64 (n,): row of the table of slides
    probs: np.ndarray  # float64 (n, classes)
    labels: np.ndarray  # int64 (n,)

    @property
    def bins(self) -> Bins:
        """How often the likeliest class is right, by its probability."""
        return reliability(self.probs.max(axis=1), self.probs.argmax(axis=1) == self.labels)


def believed(usable: pd.DataFrame, given: Tables, setup: MetricSetup, scaling: Scaling) -> Believed:
    """Return the class scores of the usable slides under a scaling.

    Raises:
        TableError: scores of another number of classes.
        AcinusError: offsets of another number of classes.
    """
    setup.offsets(scaling.bias)
    place = pd.Index(usable["slide_id"].astype("object")).get_indexer(given.class_scores["slide_id"].astype("object"))
    kept = (place >= 0) & given.class_scores["label"].ge(0).to_numpy(dtype=bool)
    scores = given.class_scores[kept]
    wrong = scores[scores["probs"].map(len) != len(setup.classes)]
    if len(wrong):
        raise TableError(
            f"table class_scores: {len(wrong['probs'].iloc[0])} probabilities in a row of "
            f"{wrong['slide_id'].iloc[0]}, expected {len(setup.classes)}, one per class; run train again"
        )
    probs = np.array(scores["probs"].tolist(), dtype=np.float64).reshape(len(scores), len(setup.classes))
    own = scaled(probs, scaling) if len(probs) else probs
    return Believed(place[kept].astype(np.int64), own, scores["label"].to_numpy(dtype=np.int64))


Number = Callable[[Believed], float | None]


def _after(case: Case) -> Believed:
    return believed(case.slides, case.behind, case.setup, case.behind.scaling)


def _before(case: Case) -> Believed:
    return believed(case.slides, case.behind, case.setup, AS_TRAINED)


def _ece(found: Believed) -> float | None:
    return ece(found.bins)


def _brier(found: Believed) -> float | None:
    return brier(found.probs, found.labels)


def _sums(case: Case) -> dict[str, np.ndarray]:
    """Return per slide what adds up: count, sure and right (slides, bins), and squares (slides,)."""
    found = case.once(_after)
    shape = (len(case.slides), len(found.bins.count))
    count, sure, right = (np.zeros(shape) for _ in range(3))
    squares = np.zeros(len(case.slides))
    for row in np.unique(found.slide):
        own = found.slide == row
        of_slide = Believed(found.slide[own], found.probs[own], found.labels[own])
        bins = of_slide.bins
        filled = np.asarray(bins.count) > 0
        count[row] = bins.count
        sure[row, filled] = (np.asarray(bins.confidence, dtype=np.float64) * bins.count)[filled]
        right[row, filled] = (np.asarray(bins.accuracy, dtype=np.float64) * bins.count)[filled]
        squares[row] = (_brier(of_slide) or 0.0) * len(of_slide.labels)
    return {"count": count, "gap": sure - right, "squares": squares}


def _direct(found: Believed, number: Number) -> OverRows:
    """Return a number over the patches or px of chosen slides."""

    def over(rows: np.ndarray) -> float | None:
        own = np.isin(found.slide, rows)
        return number(Believed(found.slide[own], found.probs[own], found.labels[own]))

    return over


def _measure(case: Case, found: Believed, over: OverRows, direct: OverRows | None = None) -> Measure:
    known = np.isin(np.arange(len(case.slides)), found.slide)
    return Measure(known, over, case.kind, direct=direct, n=len(found.labels))


def _calibrated(name: str, of: Callable[[np.ndarray], float], number: Number) -> Callable[[Case], Measure]:
    """Return how a metric of the calibrated probabilities is taken: as `of` a sum over slides, per patch or px."""

    def take(case: Case) -> Measure:
        found, sums = case.once(_after), case.once(_sums)

        def over(rows: np.ndarray) -> float | None:
            whole = sums["count"][rows].sum()
            return float(of(sums[name][rows].sum(axis=0)) / whole) if whole else None

        return _measure(case, found, over, _direct(found, number))

    return take


def _as_trained(number: Number) -> Callable[[Case], Measure]:
    """Return how the same is taken of the probabilities as the network gives them."""
    return lambda case: _measure(case, case.once(_before), _direct(case.once(_before), number))


_COMMON: dict[str, Any] = {
    "better": "lower",
    "averaged": "patches",
    "counts": "n_class_scores",
    "things": "patches",
    "tables": ("class_scores",),
    "shown": (),
}
_BEFORE: dict[str, Any] = _COMMON | {"interval": False, "compared": False}

METRICS = (
    Metric(
        "ece",
        "Calibration error",
        "gap between the probability of the likeliest class and how often it is right, after calibration, 15 bins; "
        "0 is best",
        _calibrated("gap", lambda gaps: np.abs(gaps).sum(), _ece),
        tolerance=0.03,
        **(_COMMON | {"shown": ("summary",)}),
    ),
    Metric(
        "brier",
        "Brier score",
        "squared error of the probabilities summed over the classes, after calibration; 0 is best, 2 worst",
        _calibrated("squares", float, _brier),
        **_COMMON,
    ),
    Metric(
        "ece.uncalibrated",
        "Calibration error, as trained",
        "the same before calibration, at temperature 1",
        _as_trained(_ece),
        **_BEFORE,
    ),
    Metric(
        "brier.uncalibrated",
        "Brier score, as trained",
        "the same before calibration, at temperature 1",
        _as_trained(_brier),
        **_BEFORE,
    ),
)
