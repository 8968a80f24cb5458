"""How the figures are named, explained and written on pages and in the console."""

from dataclasses import dataclass

from acinus.reporting.metrics import Metrics

UNDEFINED = "\N{EN DASH}"
"""What stands where a figure is undefined."""


@dataclass(frozen=True)
class Wording:
    """A figure in words. `counts` names the metric that says over how many of `things` it is taken."""

    label: str
    short: str
    about: str
    counts: str
    things: str
    kind: str  # share: 0..1; points: percentage points, signed where `signed`
    signed: bool = False


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
}
"""Every figure with an interval, in the order of display."""


def text(value: float | int | None, kind: str = "share", signed: bool = False) -> str:
    """Return a figure as text: 0.973 (share), 4.10 (points), +0.80 (signed points), a dash (undefined)."""
    if value is None:
        return UNDEFINED
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
