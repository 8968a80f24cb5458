"""How well slides are graded: attention MIL and the transparent rule against the grades of the cohort."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from acinus.errors import TableError
from acinus.reporting.figure_parts import Metrics, OverRows, Part, Statistic, groups, patients
from acinus.reporting.setup import MetricSetup, Tables
from acinus.scoring.auc import auc
from acinus.scoring.kappa import grade_confusion, quadratic_weighted_kappa

Agree = Callable[[np.ndarray, np.ndarray], float | None]
"""A figure of true and given grades."""


def graded_slides(usable: pd.DataFrame, grades: pd.DataFrame, setup: MetricSetup) -> pd.DataFrame:
    """Return the grades (records.GRADES) of the usable test slides whose true grade is known, with patient, provider.

    Raises:
        TableError: grades of another target than the recipe's.
    """
    strange = sorted(set(grades["target"]) - {setup.grade})
    if strange:
        raise TableError(f"table grades: target {strange[0]}, expected {setup.grade}; run the grade stage again")
    known = grades[grades["true"].notna()]
    return known.merge(usable[["slide_id", "patient", "provider"]], on="slide_id", how="inner", validate="1:1")


def grade_part(usable: pd.DataFrame, given: Tables, setup: MetricSetup) -> Part:
    """Return the figures of the grades; nothing where no slide was graded.

    target isup: qwk (quadratic weighted kappa, grades 0..5 fixed, over all slides at once), the same of the rule
    (qwk.rule) and of every provider, grade_accuracy (the very same grade). target tumor: grade_accuracy and
    grade_auc, of P(tumor). `.seeds_low`, `_high`, `_mean` and `_std` are of the seeds alone: the worst, the best,
    mean and sample standard deviation (None of fewer than two).
    """
    if not setup.graded or given.grades.empty:
        return Part({})
    slides = graded_slides(usable, given.grades, setup)
    true, mil = _whole(slides["true"]), _whole(slides["mil"])
    owners, main, measure = patients(slides), *_main(setup)
    values: Metrics = {"n_graded": len(slides), main: measure(true, mil)}
    statistics = [Statistic(main, owners, _over(measure, true, mil))]
    if main != "grade_accuracy":
        values["grade_accuracy"] = _accuracy(true, mil)
        statistics.append(Statistic("grade_accuracy", owners, _over(_accuracy, true, mil)))
    if setup.grade == "tumor":
        prob = np.array([one[1] for one in slides["mil_probs"]], dtype=np.float64)
        values["grade_auc"] = auc(prob, true)
        statistics.append(Statistic("grade_auc", owners, lambda rows: auc(prob[rows], true[rows])))
    values |= {f"{main}.seeds_{end}": value for end, value in _seeds(slides, true, measure).items()}
    rule = _rule_part(slides, main, measure)
    values |= rule.values
    for name, rows in groups(slides["provider"]):
        free = name
        while f"{main}.{free}" in values:  # a provider called rule
            free += "_"
        values |= {f"{main}.{free}": measure(true[rows], mil[rows]), f"n_graded.{free}": len(rows)}
    return Part(values, statistics + rule.statistics)


def confusions_of(usable: pd.DataFrame, given: Tables, setup: MetricSetup) -> dict[str, np.ndarray]:
    """Return {"MIL": int64 (grades, grades), "rule": ...}, true x given; only of who graded a slide."""
    if not setup.graded or given.grades.empty:
        return {}
    slides = graded_slides(usable, given.grades, setup)
    result = {}
    for title, column in (("MIL", "mil"), ("rule", "rule")):
        chosen = slides[slides[column].notna()]
        if len(chosen):
            result[title] = grade_confusion(_whole(chosen["true"]), _whole(chosen[column]), setup.grades)
    return result


def _main(setup: MetricSetup) -> tuple[str, Agree]:
    if setup.grade == "isup":
        return "qwk", lambda true, given: quadratic_weighted_kappa(true, given, setup.grades)
    return "grade_accuracy", _accuracy


def _rule_part(slides: pd.DataFrame, main: str, measure: Agree) -> Part:
    """Return what the rule reaches on the slides that it can grade; nothing where it can grade none."""
    chosen = slides[slides["rule"].notna()]
    if chosen.empty:
        return Part({})
    true, rule, name = _whole(chosen["true"]), _whole(chosen["rule"]), f"{main}.rule"
    return Part(
        {name: measure(true, rule), "n_graded_rule": len(chosen)},
        [Statistic(name, patients(chosen), _over(measure, true, rule))],
    )


def _seeds(slides: pd.DataFrame, true: np.ndarray, measure: Agree) -> Metrics:
    """Return low, high, mean and std of the figure of each seed alone, over the seeds for which it is defined."""
    seeds = zip(*slides["mil_by_seed"], strict=True)
    values = [measure(true, np.array(answers, dtype=np.int64)) for answers in seeds]
    defined = np.array([value for value in values if value is not None])
    if not defined.size:
        return dict.fromkeys(("low", "high", "mean", "std"))
    low, high, mean = float(defined.min()), float(defined.max()), float(defined.mean())
    return {"low": low, "high": high, "mean": mean, "std": float(defined.std(ddof=1)) if defined.size > 1 else None}


def _accuracy(true: np.ndarray, given: np.ndarray) -> float | None:
    return float((true == given).mean()) if true.size else None


def _over(measure: Agree, true: np.ndarray, given: np.ndarray) -> OverRows:
    return lambda rows: measure(true[rows], given[rows])


def _whole(column: pd.Series) -> np.ndarray:
    return column.to_numpy(dtype=np.int64)
