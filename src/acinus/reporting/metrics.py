"""The flat figures of a recipe: every one of the test split, every headline with an interval."""

import numpy as np
import pandas as pd

from acinus.records import NORMAL, TUMOR
from acinus.reporting.burden_rule import burden_rule_part, slide_calls_part
from acinus.reporting.calibration_part import calibration_part
from acinus.reporting.choices import choice_values
from acinus.reporting.detection_part import detection_part
from acinus.reporting.extraction_part import extraction_values
from acinus.reporting.figure_parts import (
    Metrics,
    Part,
    Statistic,
    floats,
    is_tumor,
    mean_of,
    patients,
    scored_slides,
    usable_slides,
)
from acinus.reporting.grades import grade_part
from acinus.reporting.instances import instance_part
from acinus.reporting.pairwise import pairwise_auc
from acinus.reporting.segmentation import segmentation_part
from acinus.reporting.setup import PATCHES, SEGMENTATION, MetricSetup, Tables
from acinus.reporting.tissue_part import tissue_part
from acinus.scoring.agreement import bland_altman
from acinus.scoring.auc import auc
from acinus.scoring.bootstrap import interval
from acinus.scoring.burden import burden_bias, burden_mae
from acinus.scoring.defined import mean_defined
from acinus.scoring.dice import Overlap, dice, pooled

FURTHER = ("slide_sensitivity", "slide_specificity", "qwk", "grade_auc", "grade_accuracy", "froc", "pq", "ece", "brier")
"""Headlines of both tasks; which of them a recipe has depends on its tables."""

HEADLINES_OF: dict[str, tuple[str, ...]] = {
    PATCHES: (
        "patch_auc",
        "within_slide_auc_mean",
        "slide_auc",
        "dice_mean_tumor",
        "dice_mean",
        "dice_pooled",
        "iou_mean",
        "burden_mae",
        "burden_bias",
        *FURTHER,
    ),
    SEGMENTATION: (
        "dice_mean_tumor",
        "dice_mean",
        "mdice",
        "miou",
        "pixel_accuracy",
        "dice_pooled",
        "iou_mean",
        "burden_mae",
        "burden_bias",
        "slide_auc",
        *FURTHER,
    ),
}
"""The figures of each task that may carry an interval, in the order in which a report shows them."""

HEADLINES = tuple(dict.fromkeys(name for names in HEADLINES_OF.values() for name in names))

COUNTS_PX = ["intersection_px", "pred_px", "true_px"]


def headlines(metrics: Metrics, task: str) -> tuple[str, ...]:
    """Return the figures with an interval that a recipe has, in the order in which a report shows them."""
    return tuple(name for name in HEADLINES_OF.get(task, ()) if f"{name}_ci_low" in metrics)


def recipe_metrics(per_slide: pd.DataFrame, given: Tables, setup: MetricSetup, bootstrap: int, seed: int) -> Metrics:
    """Return the figures of a recipe on its test slides, by the names of the design.

    `per_slide` is `tables.per_slide` of the same `given` and `setup`; only test slides with status ok count,
    patches of unknown label (-1) do not. Means run over the slides where the figure is defined (the `n_*`
    beside them); dice_mean_tumor over slides labelled tumor. burden_mae, burden_bias and the limits of
    agreement burden_loa_* are in percentage points. A patch classifier has patch figures, a segmentation those
    of `segmentation_part`; both have those of `calibration_part`, `burden_rule_part`, `slide_calls_part` and
    `tissue_part` and, where there is something to say, of `grade_part`, `detection_part`, `instance_part`,
    `choice_values` (of the validation split, for the most part) and `extraction_values` (of all splits).
    `<name>.baseline_majority` and `<name>.baseline_colour` are what the baselines reach on the same slides.

    `<name>_ci_low` and `<name>_ci_high` are the 95 % percentile interval of `bootstrap` resamples of
    whole patients (the same resamples for every figure of the same slides), never of patches; None
    with fewer than two patients. Resamples in which a figure is undefined are left out;
    n_slides_unlabelled are scored slides without annotation, which are in no figure that compares with one.
    n_resamples_undefined is the largest such count of a figure that has a value; n_patients_seen how many of the
    test patients have training slides too, which no interval makes good.
    """
    test = per_slide[(per_slide["split"] == "test").fillna(False)]
    usable, scored = usable_slides(per_slide), scored_slides(per_slide)
    counts: Metrics = {
        "n_slides": len(scored),
        "n_slides_excluded": len(test) - len(scored),
        "n_slides_unlabelled": _unlabelled(scored, given.manifest),
        "n_patients": int(scored["patient"].nunique()),
        "n_patients_seen": _seen(scored, given.manifest),
    }
    figures: Metrics = {**counts, "n_resamples_undefined": 0} | choice_values(given, setup)
    figures |= extraction_values(given.extraction)
    for part in _parts(usable, scored, given, setup):
        figures |= part.values
        for one in part.statistics:
            found = interval(one.patients, one.over, bootstrap, seed)
            figures[f"{one.name}_ci_low"], figures[f"{one.name}_ci_high"] = found.low, found.high
            if part.values[one.name] is not None:
                figures["n_resamples_undefined"] = max(int(figures["n_resamples_undefined"] or 0), found.n_undefined)
    return figures


