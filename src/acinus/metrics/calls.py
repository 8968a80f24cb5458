"""How slides are called by their predicted burden, the rule of every recipe, and what is found on normal ones."""

import numpy as np

from acinus.metrics.metric import Case, Measure, Metric, count, mean_of


def _mean(values: np.ndarray, case: Case) -> Measure:
    return Measure(np.isfinite(values), mean_of(values), among=case.scored)


def _rightly(case: Case, answer: np.ndarray, label: str = "") -> Measure:
    """Return the share of slides whose answer (1 tumour, 0 normal) is that of their label: of one label, or of all."""
    right = np.where(case.labelled & case.scored & np.isfinite(answer), answer == case.tumor, np.nan)
    return _mean(np.where(case.tumor == (label == "tumor"), right, np.nan) if label else right, case)


def _by_grade(case: Case) -> Measure | None:
    """Return the share of slides that the grade given calls rightly; none where nothing was graded."""
    if case.tables is not None and case.tables.grades.empty:
        return None
    grade = case.floats("isup_mil")
    return _rightly(case, np.where(np.isnan(grade), np.nan, grade > 0))


METRICS = (
    Metric(
        "slide_sensitivity",
        "Sensitivity, slides",
        "share of the tumour slides that their predicted burden alone calls tumour",
        lambda case: _rightly(case, case.floats("tumor_rule"), "tumor"),
        counts="n_tumor_called",
        columns=("tumor_rule", "slide_label"),
        shown=("card", "grades"),
    ),
    Metric(
        "slide_specificity",
        "Specificity, slides",
        "share of the normal slides that their predicted burden alone calls normal",
        lambda case: _rightly(case, case.floats("tumor_rule"), "normal"),
        counts="n_normal_called",
        columns=("tumor_rule", "slide_label"),
        shown=("card", "grades"),
    ),
    Metric(
        "tumor_mil_accuracy",
        "Tumour by attention MIL, accuracy",
        "share of slides labelled normal or tumour that the predicted grade calls correctly; above 0 is tumour",
        _by_grade,
        counts="n_tumor_mil",
        columns=("isup_mil", "slide_label"),
        shown=("grades",),
    ),
    Metric(
        "tumor_rule_accuracy",
        "Tumour by burden, accuracy",
        "share of slides labelled normal or tumour that the predicted burden alone calls correctly",
        lambda case: _rightly(case, case.floats("tumor_rule")),
        counts="n_tumor_rule",
        columns=("tumor_rule", "slide_label"),
        shown=("grades",),
    ),
    Metric(
        "false_area_share",
        "False area, normal slides",
        "mean share of the tissue of normal slides that is predicted as tumour",
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
        "mean area of normal slides that is predicted as tumour, where the µm per px is known",
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
