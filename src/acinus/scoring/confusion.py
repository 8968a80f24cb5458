"""Dice, IoU and accuracy of a segmentation from counts of pixels: its confusion matrix, or the overlap of two masks.

A confusion matrix is truth (rows) by prediction (columns). The counts of tiles, images or sets add up, so pooling is
exact.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

IGNORE = 255
"""Of a raster of class indices: the class is not known, and nothing is counted."""


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return int64 (classes, classes): pixels of each true class (row) predicted as each class (column).

    true, predicted: uint8 class indices of one shape; where `true` is IGNORE nothing is counted.

    Raises:
        ValueError: shapes that differ, or an index that is no class.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"truth of {true.shape} px against a prediction of {predicted.shape} px, expected one shape")
    known = true != IGNORE
    rows, columns = true[known].astype(np.int64), predicted[known].astype(np.int64)
    if rows.size and max(int(rows.max()), int(columns.max())) >= classes:
        raise ValueError(f"class index {max(int(rows.max()), int(columns.max()))} found, expected below {classes}")
    return np.bincount(rows * classes + columns, minlength=classes * classes).reshape(classes, classes)


def _ratios(numerator: np.ndarray, denominator: np.ndarray) -> list[float | None]:
    return [float(n / d) if d else None for n, d in zip(numerator.tolist(), denominator.tolist(), strict=True)]


def class_dice(matrix: np.ndarray) -> list[float | None]:
    """Return 2 hits / (true + predicted) of every class; None where a class is in neither."""
    return _ratios(2 * np.diagonal(matrix), matrix.sum(axis=1) + matrix.sum(axis=0))


def class_iou(matrix: np.ndarray) -> list[float | None]:
    """Return hits / (true + predicted - hits) of every class; None where a class is in neither."""
    hits = np.diagonal(matrix)
    return _ratios(hits, matrix.sum(axis=1) + matrix.sum(axis=0) - hits)


def class_accuracy(matrix: np.ndarray) -> list[float | None]:
    """Return hits / true pixels of every class (its recall); None where the truth has none of it."""
    return _ratios(np.diagonal(matrix), matrix.sum(axis=1))


def class_precision(matrix: np.ndarray) -> list[float | None]:
    """Return hits / predicted of every class; None where it was never predicted."""
    return _ratios(np.diagonal(matrix), matrix.sum(axis=0))


def balanced_accuracy(matrix: np.ndarray) -> float | None:
    """Return the mean recall over the classes in the truth."""
    return _mean(class_accuracy(matrix))


def weighted_dice(matrix: np.ndarray) -> float | None:
    """Return the mean Dice (of single items: F1) over the classes, each weighted by how often it is true."""
    true, total = matrix.sum(axis=1).tolist(), int(matrix.sum())
    return sum(n * (value or 0.0) for n, value in zip(true, class_dice(matrix), strict=True)) / total if total else None


def pixel_accuracy(matrix: np.ndarray) -> float | None:
    """Return the share of right pixels; None without known pixels."""
    total = int(matrix.sum())
    return float(np.trace(matrix) / total) if total else None


def image_dice(matrix: np.ndarray) -> float | None:
    """Return one image's mean Dice over the foreground classes (index 1 up) in its truth or prediction.

    A class in only one of both counts 0. None where no foreground class is in either.
    """
    return _mean(class_dice(matrix)[1:])


def mdice(matrix: np.ndarray) -> float | None:
    """Return the mean Dice over the classes present, background included, of a matrix summed over a whole set."""
    return _mean(class_dice(matrix))


def miou(matrix: np.ndarray) -> float | None:
    """Return the mean IoU over the classes present, background included, of a matrix summed over a whole set."""
    return _mean(class_iou(matrix))


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


def positive_overlap(matrix: np.ndarray, positive: Sequence[int]) -> Overlap:
    """Return the overlap of "any positive class" between truth and prediction."""
    chosen = np.zeros(len(matrix), dtype=bool)
    chosen[list(positive)] = True
    both = int(matrix[np.ix_(chosen, chosen)].sum())
    return Overlap(both, int(matrix[:, chosen].sum()), int(matrix[chosen].sum()))


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
