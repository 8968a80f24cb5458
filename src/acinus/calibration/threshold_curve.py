"""Scores against the threshold, from one count per slide: truth by value of the map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from acinus.calibration.point_score import Aim, Judged, Result, area_score, slide_f1
from acinus.regions.amounts import tumour_mask
from acinus.scoring.burden import burden_percent, tumour_by_burden
from acinus.scoring.confusion import IGNORE, dice, pooled, positive_overlap
from acinus.scoring.defined import mean_defined

THRESHOLDS = tuple(round(0.05 + 0.025 * step, 3) for step in range(37))
"""0.05 to 0.95."""
VALUES = 256
_EVERY_VALUE = np.arange(VALUES)


@dataclass(frozen=True, eq=False)
class Histogram:
    """One slide's px by truth and value; what its scores at any threshold need.

    known: int64 (2, 256), px of known truth, of normal and of tumour. tissue: int64 (256,), px of tissue. tumour:
    whether it is a tumour slide, None unknown.
    """

    known: np.ndarray
    tissue: np.ndarray
    tumour: bool | None

    def matrix(self, threshold: float) -> np.ndarray:
        """Return int64 (2, 2), truth x "p >= threshold", px of known truth."""
        tumour = tumour_mask(_EVERY_VALUE, threshold)
        return np.stack([self.known[:, ~tumour].sum(axis=1), self.known[:, tumour].sum(axis=1)], axis=1)

    def called(self, threshold: float, percent: float) -> bool | None:
        """Return whether the slide is called tumour: a burden of `percent` or more."""
        tumour_px = int(self.tissue[tumour_mask(_EVERY_VALUE, threshold)].sum())
        call = tumour_by_burden(burden_percent(tumour_px, int(self.tissue.sum())), percent)
        return None if call is None else bool(call)


def histogram(slide: Judged) -> Histogram:
    """Count a slide's map of two classes."""
    prob, counts = slide.prob[0], np.zeros((2, VALUES), dtype=np.int64)
    if slide.truth is not None:
        known = slide.truth != IGNORE
        places = (slide.truth[known] == 1).astype(np.int64) * VALUES + prob[known]
        counts = np.bincount(places, minlength=2 * VALUES).reshape(2, VALUES)
    return Histogram(counts, np.bincount(prob[slide.tissue], minlength=VALUES), slide.tumour)


def threshold_curve(slides: Sequence[Histogram], aim: Aim) -> dict[str, list[Any]]:
    """Return for every threshold, before any clean-up, None where undefined:

    dice_mean: the objective dice, see `point_score.area_score`; pixel_f1: Dice (which is F1) of all px of known truth
    taken as one; slide_f1, slide_sensitivity, slide_specificity: of slides called tumour by their burden.
    """
    judged = [slide for slide in slides if slide.known.any()]
    rows = [_scores(judged, slides, threshold, aim) for threshold in THRESHOLDS]
    return {"threshold": list(THRESHOLDS)} | {name: [row[name] for row in rows] for name in rows[0]}


def _scores(
    judged: Sequence[Histogram], slides: Sequence[Histogram], threshold: float, aim: Aim
) -> dict[str, float | None]:
    matrices = [slide.matrix(threshold) for slide in judged]
    calls = {str(n): (slide.tumour, slide.called(threshold, aim.burden_percent)) for n, slide in enumerate(slides)}
    scores = [
        area_score(matrix, int(slide.tissue.sum()), aim.half_percent)
        for slide, matrix in zip(judged, matrices, strict=True)
    ]
    of_calls = Result(None, {}, calls)
    return {
        "dice_mean": mean_defined(scores),
        "pixel_f1": dice(pooled(positive_overlap(matrix, (1,)) for matrix in matrices)),
        "slide_f1": slide_f1(list(calls.values())),
        "slide_sensitivity": of_calls.sensitivity,
        "slide_specificity": of_calls.specificity,
    }
