"""How slides are called by their predicted burden, the rule of every recipe, and what is found on normal ones."""

import numpy as np
import pandas as pd

from acinus.reporting.figure_parts import Metrics, Part, Statistic, floats, is_tumor, mean_of, patients
from acinus.reporting.setup import MetricSetup


def burden_rule_part(scored: pd.DataFrame, given: pd.DataFrame, setup: MetricSetup) -> Part:
    """Return tumor_rule_accuracy over scored slides labelled normal or tumor (n_tumor_rule), and from what on.

    Where slides are graded by ISUP, tumor_mil_accuracy answers the same question from the grade (`given`,
    records.GRADES; above 0 is tumour), over n_tumor_mil of those slides.
    """
    right = _right(scored, floats(scored, "tumor_rule"))
    values: Metrics = {"tumor_rule_burden_percent": setup.burden_percent, **_figures("tumor_rule", right)}
    statistics = [Statistic("tumor_rule_accuracy", patients(scored), mean_of(right))]
    if setup.grade == "isup" and len(given):
        by_id = given.set_index("slide_id")["mil"]
        grade = by_id.reindex(scored["slide_id"].astype("object")).to_numpy(dtype=np.float64, na_value=np.nan)
        by_grade = _right(scored, np.where(np.isnan(grade), np.nan, grade > 0))
        values |= _figures("tumor_mil", by_grade)
        statistics.append(Statistic("tumor_mil_accuracy", patients(scored), mean_of(by_grade)))
    return Part(values, statistics)


def slide_calls_part(scored: pd.DataFrame) -> Part:
    """Return what the rule (tumor_rule) does to slides labelled normal or tumor, and what is found on normal ones.

    - slide_sensitivity over n_tumor_called, slide_specificity over n_normal_called: shares that are called rightly.
    - false_area_share: mean over normal slides with tissue (n_normal_mapped) of the predicted share of it, 0 to 1;
      n_normal_clean of them have none. false_area_mm2: the mean area, over n_false_area_mm2 of known um per px.
    """
    right, tumor = _right(scored, floats(scored, "tumor_rule")), is_tumor(scored)
    share, area = floats(scored, "false_area_percent") / 100, floats(scored, "false_area_mm2")
    over = {
        "slide_sensitivity": ("n_tumor_called", np.where(tumor, right, np.nan)),
        "slide_specificity": ("n_normal_called", np.where(tumor, np.nan, right)),
        "false_area_share": ("n_normal_mapped", share),
        "false_area_mm2": ("n_false_area_mm2", area),
    }
    values: Metrics = {"n_normal_clean": int(np.count_nonzero(share == 0))}
    for name, (counts, own) in over.items():
        values |= {name: mean_of(own)(np.arange(len(own))), counts: int(np.isfinite(own).sum())}
    return Part(values, [Statistic(name, patients(scored), mean_of(own)) for name, (_, own) in over.items()])


def _right(scored: pd.DataFrame, answer: np.ndarray) -> np.ndarray:
    """Return 1 where an answer (1 tumour, 0 normal) is that of the label, else 0; NaN where either is missing."""
    labelled = scored["slide_label"].isin(["normal", "tumor"]).to_numpy(dtype=bool)
    return np.where(labelled & np.isfinite(answer), answer == is_tumor(scored), np.nan)


def _figures(name: str, right: np.ndarray) -> Metrics:
    return {f"{name}_accuracy": mean_of(right)(np.arange(len(right))), f"n_{name}": int(np.isfinite(right).sum())}
