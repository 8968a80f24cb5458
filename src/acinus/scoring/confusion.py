"""Figures of a segmentation from its confusion matrix: pixel counts of truth (rows) by prediction (columns).

The matrices of tiles, images or sets add up, so pooling is exact. Rules: domain.md, sections 4 and 6.
"""

from collections.abc import Sequence

import numpy as np

from acinus.scoring.dice import Overlap

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


def square(counts: Sequence[int]) -> np.ndarray:
    """Return a flat row-by-row matrix (as tables keep it) as int64 (classes, classes)."""
    values = np.asarray(counts, dtype=np.int64)
    edge = round(len(values) ** 0.5)
    if not edge or values.ndim != 1 or edge * edge != len(values):
        raise ValueError(f"{values.size} counts are no square matrix")
    return values.reshape(edge, edge)


def _parts(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return hits, true and predicted pixels of every class."""
    return np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)


def _ratios(numerator: np.ndarray, denominator: np.ndarray) -> list[float | None]:
    return [float(n / d) if d else None for n, d in zip(numerator.tolist(), denominator.tolist(), strict=True)]


def class_dice(matrix: np.ndarray) -> list[float | None]:
    """Return 2 hits / (true + predicted) of every class; None where a class is in neither."""
    hits, true, predicted = _parts(matrix)
    return _ratios(2 * hits, true + predicted)


def class_iou(matrix: np.ndarray) -> list[float | None]:
    """Return hits / (true + predicted - hits) of every class; None where a class is in neither."""
    hits, true, predicted = _parts(matrix)
    return _ratios(hits, true + predicted - hits)


def class_accuracy(matrix: np.ndarray) -> list[float | None]:
    """Return hits / true pixels of every class (its recall); None where the truth has none of it."""
    hits, true, _ = _parts(matrix)
    return _ratios(hits, true)


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


def positive_overlap(matrix: np.ndarray, positive: Sequence[int]) -> Overlap:
    """Return the overlap of "any positive class" between truth and prediction."""
    chosen = np.zeros(len(matrix), dtype=bool)
    chosen[list(positive)] = True
    both = int(matrix[np.ix_(chosen, chosen)].sum())
    return Overlap(both, int(matrix[:, chosen].sum()), int(matrix[chosen].sum()))


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
