"""What looks wrong with a slide or contradicts itself, named in the per-slide table and explained on the page."""

from collections.abc import Mapping
from typing import Any

FLAGS: dict[str, str] = {
    "annotation_on_normal": "tumour is annotated on a slide labelled normal",
    "dice_undefined": "neither the annotation nor the map has tumour, so Dice is undefined",
    "empty_truth": "the annotation is known and has no tumour, on a slide that is not labelled normal",
    "grade_mismatch": "the grade given differs from the true one by two ISUP grades or more, or in tumour or normal",
    "isup_without_burden": "the ISUP grade is above 0, no tumour was found",
    "isup_zero_with_burden": "the ISUP grade is 0, tumour was found",
    "mil_without_burden": "the grade given says tumour, the map has none",
    "mil_zero_with_burden": "the grade given says no tumour, the map has some",
    "mpp_assumed": "pixel size as the recipe says (cohort.mpp), the slide's file has none",
    "nearly_blank": "less than 1 % of the slide's area is tissue",
    "no_map": "no probability map was written",
    "no_mpp": "pixel size unknown, so areas in mm² are left out",
    "no_tissue": "no tissue was found",
    "tumor_missed": "labelled tumour, none found",
    "tumor_outside_tissue": "more than 1 % of the annotated tumour lies outside the tissue mask",
    "tumor_on_normal": "labelled normal, tumour found",
    "tumor_unannotated": "labelled tumour, none annotated",
    "truth_unknown": "the slide has no annotation to compare with",
}
"""What each flag of the table means."""

NEARLY_BLANK = 0.01
"""Tissue's share of the slide's area: tissue px of the map x downsample squared / (width x height) in level-0 px."""

FAR_APART: dict[str, int] = {"isup": 2, "tumor": 1}
"""By what is graded: from which difference on a grade is flagged."""

MOST_OUTSIDE = 0.01
"""Share of a slide's annotated tumour that may lie outside its tissue mask before it is flagged."""

Row = Mapping[str, Any]


def flags_of(slide: Row, amount: Row | None, grade: Row | None) -> list[str]:
    """Return the FLAGS of a usable slide, sorted.

    slide: its row of records.MANIFEST; amount, grade: of records.QUANTITIES and GRADES, None without one.
    """
    flags = {
        "no_mpp": slide["mpp_x"] is None,
        "mpp_assumed": slide["mpp_source"] == "override",
        "no_map": amount is None and slide["split"] == "test",
    }
    tumour_px = None if amount is None else amount["tumour_px"]
    if amount is not None:
        flags |= _of_amount(slide, amount)
    if grade is not None:
        true, given = grade["true"], grade["mil"]
        flags |= {
            "grade_mismatch": true is not None and abs(given - true) >= FAR_APART[grade["target"]],
            "mil_without_burden": given > 0 and tumour_px == 0,
            "mil_zero_with_burden": given == 0 and tumour_px is not None and tumour_px > 0,
        }
    return sorted(name for name, is_set in flags.items() if is_set)


def _of_amount(slide: Row, amount: Row) -> dict[str, bool]:
    label, tumour_px, true_px, isup = slide["slide_label"], amount["tumour_px"], amount["true_px"], slide["isup"]
    known, area = true_px is not None, (slide["width"] or 0) * (slide["height"] or 0)
    tissue = float(amount["tissue_px"] * amount["map_downsample"] ** 2 / area) if area else 0.0
    return {
        "no_tissue": amount["tissue_px"] == 0,
        "nearly_blank": 0 < tissue < NEARLY_BLANK,
        "truth_unknown": not known,
        "empty_truth": true_px == 0 and label != "normal",
        "dice_undefined": true_px == 0 and amount["pred_px"] == 0,
        "tumor_missed": label == "tumor" and tumour_px == 0,
        "tumor_on_normal": label == "normal" and tumour_px > 0,
        "tumor_unannotated": label == "tumor" and true_px == 0,
        "tumor_outside_tissue": (outside_share(amount) or 0.0) > MOST_OUTSIDE,
        "isup_without_burden": isup is not None and isup > 0 and tumour_px == 0,
        "isup_zero_with_burden": isup == 0 and tumour_px > 0,
        "annotation_on_normal": label == "normal" and known and true_px > 0,
    }


def outside_share(amount: Row) -> float | None:
    """Return the share of a slide's annotated tumour outside its tissue mask; None where it has none, or is unknown."""
    return amount["outside_px"] / amount["true_px"] if amount["true_px"] and amount["outside_px"] is not None else None
