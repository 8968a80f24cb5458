"""Tumour burden: the tumour's share of the tissue in percent, and the error of a predicted one."""

from collections.abc import Iterable

from acinus.scoring.defined import Mean, is_defined, mean_defined

Pair = tuple[float | None, float | None]
"""(predicted, true) burden of one slide in percent."""


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
    """Return predicted - true in percentage points; None where either is undefined."""
    if predicted is None or true is None or not is_defined(predicted) or not is_defined(true):
        return None
    return predicted - true


def burden_mae(pairs: Iterable[Pair]) -> Mean:
    """Return the mean absolute error in percentage points over the slides where both burdens are defined."""
    errors = (burden_error(predicted, true) for predicted, true in pairs)
    return mean_defined(None if error is None else abs(error) for error in errors)


def burden_bias(pairs: Iterable[Pair]) -> Mean:
    """Return the mean of predicted - true in percentage points: above 0 means too much tumour was found."""
    return mean_defined(burden_error(predicted, true) for predicted, true in pairs)
