"""How well patches are ranked by their score: areas under ROC curves."""

import numpy as np
import pandas as pd

from acinus.metrics.metric import Case, Measure, Metric, Metrics, OverRows, mean
from acinus.metrics.setup import PATCHES
from acinus.records import TUMOR
from acinus.scoring.auc import auc


def pairwise_auc(slide_ids: pd.Series, patches: pd.DataFrame) -> OverRows:
    """Return the AUC of labelled patches as a function of rows of `slide_ids` (unique), one given twice counting twice.

    A resample costs no sorting: wins[i, j] counts the pairs of a positive of slide i and a negative of slide j in which
    the positive scores higher, a tie counting half, and resampling slides only weights rows and columns.
    """
    ids = list(slide_ids)
    ordered = patches.sort_values("probs", kind="stable")  # sorted queries make the searches below ten times faster
    slide = pd.Index(ids, dtype="object").get_indexer(ordered["slide_id"].astype("object"))
    score, positive = ordered["probs"].to_numpy(dtype=np.float64), ordered["label"].to_numpy(dtype="int64") == TUMOR
    positives, owner = score[positive], slide[positive]
    wins = np.zeros((len(ids), len(ids)))
    for column in range(len(ids)):
        negatives = score[~positive & (slide == column)]
        below = np.searchsorted(negatives, positives, side="left")
        upto = np.searchsorted(negatives, positives, side="right")
        wins[:, column] = np.bincount(owner, weights=(below + upto) / 2, minlength=len(ids))
    n_positive, n_negative = (np.bincount(slide[which], minlength=len(ids)) for which in (positive, ~positive))

    def over(rows: np.ndarray) -> float | None:
        weight = np.bincount(rows, minlength=len(ids)).astype(np.float64)
        pairs = (weight @ n_positive) * (weight @ n_negative)
        return float(weight @ wins @ weight / pairs) if pairs else None

    return over


def labelled_patches(slides: pd.DataFrame, patch_scores: pd.DataFrame) -> pd.DataFrame:
    """Return the patches (records.SCORES) of known label of some slides."""
    return patch_scores[patch_scores["slide_id"].isin(slides["slide_id"]) & patch_scores["label"].ge(0)]


def _patch_auc(case: Case) -> Measure:
    """Return the AUC of the patches of every usable slide, mapped or not."""
    patches = labelled_patches(case.slides, case.behind.patch_scores)

    def direct(rows: np.ndarray, column: str = "probs") -> float | None:
        chosen = patches[patches["slide_id"].isin(case.slides["slide_id"].iloc[rows])]
        return auc(chosen[column].to_numpy(), chosen["label"].to_numpy(dtype="int64"))

    def baselines() -> Metrics:
        everything = np.arange(len(case.slides))
        both = direct(everything) is not None  # one score for all: every pair is a tie
        return {"baseline_majority": 0.5 if both else None, "baseline_colour": direct(everything, "colour_probs")}

    has = case.slides["slide_id"].isin(patches["slide_id"]).to_numpy(dtype=bool)
    return Measure(has, pairwise_auc(case.slides["slide_id"], patches), direct=direct, n=len(patches), beside=baselines)


METRICS = (
    Metric(
        "patch_auc",
        "Patch AUC",
        "all labelled test patches of all slides together",
        _patch_auc,
        short="patch AUC",
        averaged="patches",
        counts="n_patches",
        things="patches",
        tasks=(PATCHES,),
        classes="two",
        tables=("patch_scores",),
        tolerance=0.02,
    ),
    Metric(
        "within_slide_auc_mean",
        "Within-slide AUC",
        "patch AUC inside each slide that has both classes, then the mean",
        lambda case: mean(case.floats("within_slide_auc")),
        counts="n_within_slide_auc",
        tasks=(PATCHES,),
        columns=("within_slide_auc",),
        many={"about": "AUC of any positive class against the rest inside each slide that has both, then the mean"},
        tolerance=0.02,
    ),
)
