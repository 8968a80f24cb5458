"""Dice and IoU of two masks from three counts, per slide and over slides (domain.md, section 6)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from acinus.scoring.defined import mean_defined


@dataclass(frozen=True)
class Overlap:
    """The sufficient statistics of Dice and IoU: pixel counts. They add up, so pooling is exact."""

    intersection: int
    predicted: int
    true: int

    def __post_init__(self) -> None:
        if not 0 <= self.intersection <= min(self.predicted, self.true):
            raise ValueError(
                f"overlap of {self.intersection} px, expected 0 to min({self.predicted} predicted, {self.true} true)"
            )

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(self.intersection + other.intersection, self.predicted + other.predicted, self.true + other.true)


def overlap(predicted: np.ndarray, true: np.ndarray, known: np.ndarray | None = None) -> Overlap:
    """Count the pixels of two bool masks of one shape, over the pixels where `known` is True (default: all)."""
    if known is not None:
        predicted, true = predicted & known, true & known
    return Overlap(
        int(np.count_nonzero(predicted & true)), int(np.count_nonzero(predicted)), int(np.count_nonzero(true))
    )


def pooled(overlaps: Iterable[Overlap]) -> Overlap:
    """Return the counts of all slides taken as one."""
    return sum(overlaps, Overlap(0, 0, 0))


def dice(counts: Overlap) -> float | None:
    """Return 2|P and T| / (|P| + |T|); both empty -> None, only one empty -> 0."""
    total = counts.predicted + counts.true
    return 2.0 * counts.intersection / total if total else None


def iou(counts: Overlap) -> float | None:
    """Return |P and T| / |P or T|; both empty -> None, only one empty -> 0."""
    union = counts.predicted + counts.true - counts.intersection
    return counts.intersection / union if union else None


@dataclass(frozen=True)
class OverlapScores:
    """Dice and IoU over slides: means over the `n` slides where they are defined, and pooled over all pixels."""

    dice_mean: float | None
    dice_pooled: float | None
    iou_mean: float | None
    iou_pooled: float | None
    n: int
    n_undefined: int


def score(overlaps: Iterable[Overlap]) -> OverlapScores:
    """Return mean and pooled Dice and IoU over slides; a slide with both masks empty is counted as undefined."""
    slides = list(overlaps)
    whole = pooled(slides)
    mean = mean_defined(dice(one) for one in slides)
    return OverlapScores(
        dice_mean=mean.value,
        dice_pooled=dice(whole),
        iou_mean=mean_defined(iou(one) for one in slides).value,
        iou_pooled=iou(whole),
        n=mean.n,
        n_undefined=mean.n_undefined,
    )
