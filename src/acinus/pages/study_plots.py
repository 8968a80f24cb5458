"""The curves of a study of slide labels: as tables that DVC draws and compares, and as charts of the page."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from acinus.charts import curves
from acinus.charts import slide_curves as charts
from acinus.charts.slide_curves import Times
from acinus.metrics.slide_figures import answers_of
from acinus.pages.plots import COLUMNS, Drawing, percent_rows
from acinus.pages.study_table import Study
from acinus.scoring.confusion import confusion
from acinus.scoring.survival import high_risk, log_rank

BINS = 5
"""Of probability: slides are few."""
MODEL = "model"
BASELINES = {"mean_pooling": "mean pooling", "size_only": "size only", "colour_only": "colour only"}
"""Columns of records.PREDICTIONS drawn beside the model."""


def study_plots(study: Study) -> dict[str, pd.DataFrame]:
    """Return every table of `plots.COLUMNS`, without rows where a study has nothing to draw.

    `roc_slides` and `pr` are of the positive class of a binary label, `confusion` and `grade_confusion` of classes,
    `reliability` of the probability of the class given, whose columns "before" stay empty: nothing is calibrated.
    """
    tables: dict[str, pd.DataFrame] = {}
    rows = study.judged
    if study.of_classes and len(rows):
        true, predicted = _classes(rows)
        tables["confusion"] = percent_rows(confusion(true, predicted, len(study.classes)), study.classes)
        tables["grade_confusion"] = pd.DataFrame(
            {"slide_id": rows["slide_id"], "actual": true, "predicted": predicted}
        ).sort_values("slide_id", kind="stable")
        bins = reliability(study).drop(columns=["low", "high"])
        tables["reliability"] = bins.rename(columns={name: f"{name}_after" for name in bins.columns[1:]})
    if study.kind == "binary" and rows["true"].nunique() == 2:
        labels, scores = rows["true"].to_numpy(dtype=np.int64), study.probs(rows)[:, 1]
        false_rate, true_rate, cut = roc_curve(labels, scores)
        cut[np.isinf(cut)] = np.nan  # the first point: nothing is called positive
        tables["roc_slides"] = pd.DataFrame({"fpr": false_rate, "tpr": true_rate, "threshold": cut})
        tables["pr"] = _pr(labels, scores)
    return {
        name: tables.get(name, pd.DataFrame()).reindex(columns=list(columns)).reset_index(drop=True)
        for name, columns in COLUMNS.items()
    }


def _classes(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and the predicted classes, uint8 (n,)."""
    return rows["true"].to_numpy(dtype=np.uint8), rows["predicted"].to_numpy(dtype=np.uint8)


