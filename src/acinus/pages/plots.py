"""The curves of a report: as tables that DVC draws and compares (reports/<recipe>/plots), and as charts of the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from acinus.charts import curves as charts
from acinus.labels.palette import palette
from acinus.metrics.calibration import as_trained, believed
from acinus.metrics.grades import confusions_of, graded_slides
from acinus.metrics.lesions import lesion_curve
from acinus.metrics.metric import floats, is_tumor, scored_slides, usable_slides
from acinus.metrics.overlap import summed_confusion
from acinus.metrics.per_slide import write_csv
from acinus.metrics.ranking import labelled_patches
from acinus.metrics.setup import MetricSetup, Tables
from acinus.records import LOG_COLUMNS
from acinus.scoring.confusion import confusion
from acinus.scoring.scaling import AS_TRAINED

MOST_POINTS = 2000
"""Longer curves are thinned evenly, the ends kept."""

Scored = tuple[np.ndarray, np.ndarray]
"""Scores float64 (n,) and labels 0 or 1 (n,)."""

_BINS = ("count", "confidence", "accuracy")
COLUMNS: dict[str, tuple[str, ...]] = {
    "roc": ("fpr", "tpr", "threshold"),  # of patches, or of px drawn from known patches
    "roc_slides": ("fpr", "tpr", "threshold"),  # of slides, by slide score
    "pr": ("recall", "precision", "threshold"),  # of what roc is of
    "reliability": ("bin", *(f"{part}_{when}" for when in ("before", "after") for part in _BINS)),  # test split
    "threshold": (  # validation slides, before clean-up
        *("threshold", "dice_mean", "pixel_f1", "slide_f1", "slide_sensitivity", "slide_specificity"),
    ),
    "loss": LOG_COLUMNS,
    "confusion": ("actual", "predicted"),  # 100 rows per true class: counted, they are percent of it
    "grade_confusion": ("slide_id", "actual", "predicted", "rule"),  # one row per graded slide
    "froc": ("false_positives", "sensitivity"),  # mean per slide; share of lesions
    "burden": ("slide_id", "annotated", "predicted", "mean", "difference"),  # percent of tissue
}
"""The tables by name (a file each) with their columns."""


def plots(tables: Tables, per_slide: pd.DataFrame, setup: MetricSetup) -> dict[str, pd.DataFrame]:
    """Return every table of COLUMNS, without rows where a recipe has nothing to draw.

    `per_slide` is `metrics.per_slide.per_slide` of the same `tables` and `setup`.
    """
    usable, scored = usable_slides(per_slide), scored_slides(per_slide)
    patches, lesions = _patch_scores(usable, tables, setup), lesion_curve(scored, tables)
    curves = {
        "roc": _roc(patches),
        "roc_slides": _roc(_slide_scores(scored)),
        "pr": _pr(patches),
        "reliability": _reliability(usable, tables, setup),
        "threshold": pd.DataFrame(dict(tables.calibration.get("curve") or {})),
        "loss": tables.log,
        "confusion": percent_rows(_confusion(tables, per_slide, setup), setup.classes),
        "grade_confusion": _grades(usable, tables, setup),
        "froc": pd.DataFrame({"false_positives": lesions.fps, "sensitivity": lesions.sensitivity} if lesions else {}),
        "burden": _burden(scored),
    }
    return {name: _thinned(curves[name].reindex(columns=list(columns))) for name, columns in COLUMNS.items()}


def write_plots(folder: Path, curves: Mapping[str, pd.DataFrame]) -> None:
    """Write every table as <name>.csv; the same tables give the same bytes."""
    for name, table in curves.items():
        write_csv(table, folder / f"{name}.csv")


def _patch_scores(usable: pd.DataFrame, tables: Tables, setup: MetricSetup) -> Scored:
    """Return P(positive) and truth of known test patches; of px drawn from them where every px has a class."""
    if setup.segments:
        known = believed(usable, tables, setup, tables.scaling)
        positive = setup.positive_indices
        return known.probs[:, positive].sum(axis=1), np.isin(known.labels, positive).astype(np.int64)
    labelled = labelled_patches(usable, tables.patch_scores)
    return floats(labelled, "probs"), np.isin(labelled["label"], setup.positive_indices).astype(np.int64)


def _class_scores(usable: pd.DataFrame, tables: Tables, setup: MetricSetup) -> dict[str, Scored]:
    """Return class -> its probability, as trained, and whether it is the true one, of known test patches."""
    known = as_trained(usable, tables.class_scores, setup)
    return {
        name: (known.probs[:, label], (known.labels == label).astype(np.int64))
        for label, name in enumerate(setup.classes)
    }


def _slide_scores(scored: pd.DataFrame) -> Scored:
    """Return score and label of the scored slides that have both; a slide without tissue has no score."""
    ranked = scored[scored["slide_label"].isin(["normal", "tumor"]) & scored["slide_score"].notna()]
    return floats(ranked, "slide_score"), is_tumor(ranked).astype(np.int64)


def _confusion(tables: Tables, per_slide: pd.DataFrame, setup: MetricSetup) -> np.ndarray:
    """Return int64 (classes, classes), true x predicted: px of a segmentation, patches of a patch classifier."""
    if setup.segments:
        return summed_confusion(per_slide, tables.quantities, len(setup.classes))
    scores, ids = tables.patch_scores, usable_slides(per_slide)["slide_id"]
    known = scores[scores["slide_id"].isin(ids) & scores["label"].ge(0)]
    true, predicted = (known[name].to_numpy(dtype=np.uint8) for name in ("label", "preds"))
    return confusion(true, predicted, len(setup.classes))


def percent_rows(matrix: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Return rows `actual, predicted`, 100 for every true class with any: so many of each as it has percent.

    Rounded by the largest remainders, so that they are 100; DVC's template `confusion` counts rows.
    """
    rows: list[tuple[str, str]] = []
    for name, counts in zip(classes, matrix, strict=True):
        if not counts.sum():
            continue
        shares = 100 * counts / counts.sum()
        whole = np.floor(shares).astype(np.int64)
        largest = np.argsort(whole - shares, kind="stable")[: 100 - int(whole.sum())]
        whole[largest] += 1
        rows += [(name, predicted) for predicted, n in zip(classes, whole.tolist(), strict=True) for _ in range(n)]
    return pd.DataFrame(rows, columns=["actual", "predicted"]).astype("string")


