"""How the figures are named, explained and written on pages and in the console."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from acinus.reporting.figure_parts import Metrics
from acinus.reporting.figure_words import FURTHER, SIDE_FIGURES, Wording
from acinus.reporting.setup import SEGMENTATION

UNDEFINED = "\N{EN DASH}"
"""What stands where a figure is undefined."""


HEADLINES: dict[str, Wording] = {
    "patch_auc": Wording(
        "Patch AUC", "patch AUC", "all labelled test patches of all slides together", "n_patches", "patches", "share"
    ),
    "within_slide_auc_mean": Wording(
        "Within-slide AUC",
        "slide-wise AUC",
        "patch AUC inside each slide that has both classes, then the mean",
        "n_within_slide_auc",
        "slides",
        "share",
    ),
    "slide_auc": Wording(
        "Slide AUC", "slide AUC", "tumour against normal slides, by slide score", "n_slide_auc", "slides", "share"
    ),
    "dice_mean_tumor": Wording(
        "Dice, tumour slides",
        "Dice (tumour)",
        "mean over slides labelled tumour where Dice is defined",
        "n_dice_tumor",
        "slides",
        "share",
    ),
    "dice_mean": Wording(
        "Dice, all slides",
        "Dice",
        "mean over all slides where Dice is defined; tumour found on a normal slide counts as 0",
        "n_dice",
        "slides",
        "share",
    ),
    "dice_pooled": Wording(
        "Dice, pooled",
        "Dice pooled",
        "pixels of all annotated slides counted together",
        "n_dice_pooled",
        "slides",
        "share",
    ),
    "mdice": Wording(
        "mDice",
        "mDice",
        "pixels of all slides counted together, Dice of every class, then the mean over the classes present, "
        "background included",
        "n_truth",
        "slides",
        "share",
    ),
    "miou": Wording(
        "mIoU",
        "mIoU",
        "pixels of all slides counted together, IoU of every class, then the mean over the classes present, "
        "background included",
        "n_truth",
        "slides",
        "share",
    ),
    "pixel_accuracy": Wording(
        "Pixel accuracy",
        "accuracy",
        "share of the pixels of known truth given their class",
        "n_truth",
        "slides",
        "share",
    ),
    "iou_mean": Wording("IoU", "IoU", "mean over all slides where it is defined", "n_dice", "slides", "share"),
    "burden_mae": Wording(
        "Burden error",
        "burden MAE",
        "mean absolute error of tumour burden, percentage points of tissue",
        "n_burden",
        "slides",
        "points",
    ),
    "burden_bias": Wording(
        "Burden bias",
        "burden bias",
        "mean of predicted minus annotated burden, percentage points of tissue",
        "n_burden",
        "slides",
        "points",
        signed=True,
    ),
    **FURTHER,
}
"""Every figure with an interval."""

PLAIN: dict[str, Wording] = SIDE_FIGURES
"""Figures that stand beside the headlines."""

_SCORED_PX: tuple[str, ...] = ("ece", "brier", "ece.uncalibrated", "brier.uncalibrated")
"""Figures that are of pixels where every pixel has a class."""

_SEGMENTATION: dict[str, str] = {
    "dice_mean_tumor": "per slide the mean Dice of its foreground classes, then the mean over slides labelled tumour",
    "dice_mean": "per slide the mean Dice of its foreground classes, then the mean over all slides where it is "
    "defined; a class found where there is none counts as 0",
    "dice_pooled": "any positive class against the rest, pixels of all slides counted together",
    "iou_mean": "per slide the mean IoU of its foreground classes, then the mean over slides",
    "burden_mae": "mean absolute error of the positive classes' share of tissue, percentage points",
    "burden_bias": "mean of predicted minus annotated share of the positive classes, percentage points of tissue",
}
"""What figures are of where every pixel has one of several classes."""

MEAN_OF_CLASSES = "mean of classes"
_OF_CLASSES: dict[str, tuple[str, str]] = {
    "dice_mean_tumor": (f"Dice, tumour slides, {MEAN_OF_CLASSES}", f"Dice ({MEAN_OF_CLASSES}, tumour)"),
    "dice_mean": (f"Dice, all slides, {MEAN_OF_CLASSES}", f"Dice ({MEAN_OF_CLASSES})"),
    "iou_mean": (f"IoU, {MEAN_OF_CLASSES}", f"IoU ({MEAN_OF_CLASSES})"),
}
"""Label and short name of figures that are a mean where there are several foreground classes."""

MAIN_OF_FAMILY: dict[str, str] = {
    "camelyon": "dice_mean_tumor",
    "panda": "dice_mean_tumor",
    "rgb_mask": "dice_mean",
    "pannuke": "miou",
}
"""The figure by which a segmentation of each family is known; a patch classifier's is patch_auc."""

