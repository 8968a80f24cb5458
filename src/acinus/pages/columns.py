"""Which columns of the per-slide table a page shows: those in which its recipe has something to say."""

from dataclasses import dataclass

import pandas as pd

from acinus.metrics.metric import MEAN_OF_CLASSES
from acinus.metrics.setup import MetricSetup


@dataclass(frozen=True)
class Column:
    """A column of the table on the page. kind: one of `wording.text`, or text, label, mpp."""

    key: str
    title: str
    kind: str = "share"
    signed: bool = False


def shown_columns(scored: pd.DataFrame, setup: MetricSetup, noun: str) -> list[Column]:
    """Return the columns for the scored test slides; `noun` names what the positive classes are."""

    def filled(key: str) -> bool:
        return bool(scored[key].notna().any())

    def varied(key: str) -> bool:
        return scored[key].replace("", pd.NA).nunique() > 1

    segments, isup = setup.segments, setup.grade == "isup"
    many = segments and len(setup.classes) > 2
    labelled = filled("slide_label") or not (segments or len(setup.classes) > 2)
    outside = bool((scored["tumour_outside_share"] > 0).any())
    annotated = bool((scored["burden_source"] == "annotation").fillna(False).any())
    lesions = filled("num_lesions")
    graded = "ISUP" if isup else "tumour"
    columns: list[tuple[bool, Column]] = [
        (labelled, Column("slide_label", "label", "label")),
        (varied("provider"), Column("provider", "provider", "text")),
        (varied("tissue_type"), Column("tissue_type", "tissue", "text")),
        (filled("isup") and not isup, Column("isup", "ISUP", "count")),  # else it stands beside the grade given
        (True, Column("dice", f"Dice, {MEAN_OF_CLASSES}" if many else "Dice")),
        *((many, Column(f"class_dice.{name}", f"Dice, {name}")) for name in setup.classes[1:]),
        (segments, Column("pixel_accuracy", "pixel accuracy")),
        (not segments, Column("iou", "IoU")),
        (not segments, Column("within_slide_auc", "AUC within slide")),
        (not segments, Column("n_patches", "patches", "count")),
        (setup.graded and filled(f"{setup.grade}_true"), Column(f"{setup.grade}_true", graded, "count")),
        (setup.graded and filled(f"{setup.grade}_mil"), Column(f"{setup.grade}_mil", f"{graded}, MIL", "count")),
        (isup and filled("isup_rule"), Column("isup_rule", "ISUP, rule", "count")),
        (setup.graded and filled("mil_confidence"), Column("mil_confidence", "MIL confidence")),
        (labelled or setup.graded, Column("tumor_rule", "tumour, rule", "count")),
        (filled("false_area_percent"), Column("false_area_percent", "false area, % of tissue", "points")),
        (filled("false_area_mm2"), Column("false_area_mm2", "false area, mm²", "points")),
        (True, Column("slide_score", "slide score")),
        (True, Column("burden_pred", f"{noun} % of tissue", "points")),
        (True, Column("burden_true", "annotated %", "points")),
        (annotated, Column("burden_source", "annotated % of", "text")),
        (outside, Column("tumour_outside_mm2", "annotated outside tissue, mm²", "points")),
        (outside, Column("tumour_outside_share", "annotated outside tissue", "percent")),
        (filled("dice_ceiling"), Column("dice_ceiling", "Dice ceiling")),
        (True, Column("burden_error", "error, pp", "points", signed=True)),
        (filled("tumour_mm2"), Column("tumour_mm2", f"{noun}, mm²", "points")),
        (filled("tissue_mm2"), Column("tissue_mm2", "tissue, mm²", "points")),
        (True, Column("num_regions", "regions", "count")),
        (filled("largest_region_mm2"), Column("largest_region_mm2", "largest, mm²", "points")),
        (lesions, Column("num_lesions", "lesions", "count")),
        (lesions, Column("lesions_hit", "lesions hit", "count")),
        (lesions, Column("false_positives", "false positives", "count")),
        (True, Column("mpp_x", "µm per px", "mpp")),
        (True, Column("flags", "flags", "flags")),
    ]
    return [column for shown, column in columns if shown]
