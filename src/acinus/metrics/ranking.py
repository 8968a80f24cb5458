"""How well patches and slides are ranked by their score: areas under ROC curves."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from acinus.metrics.metric import Case, Measure, Metric, Metrics, mean
from acinus.metrics.setup import PATCHES
from acinus.records import NORMAL, TUMOR
from acinus.scoring.auc import auc


@dataclass(frozen=True)
class PairwiseAuc:
    """The sufficient statistics of the patch AUC over slides, so that a resample costs no sorting.

    wins[i, j] counts the pairs of a positive of slide i and a negative of slide j in which the
    positive scores higher, a tie counting half. Resampling slides only weights rows and columns.
    """

    wins: np.ndarray  # float64 (slides, slides)
    positives: np.ndarray  # int64 (slides,)
    negatives: np.ndarray

    def over(self, rows: np.ndarray) -> float | None:
        """Return the AUC of the patches of the slides at `rows`, a slide given twice counting twice."""
        weight = np.bincount(rows, minlength=self.positives.size).astype(np.float64)
        pairs = (weight @ self.positives) * (weight @ self.negatives)
        return float(weight @ self.wins @ weight / pairs) if pairs else None


def pairwise_auc(slide_ids: pd.Series, patches: pd.DataFrame) -> PairwiseAuc:
    """Count `PairwiseAuc` for the slides in the order of `slide_ids` (unique) from labelled patches."""
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
    negatives_of = np.bincount(slide[~positive], minlength=len(ids))
    return PairwiseAuc(wins, np.bincount(owner, minlength=len(ids)), negatives_of)


def labelled_patches(slides: pd.DataFrame, patch_scores: pd.DataFrame) -> pd.DataFrame:
    """Return the patches (records.SCORES) of known label of some slides."""
    return patch_scores[patch_scores["slide_id"].isin(slides["slide_id"]) & patch_scores["label"].isin([NORMAL, TUMOR])]


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
    over = pairwise_auc(case.slides["slide_id"], patches).over
    return Measure(has, over, direct=direct, n=len(patches), beside=baselines)


def _slide_auc(case: Case) -> Measure:
    score, tumor = case.floats("slide_score"), case.tumor
    known = case.labelled & np.isfinite(score)

    def over(rows: np.ndarray) -> float | None:
        kept = rows[known[rows]]
        return auc(score[kept], tumor[kept])

    return Measure(known, over, among=case.scored)


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
        tolerance=0.02,
    ),
)

OF_SLIDES = (
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
)