def _roc(patches: Scored) -> pd.DataFrame:
    scores, labels = patches
    if np.unique(labels).size < 2:
        return pd.DataFrame()
    false_rate, true_rate, threshold = roc_curve(labels, scores)
    threshold[np.isinf(threshold)] = np.nan  # the first point: nothing is called positive
    return pd.DataFrame({"fpr": false_rate, "tpr": true_rate, "threshold": threshold})


def _pr(patches: Scored) -> pd.DataFrame:
    scores, labels = patches
    if np.unique(labels).size < 2:
        return pd.DataFrame()
    precision, recall, threshold = precision_recall_curve(labels, scores)
    return pd.DataFrame({"recall": recall, "precision": precision, "threshold": np.r_[threshold, np.nan]})[::-1]


def _reliability(usable: pd.DataFrame, tables: Tables, setup: MetricSetup) -> pd.DataFrame:
    columns: dict[str, np.ndarray] = {}
    for when, scaling in (("before", AS_TRAINED), ("after", tables.scaling)):
        patches = believed(usable, tables, setup, scaling)
        if not patches.labels.size:
            return pd.DataFrame()
        bins = patches.bins
        edges = np.asarray(bins.edges)
        columns["bin"] = (edges[:-1] + edges[1:]) / 2
        columns[f"count_{when}"] = np.asarray(bins.count, dtype=np.int64)
        columns[f"confidence_{when}"] = np.array(bins.confidence, dtype=np.float64)  # None, an empty bin: NaN
        columns[f"accuracy_{when}"] = np.array(bins.accuracy, dtype=np.float64)
    return pd.DataFrame(columns)


def _grades(usable: pd.DataFrame, tables: Tables, setup: MetricSetup) -> pd.DataFrame:
    if not setup.graded:
        return pd.DataFrame()
    slides = graded_slides(usable, tables.grades, setup)
    return slides.rename(columns={"true": "actual", "mil": "predicted"}).sort_values("slide_id", kind="stable")


def _burden(scored: pd.DataFrame) -> pd.DataFrame:
    known = scored[scored["burden_error"].notna()]
    true, predicted = floats(known, "burden_true"), floats(known, "burden_pred")
    mean, difference = (true + predicted) / 2, predicted - true
    columns = {"annotated": true, "predicted": predicted, "mean": mean, "difference": difference}
    return pd.DataFrame({"slide_id": known["slide_id"], **columns})


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    if len(table) <= MOST_POINTS:
        return table.reset_index(drop=True)
    return table.iloc[np.rint(np.linspace(0, len(table) - 1, MOST_POINTS)).astype(int)].reset_index(drop=True)


# ---------------------------------------------------------------- charts

