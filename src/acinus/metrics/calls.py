"""How slides are called by their predicted burden, the rule of every recipe, and what is found on normal ones."""

from collections.abc import Callable

import numpy as np

from acinus.metrics.metric import Case, Measure, Metric, count, mean_of


def _mean(values: np.ndarray, case: Case) -> Measure:
    return Measure(np.isfinite(values), mean_of(values), among=case.scored)


def _right(case: Case, answer: np.ndarray) -> np.ndarray:
    """Return 1 where an answer (1 tumour, 0 normal) is that of the label, else 0; NaN where either is missing."""
    return np.where(case.labelled & case.scored & np.isfinite(answer), answer == case.tumor, np.nan)


def _by_rule(label: str = "") -> Callable[[Case], Measure]:
    """Return how the share of slides is taken that the rule calls rightly: of those of a label, or of all."""

    def take(case: Case) -> Measure:
        right, of_label = _right(case, case.floats("tumor_rule")), case.tumor == (label == "tumor")
        return _mean(np.where(of_label, right, np.nan) if label else right, case)

    return take


def _by_grade(case: Case) -> Measure | None:
    """Return the share of slides that the grade given calls rightly; none where nothing was graded."""
    if case.tables is not None and case.tables.grades.empty:
        return None
    grade = case.floats("isup_mil")
    return _mean(_right(case, np.where(np.isnan(grade), np.nan, grade > 0)), case)


METRICS = (
    Metric(
        "slide_sensitivity",
        "Sensitivity, slides",
        "share of the tumour slides that their predicted burden alone calls tumour",
        _by_rule("tumor"),
        counts="n_tumor_called",
        columns=("tumor_rule", "slide_label"),
        shown=("card", "grades"),
    ),
    Metric(
        "slide_specificity",
        "Specificity, slides",
        "share of the normal slides that their predicted burden alone calls normal",
        _by_rule("normal"),
        counts="n_normal_called",
        columns=("tumor_rule", "slide_label"),
        shown=("card", "grades"),
    ),
    Metric(
        "tumor_mil_accuracy",
        "Tumour by attention MIL, accuracy",
        "share of slides labelled normal or tumour that the grade given calls rightly: above 0 is tumour",
        _by_grade,
        counts="n_tumor_mil",
        columns=("isup_mil", "slide_label"),
        shown=("grades",),
    ),
    Metric(
        "tumor_rule_accuracy",
        "Tumour by burden, accuracy",
        "share of slides labelled normal or tumour that the predicted burden alone calls rightly",
        _by_rule(),
        counts="n_tumor_rule",
        columns=("tumor_rule", "slide_label"),
        shown=("grades",),
    ),
    Metric(
        "false_area_share",
        "False area, normal slides",
        "mean share of the tissue of a normal slide that is predicted as tumour",
        lambda case: _mean(case.floats("false_area_percent") / 100, case),
        unit="percent",
        better="lower",
        counts="n_normal_mapped",
        columns=("false_area_percent",),
        shown=("grades",),
    ),
    Metric(
        "false_area_mm2",
        "False area, normal slides, mm²",
        "mean area of a normal slide that is predicted as tumour, where its um per px are known",
        lambda case: _mean(case.floats("false_area_mm2"), case),
        unit="mm²",
        better="lower",
        counts="n_false_area_mm2",
        columns=("false_area_mm2",),
        shown=("grades",),
    ),
    count(
        "n_normal_clean",
        "normal slides with tissue on which nothing is predicted",
        lambda case: int(np.count_nonzero(case.floats("false_area_percent")[case.scored] == 0)),
    ),
)
