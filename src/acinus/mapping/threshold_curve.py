"""Figures against the threshold, from one count per slide: truth by value of the map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from acinus.mapping.point_score import slide_f1
from acinus.mapping.quantify import tumour_mask
from acinus.scoring.confusion import IGNORE
from acinus.scoring.defined import mean_defined
from acinus.scoring.dice import Overlap, dice, pooled

THRESHOLDS = tuple(round(0.05 + 0.025 * step, 3) for step in range(37))
"""0.05 to 0.95."""
VALUES = 256
_EVERY_VALUE = np.arange(VALUES)


@dataclass(frozen=True, eq=False)
class Histogram:
    """One slide's px by truth and value; what Dice at any threshold needs.

    known: int64 (2, 256), px of known truth inside tissue, of normal and of tumour. missed: tumour outside tissue,
    which no threshold finds. judged: whether any truth is known. highest: the largest value in tissue, -1 without
    tissue. tumour: whether it is a tumour slide, None unknown.
    """

    known: np.ndarray
    missed: int
    judged: bool
    highest: int
    tumour: bool | None

    def overlap(self, threshold: float) -> Overlap:
        """Return the counts of "p >= threshold inside tissue" against the tumour."""
        found = self.known[:, tumour_mask(_EVERY_VALUE, threshold)].sum(axis=1)
        return Overlap(int(found[1]), int(found.sum()), int(self.known[1].sum()) + self.missed)


def histogram(prob: np.ndarray, tissue: np.ndarray, truth: np.ndarray | None, tumour: bool | None) -> Histogram:
    """Count a slide's map of two classes: prob uint8 (rows, columns), tissue bool, truth 0, 1 or IGNORE, or None."""
    highest = int(prob[tissue].max()) if tissue.any() else -1
    if truth is None:
        return Histogram(np.zeros((2, VALUES), dtype=np.int64), 0, False, highest, tumour)
    known = truth != IGNORE
    inside = known & tissue
    places = (truth[inside] == 1).astype(np.int64) * VALUES + prob[inside]
    counts = np.bincount(places, minlength=2 * VALUES).reshape(2, VALUES)
    return Histogram(counts, int(np.count_nonzero((truth == 1) & ~tissue)), bool(known.any()), highest, tumour)


def threshold_curve(slides: Sequence[Histogram]) -> dict[str, list[Any]]:
    """Return for every threshold, before any clean-up:

    dice_mean: the mean over slides of Dice, 1 for a slide without tumour in which none is found; pixel_f1: Dice (which
    is F1) of all their px taken as one; slide_f1: F1 of "a slide has any px found" against tumour slides. None where
    undefined.
    """
    judged = [slide for slide in slides if slide.judged]
    counts = [[slide.overlap(threshold) for slide in judged] for threshold in THRESHOLDS]
    return {
        "threshold": list(THRESHOLDS),
        "dice_mean": [mean_defined(_dice(one) for one in row).value for row in counts],
        "pixel_f1": [dice(pooled(row)) for row in counts],
        "slide_f1": [
            slide_f1([(slide.tumour, bool(tumour_mask(np.array(slide.highest), threshold))) for slide in slides])
            for threshold in THRESHOLDS
        ],
    }


def _dice(counts: Overlap) -> float:
    found = dice(counts)
    return 1.0 if found is None else found
