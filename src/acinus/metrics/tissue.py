"""What the tissue mask costs: annotated tumour that it leaves out, and the Dice that it leaves a perfect model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from acinus.metrics.flags import outside_share
from acinus.metrics.metric import Case, Measure, Metric, count, mean
from acinus.metrics.overlap import case_confusions, confusions
from acinus.metrics.setup import MetricSetup
from acinus.records import rows
from acinus.scoring import confusion
from acinus.scoring.confusion import dice

CEILING = "confusion_ceiling"
"""Column of records.QUANTITIES: truth against a model that is right wherever a window looked."""

TISSUE_COLUMNS: dict[str, str] = {
    "burden_source": "string",  # whose tissue burden_true is a share of: annotation | tissue mask
    "tumour_outside_mm2": "float64",  # annotated tumour outside the tissue mask
    "tumour_outside_share": "float64",  # of all annotated tumour
    "dice_ceiling": "float64",  # of a model that is right wherever a window looked
}


def tissue_values(quantities: pd.DataFrame, setup: MetricSetup) -> dict[str, dict[str, Any]]:
    """Return TISSUE_COLUMNS of each mapped slide by slide_id; null where the truth is unknown or has no tumour."""
    stack, known = confusions(quantities["slide_id"].tolist(), quantities, CEILING, len(setup.classes))
    result = {}
    for row, matrix, has_truth in zip(rows(quantities), stack, known, strict=True):
        result[row["slide_id"]] = {
            "burden_source": row["burden_source"],
            "tumour_outside_mm2": row["outside_mm2"],
            "tumour_outside_share": outside_share(row),
            "dice_ceiling": _dice(matrix, setup) if has_truth else None,
        }
    return result


def _dice(matrix: np.ndarray, setup: MetricSetup) -> float | None:
    if setup.segments:
        return confusion.image_dice(matrix)
    return dice(confusion.positive_overlap(matrix, setup.positive_indices))


def _ceiling_stack(case: Case) -> np.ndarray:
    return case_confusions(case, CEILING)[0]


def _pooled(case: Case) -> Measure:
    """Return the Dice of all slides' pixels together that the mask leaves a perfect model."""
    stack = case.once(_ceiling_stack)

    def over(rows: np.ndarray) -> float | None:
        whole = stack[rows].sum(axis=0)
        return dice(confusion.positive_overlap(whole, case.setup.positive_indices)) if whole.any() else None

    return Measure(stack.sum(axis=(1, 2)) > 0, over, case.kind, case.scored)


def _outside(case: Case) -> Measure:
    """Return the share of all slides' annotated tumour that the mask leaves out."""
    by_id = case.behind.quantities.set_index("slide_id")[["outside_px", "true_px"]]
    own = by_id.reindex(case.slides["slide_id"].astype("object")).to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(own).all(axis=1) & case.scored

    def over(rows: np.ndarray) -> float | None:
        outside_px, true_px = own[rows[known[rows]]].sum(axis=0)
        return float(outside_px / true_px) if true_px else None

    return Measure(known, over, among=case.scored)


def _flagged(case: Case) -> int:
    flags = case.slides["flags"][case.scored].str.split(";")
    return int(flags.map(lambda names: "tumor_outside_tissue" in names).sum())


def _metric(name: str, label: str, about: str, take: Callable[[Case], Measure], **more: Any) -> Metric:
    return Metric(name, label, about, take, interval=False, compared=False, shown=(), **more)


METRICS = (
    _metric(
        "ceiling_dice_mean",
        "Ceiling of Dice",
        "dice_mean of a model that is right wherever a window looked: what the tissue mask leaves to be reached",
        lambda case: mean(case.floats("dice_ceiling"), case.scored),
        columns=("dice_ceiling",),
    ),
    _metric(
        "ceiling_dice_mean_tumor",
        "Ceiling of Dice, tumour slides",
        "the same of dice_mean_tumor",
        lambda case: mean(np.where(case.tumor, case.floats("dice_ceiling"), np.nan), case.scored),
        columns=("dice_ceiling", "slide_label"),
    ),
    _metric(
        "ceiling_dice_pooled",
        "Ceiling of the pooled Dice",
        "the same of dice_pooled",
        _pooled,
        averaged="pooled",
        tables=("quantities",),
    ),
    _metric(
        "tumour_outside_share",
        "Tumour outside the tissue mask",
        "share of the annotated tumour of all slides that lies outside the tissue mask",
        _outside,
        better="lower",
        unit="percent",
        averaged="pooled",
        tables=("quantities",),
    ),
)

COUNTS = (
    count("n_tumour_outside", "slides with more than 1 % of their annotated tumour outside the tissue mask", _flagged),
    count(
        "n_burden_annotation",
        "slides whose annotated burden is a share of the annotation's own tissue",
        lambda case: int((case.slides["burden_source"][case.scored] == "annotation").fillna(False).sum()),
    ),
)