def _pr(labels: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    precision, recall, cut = precision_recall_curve(labels, scores)
    return pd.DataFrame({"recall": recall, "precision": precision, "threshold": np.r_[cut, np.nan]})[::-1]


def reliability(study: Study) -> pd.DataFrame:
    """Return bin (its middle), count, confidence, accuracy, low and high of BINS bins of probability.

    Of a binary label: of the positive class; else of the class given. low, high: Wilson's 95 % interval of the share
    that is right; NaN where a bin is empty.
    """
    from scipy.stats import binomtest  # slow to import

    rows = study.judged
    probs, (true, predicted) = study.probs(rows), _classes(rows)
    if study.kind == "binary":
        prob, right = probs[:, 1], true == 1
    else:
        prob, right = probs[np.arange(len(rows)), predicted], true == predicted
    place = np.minimum((prob * BINS).astype(np.int64), BINS - 1)
    lines = []
    for number in range(BINS):
        inside = place == number
        line = {"bin": (number + 0.5) / BINS, "count": int(inside.sum())}
        if inside.any():
            ends = binomtest(int(right[inside].sum()), int(inside.sum())).proportion_ci(method="wilson")
            line |= {"confidence": prob[inside].mean(), "accuracy": right[inside].mean(), "low": ends.low}
            line |= {"high": ends.high}
        lines.append(line)
    return pd.DataFrame(lines, columns=["bin", "count", "confidence", "accuracy", "low", "high"])


def study_charts(study: Study) -> dict[str, Drawing]:
    """Return the charts of a study by the name of their file, in the order of the page."""
    rows = study.judged
    if rows.empty:
        return {}
    by_kind: dict[str, Callable[[Study], dict[str, Drawing]]] = {
        "binary": lambda one: {**_of_binary(one), **_of_classes(one)},
        "classes": _of_classes,
        "ordinal": _of_classes,
        "regression": _of_regression,
        "survival": _of_survival,
    }
    return by_kind[study.kind](study)


def _of_binary(study: Study) -> dict[str, Drawing]:
    rows = study.judged
    if rows["true"].nunique() < 2:
        return {}
    labels, positive = rows["true"].to_numpy(dtype=np.int64), study.classes[1]
    scores = {MODEL: study.probs(rows)[:, 1]}
    scores |= {name: np.array([probs[1] for probs in rows[column]]) for column, name in BASELINES.items()}
    against = f"{positive} against {study.classes[0]}, a slide once"
    return {
        "roc": Drawing(
            charts.roc_of_models_chart(scores, labels),
            "ROC",
            f"ROC curve of {against}, and of the baselines",
            "results",
        ),
        "pr": Drawing(
            curves.pr_chart(_pr(labels, scores[MODEL]), float(labels.mean())),
            "Precision and recall",
            f"precision against recall of {against}",
            "results",
        ),
    }


def _of_classes(study: Study) -> dict[str, Drawing]:
    rows = study.judged
    true, given = _classes(rows)
    pooled = answers_of(rows, "mean_pooling").predicted.astype(np.uint8)
    number = len(study.classes)
    panels = {MODEL: confusion(true, given, number), "mean pooling": confusion(true, pooled, number)}
    what = f"probability of {study.classes[1]}" if study.kind == "binary" else "probability of the class given"
    about = f"how many slides of each true {study.target} were given each, by the model and by mean pooling"
    return {
        "confusion": Drawing(curves.grade_chart(panels, study.classes, study.target), "Confusion", about, "results"),
        "reliability": Drawing(
            charts.slide_reliability_chart(reliability(study), what),
            "Reliability",
            f"how often that is right by the {what}, with 95 % intervals; below, the number of slides",
            "results",
        ),
    }


def _of_regression(study: Study) -> dict[str, Drawing]:
    rows = study.judged
    predicted, true = (rows[name].to_numpy(dtype=np.float64) for name in ("predicted", "true"))
    about = f"predicted against true {study.target} of each slide, and the differences"
    return {
        "predicted": Drawing(
            charts.predicted_chart(predicted, true, study.target), "Predicted and true", about, "results"
        )
    }


def _of_survival(study: Study) -> dict[str, Drawing]:
    patients = patients_of(study)
    time, event = patients["time"].to_numpy(dtype=np.float64), patients["event"].to_numpy(dtype=np.int64)
    high = high_risk(patients["risk"].to_numpy(dtype=np.float64), patients["fold"].to_numpy(dtype=np.int64))
    groups = {
        name: Times(time[mask], event[mask] == 1)
        for name, mask in (("low risk", ~high), ("high risk", high))
        if mask.any()
    }
    p_value = log_rank(time, event, high)
    test = "the log-rank test is undefined" if p_value is None else f"log-rank p of the patients {p_value:.2g}"
    about = f"Kaplan-Meier curves of the patients above and below the median risk of their fold, 95 % bands; {test}"
    return {"survival": Drawing(charts.survival_chart(groups, study.target), "Survival", about, "results")}


def patients_of(study: Study) -> pd.DataFrame:
    """Return a row per patient: risk (mean of its slides), time, event and fold (0 without one)."""
    rows = study.judged.assign(fold=study.judged["fold"].fillna(0))
    by_patient = rows.rename(columns={"predicted": "risk", "true": "time"}).groupby("patient", sort=True)
    return by_patient.agg({"risk": "mean", "time": "first", "event": "first", "fold": "first"})
