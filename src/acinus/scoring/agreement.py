"""Limits of agreement between a measured and a true amount."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from acinus.scoring.burden import burden_error


class Agreement(NamedTuple):
    """Mean and standard deviation of predicted - true over `n` pairs, and the 95 % limits of agreement."""

    bias: float
    sd: float  # with n - 1
    low: float  # bias - 1.96 sd
    high: float  # bias + 1.96 sd
    n: int


def bland_altman(
    predicted: Sequence[float | None] | np.ndarray, true: Sequence[float | None] | np.ndarray
) -> Agreement | None:
    """Return bias and 95 % limits of agreement, bias +- 1.96 sd, in the unit of the values.

    Pairs in which either is undefined (None or NaN) are left out; None with fewer than two pairs.

    Source: Bland and Altman, The Lancet 327 (1986) 307-310.
    """
    errors = [burden_error(p, t) for p, t in zip(predicted, true, strict=True)]
    differences = np.array([error for error in errors if error is not None], dtype=np.float64)
    if differences.size < 2:
        return None
    bias, sd = float(differences.mean()), float(differences.std(ddof=1))
    return Agreement(bias, sd, bias - 1.96 * sd, bias + 1.96 * sd, differences.size)
