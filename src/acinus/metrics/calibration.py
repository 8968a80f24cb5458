"""How far probabilities can be believed: calibration error and Brier score on the test split."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import TableError
from acinus.metrics.metric import ONLY_TOLD, Case, Measure, Metric, OverRows
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

    def of(self, rows: np.ndarray | list[int]) -> "Believed":
        """Return the patches or px of chosen slides."""
        chosen = np.isin(self.slide, rows)
        return Believed(self.slide[chosen], self.probs[chosen], self.labels[chosen])


def believed(usable: pd.DataFrame, tables: Tables, setup: MetricSetup, scaling: Scaling) -> Believed:
    """Return the class scores of the usable slides under a scaling.

    Raises:
        TableError: scores of another number of classes.
        AcinusError: offsets of another number of classes.
    """
    setup.offsets(scaling.bias)
    trained = as_trained(usable, tables.class_scores, setup)
    return replace(trained, probs=scaled(trained.probs, scaling))


def as_trained(usable: pd.DataFrame, class_scores: pd.DataFrame, setup: MetricSetup) -> Believed:
    """Return the records.CLASS_SCORES of the usable slides as they are.

    Raises:
        TableError: scores of another number of classes.
    """
    place = pd.Index(usable["slide_id"].astype("object")).get_indexer(class_scores["slide_id"].astype("object"))
    known = (place >= 0) & class_scores["label"].ge(0).to_numpy(dtype=bool)
    scores = class_scores[known]
    wrong = scores[scores["probs"].map(len) != len(setup.classes)]
    if len(wrong):
        raise TableError(
            f"table class_scores: {len(wrong['probs'].iloc[0])} probabilities in a row of "
            f"{wrong['slide_id'].iloc[0]}, expected {len(setup.classes)}, one per class; run train again"
        )
    probs = np.array(scores["probs"].tolist(), dtype=np.float64).reshape(len(scores), len(setup.classes))
    return Believed(place[known].astype(np.int64), probs, scores["label"].to_numpy(dtype=np.int64))


def _after(case: Case) -> Believed:
    return believed(case.slides, case.behind, case.setup, case.behind.scaling)


def _before(case: Case) -> Believed:
    return believed(case.slides, case.behind, case.setup, AS_TRAINED)


Number = Callable[[Believed], float | None]


def _ece(patches: Believed) -> float | None:
    return ece(patches.bins)


def _brier(patches: Believed) -> float | None:
    return brier(patches.probs, patches.labels)


def _sums(case: Case) -> dict[str, np.ndarray]:
    """Return per slide what adds up: count and gap (confidence minus accuracy; slides, bins), and squares (slides,)."""
    patches = case.once(_after)
    shape = (len(case.slides), len(patches.bins.count))
    count, sure, right, squares = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(len(case.slides))
    for row in np.unique(patches.slide):
        of_slide = patches.of([row])
        bins = of_slide.bins
        filled = np.asarray(bins.count) > 0
        count[row] = bins.count
        sure[row, filled] = (np.asarray(bins.confidence, dtype=np.float64) * bins.count)[filled]
        right[row, filled] = (np.asarray(bins.accuracy, dtype=np.float64) * bins.count)[filled]
        squares[row] = (_brier(of_slide) or 0.0) * len(of_slide.labels)
    return {"count": count, "gap": sure - right, "squares": squares}


def _measure(case: Case, patches: Believed, number: Number, over: OverRows | None = None) -> Measure:
    """Return a number over the patches or px of chosen slides; over: the same from what adds up."""
    known = np.isin(np.arange(len(case.slides)), patches.slide)

    def direct(rows: np.ndarray) -> float | None:
        return number(patches.of(rows))

    return Measure(known, over or direct, case.kind, direct=direct, n=len(patches.labels))


def _calibrated(name: str, of: Callable[[np.ndarray], float], number: Number) -> Callable[[Case], Measure]:
    """Return how a metric of the calibrated probabilities is taken: as `of` a sum over slides, per patch or px."""

    def take(case: Case) -> Measure:
        sums = case.once(_sums)

        def over(rows: np.ndarray) -> float | None:
            whole = sums["count"][rows].sum()
            return float(of(sums[name][rows].sum(axis=0)) / whole) if whole else None

        return _measure(case, case.once(_after), number, over)

    return take


_COMMON: dict[str, Any] = {
    "better": "lower",
    "averaged": "patches",
    "counts": "n_class_scores",
    "things": "patches",
    "tables": ("class_scores",),
    "shown": (),
}
_BEFORE = _COMMON | ONLY_TOLD

METRICS = (
    Metric(
        "ece",
        "Calibration error",
        "expected calibration error: mean gap between the probability of the likeliest class and its accuracy, after "
        "calibration, 15 bins; 0 is best",
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
        lambda case: _measure(case, case.once(_before), _ece),
        **_BEFORE,
    ),
    Metric(
        "brier.uncalibrated",
        "Brier score, as trained",
        "the same before calibration, at temperature 1",
        lambda case: _measure(case, case.once(_before), _brier),
        **_BEFORE,
    ),
)
