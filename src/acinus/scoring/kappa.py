"""Agreement of grades: quadratic weighted kappa and the table of pairs behind it."""

from collections.abc import Sequence

import numpy as np

from acinus.errors import AcinusError

Grades = Sequence[int] | np.ndarray


def grade_confusion(true: Grades, predicted: Grades, labels: int) -> np.ndarray:
    """Return int64 (labels, labels): slides of each true grade (row) given each grade (column).

    Both hold grades 0..labels-1 and are of one length; leave slides of unknown grade out before.

    Raises:
        AcinusError: a grade that is none of 0..labels-1.
        ValueError: lengths that differ.
    """
    rows, columns = _grades(true, labels), _grades(predicted, labels)
    if rows.shape != columns.shape:
        raise ValueError(f"{rows.size} true grades and {columns.size} predicted ones, expected one length")
    return np.bincount(rows * labels + columns, minlength=labels * labels).reshape(labels, labels)


def quadratic_weighted_kappa(true: Grades, predicted: Grades, labels: int = 6) -> float | None:
    """Return 1 - observed / expected disagreement with the weights (i - j)^2 / (labels - 1)^2.

    The labels are fixed to 0..labels-1 (ISUP: 6), present or not, so that parts of a cohort are weighed
    alike. The expected disagreement is that of independent raters with the same margins. None without
    pairs, and where none is expected (both sides say one and the same grade throughout).

    Source: Cohen, Psychological Bulletin 70 (1968) 213-220.
    """
    pairs = grade_confusion(true, predicted, labels)
    total = int(pairs.sum())
    steps = np.arange(labels)
    weights = (steps[:, None] - steps[None, :]) ** 2  # the common divisor (labels - 1)^2 cancels
    # whole numbers until the last step: the expected disagreement is exactly 0 or at least 1
    expected = int((weights * np.outer(pairs.sum(axis=1), pairs.sum(axis=0))).sum())
    return 1.0 - total * int((weights * pairs).sum()) / expected if expected else None


def _grades(values: Grades, labels: int) -> np.ndarray:
    """Return grades as int64 (n,), or refuse what is none."""
    grades = np.asarray(values)
    if grades.ndim != 1 or (grades.size and grades.dtype.kind not in "iu"):
        raise ValueError(f"grades of shape {grades.shape} and type {grades.dtype}, expected whole numbers in one row")
    strange = (grades < 0) | (grades >= labels)
    if strange.any():
        raise AcinusError(
            f"kappa: grade {grades[strange][0]} found, expected 0 to {labels - 1}; leave unknown grades out first"
        )
    return grades.astype(np.int64)
