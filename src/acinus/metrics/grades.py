"""How well slides are ranked and graded: slide score, attention MIL and the rule against the cohort's labels."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from acinus.errors import TableError
from acinus.metrics.metric import Case, Measure, Metric, Metrics, floats
from acinus.metrics.setup import MetricSetup, Tables
from acinus.scoring.auc import auc
from acinus.scoring.kappa import grade_confusion, quadratic_weighted_kappa

Agree = Callable[[np.ndarray, np.ndarray], float | None]
"""A metric of true and given grades, int64 (slides,) each."""

MAIN_GRADE = {"isup": "qwk", "tumor": "grade_accuracy"}
"""What is graded -> the metric by which its graders are known."""


def graded_slides(usable: pd.DataFrame, grades: pd.DataFrame, setup: MetricSetup) -> pd.DataFrame:
    """Return the grades (records.GRADES) of the usable test slides whose true grade is known, with patient, provider.

    Raises:
        TableError: grades of another target than the recipe's.
    """
    known = _of_target(grades, setup)
    return known[known["true"].notna()].merge(
        usable[["slide_id", "patient", "provider"]], on="slide_id", how="inner", validate="1:1"
    )


def _of_target(grades: pd.DataFrame, setup: MetricSetup) -> pd.DataFrame:
    strange = sorted(set(grades["target"]) - {setup.grade})
    if strange:
        raise TableError(f"table grades: target {strange[0]}, expected {setup.grade}; run the grade stage again")
    return grades


def confusions_of(usable: pd.DataFrame, tables: Tables, setup: MetricSetup) -> dict[str, np.ndarray]:
    """Return {"MIL": int64 (grades, grades), "rule": ...}, true x given; only of who graded a slide."""
    if not setup.graded or tables.grades.empty:
        return {}
    slides = graded_slides(usable, tables.grades, setup)
    result = {}
    for title, column in (("MIL", "mil"), ("rule", "rule")):
        chosen = slides[slides[column].notna()]
        if len(chosen):
            true, by = (chosen[name].to_numpy(dtype=np.int64) for name in ("true", column))
            result[title] = grade_confusion(true, by, setup.grades)
    return result


def _of_table(case: Case) -> pd.DataFrame:
    """Return the grades (records.GRADES) of a case's slides, a row per slide, null without one."""
    grades = _of_target(case.behind.grades, case.setup).set_index("slide_id")
    return grades.reindex(case.slides["slide_id"].astype("object"))


def _agreement(name: str, agree: Agree, target: str = "", by_rule: bool = False) -> Callable[[Case], Measure | None]:
    """Return how the metric `name` of true grades and those given is taken, over the slides that have both.

    Attention MIL gives them, or the rule. target: what it is a metric of (of whatever is graded). The metric by which
    graders are known has providers and seeds beside it.
    """

    def take(case: Case) -> Measure | None:
        graded = case.setup.grade
        if not case.setup.graded or target not in ("", graded) or (case.tables and case.tables.grades.empty):
            return None
        true = case.floats(f"{graded}_true")
        if by_rule and graded == "tumor":  # the per-slide table's tumor_rule is of every slide, graded or not
            given = floats(_of_table(case), "rule")
        else:
            given = case.floats(f"{graded}_rule" if by_rule else f"{graded}_mil")
        known = np.isfinite(true) & np.isfinite(given)

        def over(rows: np.ndarray) -> float | None:
            chosen = rows[known[rows]]
            return agree(true[chosen].astype(np.int64), given[chosen].astype(np.int64)) if chosen.size else None

        if by_rule and not known.any():
            return None
        if MAIN_GRADE[graded] != name:
            return Measure(known, over, f"target {graded}", known)
        return Measure(known, over, f"target {graded}", known, by="provider", beside=lambda: _seeds(case, agree))

    return take


