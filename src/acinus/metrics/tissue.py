"""What the tissue mask costs: annotated tumour that it leaves out, and the Dice that it leaves a perfect model."""

import numpy as np

from acinus.metrics.metric import ONLY_TOLD, Case, Measure, Metric, count, mean
from acinus.metrics.overlap import case_confusions
from acinus.scoring import confusion
from acinus.scoring.confusion import dice

CEILING = "confusion_ceiling"
"""Column of records.QUANTITIES: truth against a model that is right wherever a window looked."""


def _pooled(case: Case) -> Measure:
    """Return the Dice of all slides' pixels together that the mask leaves a perfect model."""
    stack, _ = case_confusions(case, CEILING)

    def over(rows: np.ndarray) -> float | None:
        whole = stack[rows].sum(axis=0)
        return dice(confusion.positive_overlap(whole, case.setup.positive_indices)) if whole.any() else None

    return Measure(stack.sum(axis=(1, 2)) > 0, over, case.kind, case.scored)


def _outside(case: Case) -> Measure:
    """Return the share of all slides' annotated tumour that the mask leaves out."""
    by_id = case.behind.quantities.set_index("slide_id")[["outside_px", "true_px"]]
    pixels = by_id.reindex(case.slides["slide_id"].astype("object")).to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(pixels).all(axis=1) & case.scored

    def over(rows: np.ndarray) -> float | None:
        outside_px, true_px = pixels[rows[known[rows]]].sum(axis=0)
        return float(outside_px / true_px) if true_px else None

    return Measure(known, over, among=case.scored)


METRICS = (
    Metric(
        "ceiling_dice_mean",
        "Ceiling of Dice",
        "dice_mean of a model that is right in every processed window: the most that the tissue mask allows",
        lambda case: mean(case.floats("dice_ceiling"), case.scored),
        columns=("dice_ceiling",),
        **ONLY_TOLD,
    ),
    Metric(
        "ceiling_dice_mean_tumor",
        "Ceiling of Dice, tumour slides",
        "the same for dice_mean_tumor",
        lambda case: mean(np.where(case.tumor, case.floats("dice_ceiling"), np.nan), case.scored),
        columns=("dice_ceiling", "slide_label"),
        **ONLY_TOLD,
    ),
    Metric(
        "ceiling_dice_pooled",
        "Ceiling of the pooled Dice",
        "the same for dice_pooled",
        _pooled,
        averaged="pooled",
        tables=("quantities",),
        **ONLY_TOLD,
    ),
    Metric(
        "tumour_outside_share",
        "Tumour outside the tissue mask",
        "share of the annotated tumour of all slides that lies outside the tissue mask",
        _outside,
        better="lower",
        unit="percent",
        averaged="pooled",
        tables=("quantities",),
        **ONLY_TOLD,
    ),
    count(
        "n_tumour_outside",
        "slides with more than 1 % of their annotated tumour outside the tissue mask",
        lambda case: sum("tumor_outside_tissue" in flags.split(";") for flags in case.slides["flags"][case.scored]),
    ),
    count(
        "n_burden_annotation",
        "slides whose annotated burden is a share of the annotation's own tissue",
        lambda case: int((case.slides["burden_source"][case.scored] == "annotation").fillna(False).sum()),
    ),
)
