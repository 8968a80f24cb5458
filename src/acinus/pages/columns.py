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
    labelled = not setup.segments or scored["slide_label"].notna().any()
    found = [Column("slide_label", "label", "label")] if labelled else []
    found += [
        Column(key, title, "text")
        for key, title in (("provider", "provider"), ("tissue_type", "tissue"))
        if _varied(scored, key)
    ]
    if scored["isup"].notna().any() and setup.grade != "isup":  # else it stands beside the grade given
        found.append(Column("isup", "ISUP", "count"))
    many = setup.segments and len(setup.classes) > 2
    found.append(Column("dice", f"Dice, {MEAN_OF_CLASSES}" if many else "Dice"))
    if setup.segments:
        if many:
            found += [Column(f"class_dice.{name}", f"Dice, {name}") for name in setup.classes[1:]]
        found.append(Column("pixel_accuracy", "pixel accuracy"))
    else:
        found += [
            Column("iou", "IoU"),
            Column("within_slide_auc", "AUC within slide"),
            Column("n_patches", "patches", "count"),
        ]
    areas = (("tumour_mm2", f"{noun}, mm²"), ("tissue_mm2", "tissue, mm²"))
    return [
        *found,
        *_grade_columns(scored, setup),
        *([Column("tumor_rule", "tumour, rule", "count")] if labelled or setup.graded else []),
        *(Column(key, title, "points") for key, title in FALSE_AREAS if scored[key].notna().any()),
        Column("slide_score", "slide score"),
        Column("burden_pred", f"{noun} % of tissue", "points"),
        Column("burden_true", "annotated %", "points"),
        *_tissue_columns(scored),
        Column("burden_error", "error, pp", "points", signed=True),
        *(Column(key, title, "points") for key, title in areas if scored[key].notna().any()),
        *_region_columns(scored),
        Column("mpp_x", "µm per px", "mpp"),
        Column("flags", "flags", "flags"),
    ]


FALSE_AREAS = (("false_area_percent", "false area, % of tissue"), ("false_area_mm2", "false area, mm²"))
"""What is predicted as tumour on normal slides."""


def _tissue_columns(scored: pd.DataFrame) -> list[Column]:
    """Return whose tissue the annotated burden is of, and what the tissue mask costs, where any."""
    told = (scored["burden_source"] == "annotation").fillna(False).any()
    found = [Column("burden_source", "annotated % of", "text")] if told else []
    if (scored["tumour_outside_share"] > 0).any():
        found += [
            Column("tumour_outside_mm2", "annotated outside tissue, mm²", "points"),
            Column("tumour_outside_share", "annotated outside tissue", "percent"),
        ]
    return [*found, *([Column("dice_ceiling", "Dice ceiling")] if scored["dice_ceiling"].notna().any() else [])]


def _grade_columns(scored: pd.DataFrame, setup: MetricSetup) -> list[Column]:
    """Return true grade, grade given and ISUP by rule, those that any slide has."""
    if not setup.graded:
        return []
    what = "ISUP" if setup.grade == "isup" else "tumour"
    titles = {"true": what, "mil": f"{what}, MIL"} | ({"rule": "ISUP, rule"} if setup.grade == "isup" else {})
    found = [Column(f"{setup.grade}_{key}", title, "count") for key, title in titles.items()]
    found.append(Column("mil_confidence", "MIL confidence"))
    return [one for one in found if scored[one.key].notna().any()]


def _region_columns(scored: pd.DataFrame) -> list[Column]:
    """Return the regions, and what they hit where lesions are known."""
    found = [Column("num_regions", "regions", "count")]
    if scored["largest_region_mm2"].notna().any():
        found.append(Column("largest_region_mm2", "largest, mm²", "points"))
    if scored["num_lesions"].notna().any():
        titles = {"num_lesions": "lesions", "lesions_hit": "lesions hit", "false_positives": "false positives"}
        found += [Column(key, title, "count") for key, title in titles.items()]
    return found


def _varied(scored: pd.DataFrame, key: str) -> bool:
    return scored[key].replace("", pd.NA).nunique() > 1