def _seeds(case: Case, agree: Agree) -> Metrics:
    """Return low, high, mean and std of each seed alone, over the seeds for which it is defined."""
    slides = graded_slides(case.slides, case.behind.grades, case.setup)
    true = slides["true"].to_numpy(dtype=np.int64)
    values = [agree(true, np.array(answers, dtype=np.int64)) for answers in zip(*slides["mil_by_seed"], strict=True)]
    defined = np.array([value for value in values if value is not None])
    if not defined.size:
        return dict.fromkeys(("seeds_low", "seeds_high", "seeds_mean", "seeds_std"))
    return {
        "seeds_low": float(defined.min()),
        "seeds_high": float(defined.max()),
        "seeds_mean": float(defined.mean()),
        "seeds_std": float(defined.std(ddof=1)) if defined.size > 1 else None,
    }


def _same(true: np.ndarray, given: np.ndarray) -> float:
    return float((true == given).mean())


def _auc(case: Case) -> Measure | None:
    """Return the AUC of P(tumor) over the slides of known truth."""
    if case.setup.grade != "tumor" or case.behind.grades.empty:
        return None
    table = _of_table(case)
    known = table["true"].notna().to_numpy(dtype=bool)
    prob = np.array([probs[1] if ok else np.nan for probs, ok in zip(table["mil_probs"], known, strict=True)])
    true = floats(table, "true")

    def over(rows: np.ndarray) -> float | None:
        chosen = rows[known[rows]]
        return auc(prob[chosen], true[chosen].astype(np.int64))

    return Measure(known, over, "target tumor", known)


def _slide_auc(case: Case) -> Measure:
    score, tumor = case.floats("slide_score"), case.tumor
    known = case.labelled & np.isfinite(score)

    def over(rows: np.ndarray) -> float | None:
        chosen = rows[known[rows]]
        return auc(score[chosen], tumor[chosen])

    return Measure(known, over, among=case.scored)


METRICS = (
    Metric(
        "slide_auc",
        "Slide AUC",
        "tumour against normal slides, by slide score",
        _slide_auc,
        counts="n_slide_auc",
        columns=("slide_score", "slide_label"),
        shown=("card", "summary"),
        tolerance=0.15,
    ),
    Metric(
        "qwk",
        "Quadratic kappa",
        "Cohen's kappa of predicted and true ISUP grade, weights (i - j)² / 25 over grades 0 to 5, all slides at once",
        _agreement("qwk", quadratic_weighted_kappa, "isup"),
        counts="n_graded",
        columns=("isup_true", "isup_mil"),
        shown=("card", "summary", "grades"),
        tolerance=0.25,
        parts="slides of one provider, where there are several",
    ),
    Metric(
        "qwk.rule",
        "Quadratic kappa, rule",
        "the same for the grade computed from the predicted area shares of the Gleason patterns",
        _agreement("qwk.rule", quadratic_weighted_kappa, "isup", by_rule=True),
        counts="n_graded_rule",
        columns=("isup_true", "isup_rule"),
        shown=("grades",),
    ),
    Metric(
        "grade_accuracy",
        "Grade accuracy",
        "share of slides whose predicted grade is exactly right",
        _agreement("grade_accuracy", _same),
        counts="n_graded",
        shown=("grades",),
        parts="slides of one provider, where normal or tumour is graded and there are several",
    ),
    Metric(
        "grade_accuracy.rule",
        "Grade accuracy, rule",
        "the same for the rule that calls a slide tumour from a given predicted burden on",
        _agreement("grade_accuracy.rule", _same, "tumor", by_rule=True),
        counts="n_graded_rule",
        columns=("tumor_true",),
        tables=("grades",),
        shown=("grades",),
    ),
    Metric(
        "grade_auc",
        "Grade AUC",
        "tumour against normal slides, by the probability that attention MIL gives",
        _auc,
        counts="n_graded",
        tables=("grades",),
        shown=("grades",),
    ),
)
