"""The curves of a report as tables: what its charts draw, and what DVC draws and compares (reports/<recipe>/plots)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from acinus.metrics.calibration import believed
from acinus.metrics.grades import graded_slides
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
    "reliability": ("bin", *(f"{one}_{when}" for when in ("before", "after") for one in _BINS)),  # test split
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


def plots(given: Tables, per_slide: pd.DataFrame, setup: MetricSetup) -> dict[str, pd.DataFrame]:
    """Return every table of COLUMNS, without rows where a recipe has nothing to draw.

    `per_slide` is `tables.per_slide` of the same `given` and `setup`.
    """
    usable, scored = usable_slides(per_slide), scored_slides(per_slide)
    patches = patch_scores(usable, given, setup)
    found = {
        "roc": _roc(patches),
        "roc_slides": _roc(slide_scores(scored)),
        "pr": _pr(patches),
        "reliability": _reliability(usable, given, setup),
        "threshold": pd.DataFrame(dict(given.calibration.get("curve") or {})),
        "loss": given.log,
        "confusion": percent_rows(confusion_matrix(given, per_slide, setup), setup.classes),
        "grade_confusion": _grades(usable, given, setup),
        "froc": _froc(scored, given),
        "burden": _burden(scored),
    }
    return {name: _thinned(found[name].reindex(columns=list(columns))) for name, columns in COLUMNS.items()}


def write_plots(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write every table as <name>.csv; the same tables give the same bytes."""
    for name, table in tables.items():
        write_csv(table, folder / f"{name}.csv")


def patch_scores(usable: pd.DataFrame, given: Tables, setup: MetricSetup) -> Scored:
    """Return P(positive) and truth of known test patches; of px drawn from them where every px has a class."""
    if setup.segments:
        known = believed(usable, given, setup, given.scaling)
        positive = setup.positive_indices
        return known.probs[:, positive].sum(axis=1), np.isin(known.labels, positive).astype(np.int64)
    labelled = labelled_patches(usable, given.patch_scores)
    return floats(labelled, "probs"), labelled["label"].to_numpy(dtype=np.int64)


def slide_scores(scored: pd.DataFrame) -> Scored:
    """Return score and label of the scored slides that have both; a slide without tissue has no score."""
    ranked = scored[scored["slide_label"].isin(["normal", "tumor"]) & scored["slide_score"].notna()]
    return floats(ranked, "slide_score"), is_tumor(ranked).astype(np.int64)


def confusion_matrix(given: Tables, per_slide: pd.DataFrame, setup: MetricSetup) -> np.ndarray:
    """Return int64 (classes, classes), true x predicted: px of a segmentation, patches of a patch classifier."""
    if setup.segments:
        return summed_confusion(per_slide, given.quantities, len(setup.classes))
    ids = usable_slides(per_slide)["slide_id"]
    own = given.patch_scores[given.patch_scores["slide_id"].isin(ids) & given.patch_scores["label"].ge(0)]
    true, predicted = (own[name].to_numpy(dtype=np.uint8) for name in ("label", "preds"))
    return confusion(true, predicted, len(setup.classes))


def percent_rows(matrix: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Return rows `actual, predicted`, 100 for every true class with any: so many of each as it has percent.

    Rounded by the largest remainders, so that they are 100; DVC's template `confusion` counts rows.
    """
    found: list[tuple[str, str]] = []
    for name, counts in zip(classes, matrix, strict=True):
        if not counts.sum():
            continue
        shares = 100 * counts / counts.sum()
        whole = np.floor(shares).astype(np.int64)
        largest = np.argsort(whole - shares, kind="stable")[: 100 - int(whole.sum())]
        whole[largest] += 1
        found += [(name, given) for given, n in zip(classes, whole.tolist(), strict=True) for _ in range(n)]
    return pd.DataFrame(found, columns=["actual", "predicted"]).astype("string")


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


def _reliability(usable: pd.DataFrame, given: Tables, setup: MetricSetup) -> pd.DataFrame:
    result: dict[str, np.ndarray] = {}
    for when, scaling in (("before", AS_TRAINED), ("after", given.scaling)):
        found = believed(usable, given, setup, scaling)
        if not found.labels.size:
            return pd.DataFrame()
        bins = found.bins
        edges = np.asarray(bins.edges)
        result["bin"] = (edges[:-1] + edges[1:]) / 2
        result[f"count_{when}"] = np.asarray(bins.count, dtype=np.int64)
        result[f"confidence_{when}"] = np.array(bins.confidence, dtype=np.float64)  # None, an empty bin: NaN
        result[f"accuracy_{when}"] = np.array(bins.accuracy, dtype=np.float64)
    return pd.DataFrame(result)


def _grades(usable: pd.DataFrame, given: Tables, setup: MetricSetup) -> pd.DataFrame:
    if not setup.graded:
        return pd.DataFrame()
    slides = graded_slides(usable, given.grades, setup)
    return slides.rename(columns={"true": "actual", "mil": "predicted"}).sort_values("slide_id", kind="stable")


def _froc(scored: pd.DataFrame, given: Tables) -> pd.DataFrame:
    found = lesion_curve(scored, given)
    return pd.DataFrame({"false_positives": found.fps, "sensitivity": found.sensitivity} if found else {})


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