CLASS_0 = (90, 90, 90)
"""The curve of class 0, which pictures leave clear."""
CHARTS: dict[str, tuple[str, str, str]] = {
    "training": ("Training", "loss and accuracy per epoch, training and validation", "training"),
    "confusion": ("Confusion", "which class the {counted} of each true class were given, in percent", "results"),
    "roc": ("ROC", "ROC curves of the test patches and of the test slides{against}", "results"),
    "roc_slides": (
        "ROC within slides",
        "ROC curve and AUC of the patches of each test slide that has both classes{against}",
        "results",
    ),
    "roc_classes": ("ROC of classes", "ROC curve and AUC of each class against all others, test patches", "results"),
    "pr": ("Precision and recall", "precision against recall of the {things}{against}", "results"),
    "burden": ("Burden", "predicted against annotated {burden} per slide", "results"),
    "bland_altman": (
        "Limits of agreement",
        "error of the {burden} against its size, bias and 95 % limits of agreement (Bland-Altman)",
        "results",
    ),
    "reliability": (
        "Reliability",
        "how often the likeliest class is right by its probability, before and after calibration, test split",
        "calibration",
    ),
    "threshold": (
        "Threshold",
        "Dice, F1, sensitivity and specificity of the validation slides' maps, before clean-up, against the threshold; "
        "the chosen one marked",
        "calibration",
    ),
    "grades": ("Grades", "test slides of each true grade by the grade given, by {graders}", "grades"),
    "froc": ("Lesion FROC", "share of lesions found against mean false positives per slide", "lesions"),
}
"""Every chart by the name of its file, as the page has them: title, what it shows in words, section of the page."""


class Drawing(NamedTuple):
    """A chart: PNG bytes, title, what it shows in words (the alt text) and its section of the page."""

    png: bytes
    title: str
    alt: str
    section: str


def draw(tables: Tables, per_slide: pd.DataFrame, setup: MetricSetup) -> dict[str, Drawing]:
    """Return those of CHARTS for which the recipe has data, in the order of the page.

    `per_slide` is `metrics.per_slide.per_slide` of the same `tables` and `setup`.
    """
    curves, usable, scored = plots(tables, per_slide, setup), usable_slides(per_slide), scored_slides(per_slide)
    patches = _patch_scores(usable, tables, setup)
    pngs = {"training": charts.training_chart(tables.log)}
    many_labels = not setup.segments and len(setup.classes) > 2
    if setup.segments or many_labels:
        pngs["confusion"] = charts.confusion_chart(_confusion(tables, per_slide, setup), setup.classes)
    if not setup.segments:
        pngs["roc"] = charts.roc_chart({"patches": patches, "slides": _slide_scores(scored)})
        slides = {str(name): usable[usable["slide_id"] == name] for name in usable["slide_id"]}
        by_slide = {name: _patch_scores(slide, tables, setup) for name, slide in slides.items()}
        pngs["roc_slides"] = charts.named_roc_chart(by_slide)
    if many_labels:
        colours = palette(setup.classes) | {setup.classes[0]: CLASS_0}
        pngs["roc_classes"] = charts.named_roc_chart(_class_scores(usable, tables, setup), "class", colours)
    if not curves["pr"].empty:
        pngs["pr"] = charts.pr_chart(curves["pr"], float(np.mean(patches[1])))
    if scored["burden_error"].notna().any():
        predicted, true = floats(scored, "burden_pred"), floats(scored, "burden_true")
        pngs["burden"] = charts.burden_chart(predicted, true)
        pngs["bland_altman"] = charts.bland_altman_chart(predicted, true)
    if not curves["reliability"].empty:
        pngs["reliability"] = charts.reliability_chart(curves["reliability"])
    if not curves["threshold"].empty:
        chosen = tables.point.get("threshold")
        pngs["threshold"] = charts.threshold_chart(curves["threshold"], None if chosen is None else float(chosen))
    confusions = confusions_of(usable, tables, setup)
    if confusions:
        names = [str(grade) for grade in range(setup.grades)] if setup.grade == "isup" else ["normal", "tumour"]
        pngs["grades"] = charts.grade_chart(confusions, names)
    lesions = lesion_curve(scored, tables)
    if lesions:
        pngs["froc"] = charts.froc_chart(lesions)
    positive = ", ".join(setup.classes[index] for index in setup.positive_indices)
    words = {
        "things": "pixels drawn from the test patches" if setup.segments else "test patches",
        "against": f", {positive} against the rest" if many_labels else "",
        "counted": "pixels" if setup.segments else "patches",
        "burden": "tumour burden" if len(setup.classes) == 2 else f"burden (share of tissue that is {positive})",
        "graders": "attention MIL and by the rule" if "rule" in confusions else "attention MIL",
    }
    drawings = {name: Drawing(png, *CHARTS[name]) for name, png in pngs.items()}
    return {name: drawing._replace(alt=drawing.alt.format(**words)) for name, drawing in drawings.items()}
