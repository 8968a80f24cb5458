"""The flat figures of a recipe: every one of the test split, every headline with an interval."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from acinus.records import NORMAL, TUMOR
from acinus.scoring.auc import auc
from acinus.scoring.bootstrap import interval
from acinus.scoring.burden import burden_bias, burden_mae
from acinus.scoring.defined import mean_defined
from acinus.scoring.dice import Overlap, dice, pooled

Metrics = dict[str, float | int | None]
"""Figures by flat name; None where undefined."""

HEADLINES = (
    "patch_auc",
    "within_slide_auc_mean",
    "slide_auc",
    "dice_mean_tumor",
    "dice_mean",
    "dice_pooled",
    "iou_mean",
    "burden_mae",
    "burden_bias",
)
"""The figures that carry an interval, in the order in which a report shows them."""

COUNTS_PX = ["intersection_px", "pred_px", "true_px"]


def recipe_metrics(per_slide: pd.DataFrame, patch_scores: pd.DataFrame, bootstrap: int, seed: int) -> Metrics:
    """Return the figures of a patch classifier on its test slides, by the names of the design.

    `per_slide` is `tables.per_slide`, `patch_scores` records.SCORES; only test slides with status ok
    count, patches of unknown label (-1) do not. Means run over the slides where the figure is
    defined (the `n_*` beside them); dice_mean_tumor over slides labelled tumor. burden_mae and
    burden_bias are in percentage points.

    `<name>_ci_low` and `<name>_ci_high` are the 95 % percentile interval of `bootstrap` resamples of
    whole patients (the same resamples for every figure of the same slides), never of patches; None
    with fewer than two patients. Resamples in which a figure is undefined are left out;
    n_resamples_undefined is the largest such count.
    """
    test = per_slide[(per_slide["split"] == "test").fillna(False)]
    usable = test[test["status"] == "ok"]
    scored = usable[usable["scored"]].reset_index(drop=True)
    patches = patch_scores[
        patch_scores["slide_id"].isin(usable["slide_id"]) & patch_scores["label"].isin([NORMAL, TUMOR])
    ]
    figures: Metrics = {**_values(usable, scored, patches), **_counts(test, usable, scored, patches)}
    figures["n_resamples_undefined"] = 0
    for name, table, statistic in _statistics(usable.reset_index(drop=True), scored, patches):
        found = interval(table["patient"].tolist(), statistic, bootstrap, seed)
        figures[f"{name}_ci_low"], figures[f"{name}_ci_high"] = found.low, found.high
        figures["n_resamples_undefined"] = max(int(figures["n_resamples_undefined"] or 0), found.n_undefined)
    return figures


def _values(usable: pd.DataFrame, scored: pd.DataFrame, patches: pd.DataFrame) -> Metrics:
    """Return the point values of the headlines."""
    slides = _labelled(scored)
    burdens = list(zip(_floats(scored, "burden_pred"), _floats(scored, "burden_true"), strict=True))
    known = scored.dropna(subset=COUNTS_PX)
    overlaps = [Overlap(int(i), int(p), int(t)) for i, p, t in known[COUNTS_PX].itertuples(index=False)]
    return {
        "patch_auc": auc(patches["probs"].to_numpy(), patches["label"].to_numpy(dtype="int64")),
        "within_slide_auc_mean": mean_defined(_floats(usable, "within_slide_auc")).value,
        "slide_auc": auc(_floats(slides, "slide_score"), _is_tumor(slides)),
        "dice_mean": mean_defined(_floats(scored, "dice")).value,
        "dice_mean_tumor": mean_defined(_floats(scored, "dice")[_is_tumor(scored)]).value,
        "dice_pooled": dice(pooled(overlaps)),
        "iou_mean": mean_defined(_floats(scored, "iou")).value,
        "burden_mae": burden_mae(burdens).value,
        "burden_bias": burden_bias(burdens).value,
    }


def _counts(test: pd.DataFrame, usable: pd.DataFrame, scored: pd.DataFrame, patches: pd.DataFrame) -> Metrics:
    """Return over how many of what the figures are taken."""
    return {
        "n_slides": len(scored),
        "n_slides_excluded": len(test) - len(scored),
        "n_patients": int(scored["patient"].nunique()),
        "n_patches": len(patches),
        "n_within_slide_auc": int(usable["within_slide_auc"].notna().sum()),
        "n_slide_auc": len(_labelled(scored)),
        "n_dice": int(scored["dice"].notna().sum()),
        "n_dice_tumor": int(scored.loc[_is_tumor(scored), "dice"].notna().sum()),
        "n_dice_pooled": len(scored.dropna(subset=COUNTS_PX)),
        "n_dice_undefined": int(scored["dice"].isna().sum()),
        "n_burden": int(scored["burden_error"].notna().sum()),
    }


Statistic = tuple[str, pd.DataFrame, Callable[[np.ndarray], float | None]]


def _statistics(usable: pd.DataFrame, scored: pd.DataFrame, patches: pd.DataFrame) -> list[Statistic]:
    """Return name, table of slides and figure over chosen rows of that table, for every headline."""
    tumor, error = _is_tumor(scored), _floats(scored, "burden_error")
    labelled = scored.index.isin(_labelled(scored).index)
    score, overlap = _floats(scored, "slide_score"), _floats(scored, "dice")
    pixels = scored[COUNTS_PX].fillna(0).to_numpy(dtype=np.int64)  # an unknown truth adds nothing to the pool

    def slide_auc(rows: np.ndarray) -> float | None:
        kept = rows[labelled[rows]]
        return auc(score[kept], tumor[kept])

    return [
        ("patch_auc", usable, pairwise_auc(usable["slide_id"], patches).over),
        ("within_slide_auc_mean", usable, _mean_of(_floats(usable, "within_slide_auc"))),
        ("slide_auc", scored, slide_auc),
        ("dice_mean", scored, _mean_of(overlap)),
        ("dice_mean_tumor", scored, _mean_of(np.where(tumor, overlap, np.nan))),
        ("dice_pooled", scored, lambda rows: dice(Overlap(*pixels[rows].sum(axis=0).tolist()))),
        ("iou_mean", scored, _mean_of(_floats(scored, "iou"))),
        ("burden_mae", scored, _mean_of(np.abs(error))),
        ("burden_bias", scored, _mean_of(error)),
    ]


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
    score, positive = _floats(ordered, "probs"), ordered["label"].to_numpy(dtype="int64") == TUMOR
    positives, owner = score[positive], slide[positive]
    wins = np.zeros((len(ids), len(ids)))
    for column in range(len(ids)):
        negatives = score[~positive & (slide == column)]
        below = np.searchsorted(negatives, positives, side="left")
        upto = np.searchsorted(negatives, positives, side="right")
        wins[:, column] = np.bincount(owner, weights=(below + upto) / 2, minlength=len(ids))
    count = np.bincount(slide[~positive], minlength=len(ids))
    return PairwiseAuc(wins, np.bincount(owner, minlength=len(ids)), count)


def _mean_of(values: np.ndarray) -> Callable[[np.ndarray], float | None]:
    """Return the mean over chosen rows where the value is defined; None where none is."""

    def mean(rows: np.ndarray) -> float | None:
        chosen = values[rows]
        defined = chosen[~np.isnan(chosen)]
        return float(defined.mean()) if defined.size else None

    return mean


def _labelled(scored: pd.DataFrame) -> pd.DataFrame:
    """Return the slides with a slide label and a slide score."""
    return scored[scored["slide_label"].isin(["normal", "tumor"]) & scored["slide_score"].notna()]


def _is_tumor(slides: pd.DataFrame) -> np.ndarray:
    return (slides["slide_label"] == "tumor").fillna(False).to_numpy(dtype=bool)


def _floats(table: pd.DataFrame, column: str) -> np.ndarray:
    return table[column].to_numpy(dtype=np.float64, na_value=np.nan)