SEEN = "patients of the test split were seen in training"
"""What stands beside every interval where it is so: the figures are then not those of new patients."""

TASKS: dict[str, str] = {"patch_classification": "patch classification", "segmentation": "segmentation"}

BASELINES: dict[str, dict[str, tuple[str, str]]] = {
    "patch_classification": {
        "majority": ("majority class", "one and the same score for every patch, an AUC of 0.5 wherever there is one"),
        "colour": ("colour only", "logistic regression on mean and deviation of red, green and blue in a patch"),
    },
    "segmentation": {
        "majority": ("majority class", "the commonest class of the training patches for every pixel of the tissue"),
        "colour": ("colour only", "logistic regression on the colour of each map pixel alone, blind to its neighbours"),
    },
}
"""By task: baseline -> its name and what it does."""

SPLIT_RULES: dict[str, str] = {
    "splits.csv": "as the cohort's splits.csv says",
    "name": "by the slides' names",
    "drawn": "drawn by a seed, whole groups together",
    "official-1": "PanNuke's official split 1: train on fold 1, validate on 2, test on 3",
    "official-2": "PanNuke's official split 2: train on fold 2, validate on 1, test on 3",
    "official-3": "PanNuke's official split 3: train on fold 3, validate on 2, test on 1",
    "random": "drawn by a seed over all folds: another protocol than the official splits",
}
"""What each manifest.split_rule means."""


FILES: dict[str, str] = {
    "metrics.json": "every figure of this page that is not of a single slide or patch",
    "per_slide.csv": "a row per slide: the table of slides and the figures on their own pages",
    "regions.csv": "the regions on the slides' pages, the largest of each slide",
    "attention.csv": "the patches of highest attention on the slides' pages",
    "views.csv": "the patches shown, with their places and Dice",
    "validation.json": "shares of classes, tissue types and findings of the data",
}
"""What each file beside the page holds."""


def words(name: str, task: str, classes: int = 2) -> Wording:
    """Return a figure of HEADLINES or PLAIN in the words of a task of so many classes, background included."""
    found = HEADLINES[name] if name in HEADLINES else PLAIN[name]
    if task != SEGMENTATION:
        return found
    if name in _SCORED_PX:
        return replace(found, things="pixels drawn from the patches")
    if classes == 2:
        return found
    label, short = _OF_CLASSES.get(name, (found.label, found.short))
    return replace(found, label=label, short=short, about=_SEGMENTATION.get(name, found.about))


def classes_of(metrics: Mapping[str, Any]) -> int:
    """Return how many classes figures are of: a segmentation's have the Dice of every class, others are of two."""
    return max(2, sum(name.startswith("class_dice.") for name in metrics))


def noun(classes: int) -> str:
    """Return what the positive classes are called together, by the number of all classes."""
    return "tumour" if classes == 2 else "foreground"


def main_figure(family: str, task: str) -> str:
    """Return the name of the figure by which a recipe is known."""
    return MAIN_OF_FAMILY.get(family, "dice_mean") if task == SEGMENTATION else "patch_auc"


def text(value: float | int | None, kind: str = "share", signed: bool = False) -> str:
    """Return a figure as text: 0.973 (share), 12.3 % (percent of 1), 4.10 (points), +0.80 (signed), a dash (none)."""
    if value is None:
        return UNDEFINED
    if kind == "percent":
        return f"{100 * value:.2f} %"
    if kind == "count":
        return f"{int(value):,}"
    shown = f"{value:.3f}" if kind == "share" else f"{value:.2f}"
    if float(shown) == 0:
        shown = shown.lstrip("-")  # no minus zero
    return f"+{shown}" if signed and float(shown) > 0 else shown.replace("-", "\N{MINUS SIGN}")


def interval_text(metrics: Metrics, name: str) -> str:
    """Return `0.951 to 0.989` for a headline, or an empty string where it has no interval."""
    low, high = metrics.get(f"{name}_ci_low"), metrics.get(f"{name}_ci_high")
    wording = HEADLINES[name]
    if low is None or high is None:
        return ""
    return f"{text(low, wording.kind, wording.signed)} to {text(high, wording.kind, wording.signed)}"
