"""Tumour burden: the tumour's share of the tissue in percent, and how well a predicted one agrees with the true."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def burden_percent(tumour_px: int, tissue_px: int) -> float | None:
    """Return tumour pixels inside tissue / tissue pixels * 100; None without tissue."""
    if not 0 <= tumour_px <= tissue_px:
        raise ValueError(f"{tumour_px} tumour px inside {tissue_px} tissue px, expected 0 <= tumour <= tissue")
    return 100.0 * tumour_px / tissue_px if tissue_px else None


def tumour_by_burden(burden_pred: float | None, burden_percent: float) -> int | None:
    """Return 1 (tumour) from a predicted burden of burden_percent of the tissue on, with any tumour at all, else 0.

    None where the burden is unknown, that is without tissue. The rule by which every stage calls a slide.
    """
    return None if burden_pred is None else int(burden_pred > 0 and burden_pred >= burden_percent)


def burden_error(predicted: float | None, true: float | None) -> float | None:
    """Return predicted - true in percentage points; None where either is undefined (None or NaN)."""
    if predicted is None or true is None or math.isnan(predicted) or math.isnan(true):
        return None
    return predicted - true


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
