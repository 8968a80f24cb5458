"""How well labels of whole slides are predicted (task slide_labels), by kind of label, beside simpler models.

The figures are of slides that no model had seen: out of fold where there are folds, else the test split. With folds,
the test split has figures of its own (`slide.test.*`), of all folds' models together. Of repeats they are the mean.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from acinus.metrics.metric import ONLY_TOLD, Case, Measure, Metric, Metrics, count
from acinus.metrics.setup import SLIDES
from acinus.metrics.slide_figures import BASELINES, FIGURES, MAIN_OF_KIND, Answers, Figure, answers_of, judged, tested


def study_metric(metrics: Metrics) -> str:
    """Return the name of the metric by which the study of these metrics is known."""
    return next((name for name in MAIN_OF_KIND.values() if name in metrics), MAIN_OF_KIND["binary"])


@dataclass(frozen=True, eq=False)
class Repeat:
    """One repeat's rows. place: int64 (slides,), the row of `said` of each of a case's slides, or -1."""

    place: np.ndarray
    said: Answers
    simpler: dict[str, Answers]


def _repeats(case: Case, which: Callable[[pd.DataFrame], pd.DataFrame]) -> list[Repeat]:
    rows = which(case.behind.predictions)
    ids = case.slides["slide_id"].astype("object")
    rows = rows[rows["slide_id"].isin(case.slides["slide_id"])]
    result = []
    for _, of_repeat in rows.groupby("repeat"):
        place = pd.Index(of_repeat["slide_id"].astype("object")).get_indexer(ids)
        simpler = {suffix: answers_of(of_repeat, column) for suffix, column in BASELINES.items()}
        result.append(Repeat(place, answers_of(of_repeat), simpler))
    return result


def _judged_of(case: Case) -> list[Repeat]:
    return _repeats(case, judged)


def _tested_of(case: Case) -> list[Repeat]:
    return _repeats(case, tested)


def _mean(values: Iterator[float | None]) -> float | None:
    """Return the mean of values, None where one is undefined or there is none."""
    listed = list(values)
    defined = [value for value in listed if value is not None]
    return sum(defined) / len(defined) if defined and len(defined) == len(listed) else None


def _taking(
    name: str, kinds: tuple[str, ...], made: Callable[[Case], list[Repeat]], simpler: bool
) -> Callable[[Case], Measure | None]:
    """Return how a figure is taken over a case's slides, with the baselines' and, of the main one, each fold's."""
    figure = FIGURES[name]

    def take(case: Case) -> Measure | None:
        repeats, predictions = case.once(made), case.behind.predictions
        if predictions.empty or (made is _tested_of and not repeats):
            return None
        kind = str(predictions["kind"].iloc[0])
        if kind not in kinds:
            return None
        known = repeats[0].place >= 0 if repeats else np.zeros(len(case.slides), dtype=bool)

        def over(rows: np.ndarray, suffix: str = "") -> float | None:
            chosen = rows[known[rows]]
            if not chosen.size:
                return None
            said = (one.simpler[suffix] if suffix else one.said for one in repeats)
            return _mean(figure(each.of(one.place[chosen])) for one, each in zip(repeats, said, strict=True))

        def beside() -> Metrics:
            everything = np.arange(len(known))
            values: Metrics = {suffix: over(everything, suffix) for suffix in BASELINES} if simpler else {}
            if MAIN_OF_KIND[kind] == f"slide.{name}":
                values |= _of_folds(repeats, figure)
            return values

        return Measure(known, over, f"{kind} labels of slides", known, beside=beside)

    return take


def _of_folds(repeats: list[Repeat], figure: Figure) -> Metrics:
    """Return each fold's value (of the first repeat), and mean and deviation over the folds of all repeats."""
    numbers = [(one, fold) for one in repeats for fold in np.unique(one.said.fold).tolist() if fold]
    values = [figure(one.said.of(np.flatnonzero(one.said.fold == fold))) for one, fold in numbers]
    first: Metrics = {
        f"fold_{fold}": value for (one, fold), value in zip(numbers, values, strict=True) if one is repeats[0]
    }
    defined = np.array([value for value in values if value is not None])
    if not first:
        return {}
    spread = float(defined.std(ddof=1)) if defined.size > 1 else None
    return first | {"folds_mean": float(defined.mean()) if defined.size else None, "folds_std": spread}


