"""How far probabilities can be believed: calibration error and Brier score on the test split."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from acinus.errors import TableError
from acinus.reporting.figure_parts import Metrics, Part, Statistic, patients
from acinus.reporting.setup import MetricSetup, Tables
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


def calibration_part(usable: pd.DataFrame, given: Tables, setup: MetricSetup) -> Part:
    """Return ece and brier of the calibrated probabilities, and `.uncalibrated` as the network gives them.

    Over known patches of a patch classifier, over px drawn from known patches of a segmentation (n_class_scores);
    resampled by patients.
    """
    after = believed(usable, given, setup, given.scaling)
    before = believed(usable, given, setup, AS_TRAINED)
    values: Metrics = {"n_class_scores": len(after.labels)}
    for suffix, one in (("", after), (".uncalibrated", before)):
        values[f"ece{suffix}"], values[f"brier{suffix}"] = ece(one.bins), brier(one.probs, one.labels)
    return Part(values, _statistics(after, patients(usable)))


def _statistics(found: Believed, owners: tuple[str, ...]) -> list[Statistic]:
    """Return ece and brier over resampled slides, from sums that add up."""
    n_bins = len(found.bins.count)
    count, sure, right = (np.zeros((len(owners), n_bins)) for _ in range(3))
    squares = np.zeros(len(owners))
    for row in np.unique(found.slide):
        own = found.slide == row
        one = Believed(found.slide[own], found.probs[own], found.labels[own])
        bins = one.bins
        filled = np.asarray(bins.count) > 0
        count[row] = bins.count
        sure[row, filled] = (np.asarray(bins.confidence, dtype=np.float64) * bins.count)[filled]
        right[row, filled] = (np.asarray(bins.accuracy, dtype=np.float64) * bins.count)[filled]
        squares[row] = (brier(one.probs, one.labels) or 0.0) * len(one.labels)

    def error(rows: np.ndarray) -> float | None:
        total = count[rows].sum()
        return float(np.abs((sure - right)[rows].sum(axis=0)).sum() / total) if total else None

    def square(rows: np.ndarray) -> float | None:
        total = count[rows].sum()
        return float(squares[rows].sum() / total) if total else None

    return [Statistic("ece", owners, error), Statistic("brier", owners, square)]
