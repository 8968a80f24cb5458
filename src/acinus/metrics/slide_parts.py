"""What regions, lesions and grades say of each slide, for the per-slide table."""

from typing import Any

import pandas as pd

from acinus.metrics.setup import MetricSetup
from acinus.records import rows

Values = dict[str, dict[str, Any]]
"""Columns of the per-slide table by slide_id."""

REGION_COLUMNS: dict[str, str] = {
    "num_regions": "Int64",  # of positive classes, after clean-up
    "largest_region_mm2": "float64",  # null without a region or without mpp
    "num_lesions": "Int64",  # lesions to be found; null where not asked for or not known
    "num_itc": "Int64",  # isolated tumour cells, neither to be found nor wrong to find
    "lesions_hit": "Int64",
    "false_positives": "Int64",  # regions outside every lesion
}


def grade_columns(setup: MetricSetup) -> dict[str, str]:
    """Return the columns of the grades with their dtypes: `isup_*` or `tumor_*`; none where nothing is graded.

    tumor_rule is a column of every recipe's table and not among them.
    """
    if not setup.graded:
        return {}
    graded = {f"{setup.grade}_{one}": "Int64" for one in _given(setup)}
    return graded | {"mil_confidence": "float64", "mil_spread": "float64"}


def region_values(quantities: pd.DataFrame, regions: pd.DataFrame) -> Values:
    """Return REGION_COLUMNS of every slide of quantities (records.QUANTITIES, REGIONS)."""
    largest = regions.groupby("slide_id")["area_mm2"].max()
    lesions = regions[regions["lesion"].notna()]
    hits = lesions[lesions["lesion"] > 0].groupby("slide_id")["lesion"].nunique()
    wrong = lesions[lesions["lesion"] == 0].groupby("slide_id").size()
    result = {}
    for amount in rows(quantities[["slide_id", "num_regions", "num_lesions", "num_itc"]]):
        slide_id, known = amount["slide_id"], amount["num_lesions"] is not None
        result[slide_id] = amount | {
            "largest_region_mm2": largest.get(slide_id),
            "lesions_hit": int(hits.get(slide_id, 0)) if known else None,
            "false_positives": int(wrong.get(slide_id, 0)) if known else None,
        }
    return result


def grade_values(grades: pd.DataFrame, setup: MetricSetup) -> Values:
    """Return the `grade_columns` of every graded slide (records.GRADES)."""
    names = {one: f"{setup.grade}_{one}" for one in _given(setup)}
    names |= {"confidence": "mil_confidence", "mil_spread": "mil_spread"}
    if not setup.graded:
        return {}
    return {row["slide_id"]: {names[key]: row[key] for key in names} for row in rows(grades)}


def _given(setup: MetricSetup) -> tuple[str, ...]:
    return ("true", "mil", "rule") if setup.grade == "isup" else ("true", "mil")