ANY_CLASS = ("binary", "classes", "ordinal")
WORDS: dict[str, tuple[str, str, tuple[str, ...], dict[str, object]]] = {
    "auc": ("Slide AUC", "slides of the positive class against the others, by its probability", ("binary",), {}),
    "auc_macro": (
        "AUC, mean of classes",
        "slides of each class against the rest, by its probability, then the mean of the classes",
        ("classes",),
        {},
    ),
    "qwk": (
        "Quadratic kappa",
        "Cohen's kappa of predicted and true class, a miss by several classes weighing the square of one",
        ("ordinal",),
        {},
    ),
    "balanced_accuracy": (
        "Balanced accuracy",
        "share of right slides in each true class, then the mean",
        ANY_CLASS,
        {},
    ),
    "accuracy": ("Accuracy", "share of slides whose class is right", ANY_CLASS, {}),
    "f1": (
        "F1",
        "twice the right slides over the true and the predicted ones, of the positive class; of more than two classes "
        "the mean of all",
        ANY_CLASS,
        {},
    ),
    "r2": (
        "R²",
        "share of the variance that is predicted; 0 is what the mean of the slides reaches",
        ("regression",),
        {"unit": "number"},
    ),
    "mae": (
        "Mean absolute error",
        "mean distance of the predicted from the true value, of an ordinal label in classes",
        ("regression", "ordinal"),
        {"unit": "number", "better": "lower"},
    ),
    "pearson": ("Pearson's r", "linear correlation of predicted and true values", ("regression",), {"unit": "number"}),
    "spearman": ("Spearman's rho", "correlation of their ranks", ("regression",), {"unit": "number"}),
    "c_index": (
        "C-index",
        "share of comparable pairs of slides, both of one fold, in which the one with the earlier event has the higher "
        "risk (Harrell)",
        ("survival",),
        {},
    ),
    "log_rank_p": (
        "Log-rank p",
        "p value that patients above and below the median risk (of their fold) have one survival; the risk is the "
        "mean of their slides",
        ("survival",),
        {"unit": "number", "better": "neither", "interval": False, "compared": False},
    ),
    "ece": (
        "Calibration error",
        "distance of the probability from the share that is right, in 15 bins; of two classes that of the positive",
        ANY_CLASS,
        {"better": "lower"},
    ),
    "brier": (
        "Brier score",
        "squared errors of all probabilities, added over the classes",
        ANY_CLASS,
        {"better": "lower"},
    ),
}
"""Figure -> label, what it is, kinds of label that have it, and what else `Metric` has of it."""


def _metric(name: str, test: bool) -> Metric:
    label, about, kinds, more = WORDS[name]
    short = label if f"slide.{name}" in MAIN_OF_KIND.values() and not test else ""
    made, simpler = (_tested_of if test else _judged_of), name != "log_rank_p"
    return Metric(
        f"slide.test.{name}" if test else f"slide.{name}",
        f"{label}, test split" if test else label,
        f"{about}; the test split, by the models of all folds together" if test else about,
        _taking(name, kinds, made, simpler),
        short=short,
        counts="n_slides_tested" if test else "n_slides_judged",
        tasks=(SLIDES,),
        tables=("predictions",),
        shown=("card",),
        tolerance=0.15 if name != "log_rank_p" else None,
        **more,  # type: ignore[arg-type]
    )


def _rows(case: Case, chosen: Callable[[pd.DataFrame], pd.Series]) -> int:
    predictions = case.behind.predictions
    return int(predictions.loc[chosen(predictions), "slide_id"].nunique())


def _cramers_v(case: Case) -> Measure | None:
    """Return how strongly the label (of survival the event) and the site go together, over patients."""
    from scipy.stats.contingency import association, crosstab

    rows = judged(case.behind.predictions)
    if not len(rows) or rows["kind"].iloc[0] == "regression":
        return None
    column = "event" if rows["kind"].iloc[0] == "survival" else "label"
    rows = rows[rows["site"].notna()].drop_duplicates(["patient", column])  # with slides of two labels: both count
    labels = rows[column].astype("string")
    if labels.nunique() < 2 or rows["site"].nunique() < 2:
        return None
    value = float(association(crosstab(labels.tolist(), rows["site"].tolist()).count, method="cramer"))
    return Measure(np.ones(len(case.slides), dtype=bool), lambda chosen: value)


METRICS = (
    *(_metric(name, test) for test in (False, True) for name in FIGURES),
    Metric(
        "slide.cramers_v",
        "Label and site, Cramer's V",
        "how strongly label and site of a patient go together: 0 not at all, 1 one tells the other",
        _cramers_v,
        unit="number",
        better="neither",
        tasks=(SLIDES,),
        tables=("predictions",),
        **ONLY_TOLD,
    ),
    count(
        "n_slides_without_label",
        "slides without a label, predicted but in no figure",
        partial(_rows, chosen=lambda rows: rows["true"].isna()),
        tasks=(SLIDES,),
        tables=("predictions",),
    ),
)
