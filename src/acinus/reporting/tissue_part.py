"""What the tissue mask costs: annotated tumour that it leaves out, and the Dice that it leaves a perfect model."""

from typing import Any

import numpy as np
import pandas as pd

from acinus.records import rows
from acinus.reporting.figure_parts import Metrics, Part, floats, is_tumor
from acinus.reporting.flags import outside_share
from acinus.reporting.segmentation import confusions
from acinus.reporting.setup import MetricSetup
from acinus.scoring import confusion
from acinus.scoring.defined import mean_defined
from acinus.scoring.dice import dice

CEILING = "confusion_ceiling"
"""Column of records.QUANTITIES: truth against a model that is right wherever a window looked."""

TISSUE_COLUMNS: dict[str, str] = {
    "burden_source": "string",  # whose tissue burden_true is a share of: annotation | tissue mask
    "tumour_outside_mm2": "float64",  # annotated tumour outside the tissue mask
    "tumour_outside_share": "float64",  # of all annotated tumour
    "dice_ceiling": "float64",  # of a model that is right wherever a window looked
}


def tissue_figures(quantities: pd.DataFrame, setup: MetricSetup) -> dict[str, dict[str, Any]]:
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


def tissue_part(scored: pd.DataFrame, quantities: pd.DataFrame, setup: MetricSetup) -> Part:
    """Return what the mask costs on the scored slides.

    ceiling_dice_mean, ceiling_dice_mean_tumor, ceiling_dice_pooled: those figures of a model that is right wherever a
    window looked, each over the slides where it is defined. tumour_outside_share: of the annotated tumour of all
    slides. n_tumour_outside: slides flagged for it. n_burden_annotation: slides whose annotated burden is a share of
    the annotation's own tissue.
    """
    stack, _ = confusions(scored["slide_id"].tolist(), quantities, CEILING, len(setup.classes))
    ceilings, whole = floats(scored, "dice_ceiling"), stack.sum(axis=0)
    own = quantities[quantities["slide_id"].isin(scored["slide_id"])].dropna(subset=["outside_px", "true_px"])
    true_px, outside_px = int(own["true_px"].sum()), int(own["outside_px"].sum())
    flagged = scored["flags"].str.split(";").map(lambda names: "tumor_outside_tissue" in names)
    values: Metrics = {
        "ceiling_dice_mean": mean_defined(ceilings).value,
        "ceiling_dice_mean_tumor": mean_defined(ceilings[is_tumor(scored)]).value,
        "ceiling_dice_pooled": dice(confusion.positive_overlap(whole, setup.positive_indices)) if whole.any() else None,
        "tumour_outside_share": outside_px / true_px if true_px else None,
        "n_tumour_outside": int(flagged.sum()),
        "n_burden_annotation": int((scored["burden_source"] == "annotation").fillna(False).sum()),
    }
    return Part(values)


def _dice(matrix: np.ndarray, setup: MetricSetup) -> float | None:
    if setup.segments:
        return confusion.image_dice(matrix)
    return dice(confusion.positive_overlap(matrix, setup.positive_indices))