def _unlabelled(scored: pd.DataFrame, manifest: pd.DataFrame) -> int:
    """Return how many of the scored slides have no annotation to compare with."""
    return int(scored["slide_id"].isin(manifest.loc[manifest["label_kind"] == "unknown", "slide_id"]).sum())


def _seen(scored: pd.DataFrame, manifest: pd.DataFrame) -> int:
    """Return how many patients of the scored slides have slides that the model was trained on as well."""
    trained = manifest.loc[(manifest["status"] == "ok") & (manifest["split"] == "train"), "patient"]
    return int(scored["patient"].drop_duplicates().isin(trained).sum())


def _parts(usable: pd.DataFrame, scored: pd.DataFrame, given: Tables, setup: MetricSetup) -> list[Part]:
    if setup.segments:
        own = segmentation_part(scored, given.quantities, setup.classes)
    else:
        own = _patch_part(usable, given.patch_scores)
    return [
        _slide_part(scored),
        own,
        calibration_part(usable, given, setup),
        grade_part(usable, given, setup),
        burden_rule_part(scored, given.grades, setup),
        slide_calls_part(scored),
        detection_part(scored, given),
        instance_part(scored, given.quantities, setup.classes),
        tissue_part(scored, given.quantities, setup),
    ]


def _patch_part(usable: pd.DataFrame, patch_scores: pd.DataFrame) -> Part:
    """Return the figures of a patch classifier's patches, on every usable slide, mapped or not."""
    patches = patch_scores[
        patch_scores["slide_id"].isin(usable["slide_id"]) & patch_scores["label"].isin([NORMAL, TUMOR])
    ]
    labels, within = patches["label"].to_numpy(dtype="int64"), floats(usable, "within_slide_auc")
    value = auc(patches["probs"].to_numpy(), labels)
    values: Metrics = {
        "patch_auc": value,
        "patch_auc.baseline_majority": None if value is None else 0.5,  # one score for all: every pair is a tie
        "patch_auc.baseline_colour": auc(patches["colour_probs"].to_numpy(), labels),
        "within_slide_auc_mean": mean_defined(within).value,
        "n_patches": len(patches),
        "n_within_slide_auc": int(np.isfinite(within).sum()),
    }
    groups = patients(usable)
    return Part(
        values,
        [
            Statistic("patch_auc", groups, pairwise_auc(usable["slide_id"], patches).over),
            Statistic("within_slide_auc_mean", groups, mean_of(within)),
        ],
    )


def _slide_part(scored: pd.DataFrame) -> Part:
    """Return the figures that every recipe has: overlap, burden and slide scores of the scored slides."""
    labelled = (scored["slide_label"].isin(["normal", "tumor"]) & scored["slide_score"].notna()).to_numpy(dtype=bool)
    tumor, score = is_tumor(scored), floats(scored, "slide_score")
    overlap, error = floats(scored, "dice"), floats(scored, "burden_error")
    burdens = list(zip(floats(scored, "burden_pred"), floats(scored, "burden_true"), strict=True))
    known = scored.dropna(subset=COUNTS_PX)
    overlaps = [Overlap(int(i), int(p), int(t)) for i, p, t in known[COUNTS_PX].itertuples(index=False)]
    pixels = scored[COUNTS_PX].fillna(0).to_numpy(dtype=np.int64)  # an unknown truth adds nothing to the pool

    def slide_auc(rows: np.ndarray) -> float | None:
        kept = rows[labelled[rows]]
        return auc(score[kept], tumor[kept])

    limits = bland_altman(floats(scored, "burden_pred"), floats(scored, "burden_true"))
    values: Metrics = {
        "slide_auc": slide_auc(np.arange(len(scored))),
        "dice_mean": mean_defined(overlap).value,
        "dice_mean_tumor": mean_defined(overlap[tumor]).value,
        "dice_pooled": dice(pooled(overlaps)),
        "iou_mean": mean_defined(floats(scored, "iou")).value,
        "burden_mae": burden_mae(burdens).value,
        "burden_bias": burden_bias(burdens).value,
        "burden_loa_low": limits.low if limits else None,
        "burden_loa_high": limits.high if limits else None,
        "n_slide_auc": int(labelled.sum()),
        "n_dice": int(np.isfinite(overlap).sum()),
        "n_dice_tumor": int(np.isfinite(overlap[tumor]).sum()),
        "n_dice_pooled": len(known),
        "n_dice_undefined": int(np.isnan(overlap).sum()),
        "n_burden": int(np.isfinite(error).sum()),
    }
    over = {
        "slide_auc": slide_auc,
        "dice_mean": mean_of(overlap),
        "dice_mean_tumor": mean_of(np.where(tumor, overlap, np.nan)),
        "dice_pooled": lambda rows: dice(Overlap(*pixels[rows].sum(axis=0).tolist())),
        "iou_mean": mean_of(floats(scored, "iou")),
        "burden_mae": mean_of(np.abs(error)),
        "burden_bias": mean_of(error),
    }
    return Part(values, [Statistic(name, patients(scored), figure) for name, figure in over.items()])
