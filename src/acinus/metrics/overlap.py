"""How well predicted and annotated areas overlap: Dice and IoU of slides, of classes, and what baselines reach."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from acinus.metrics import metric
from acinus.metrics.metric import MEAN_OF_CLASSES, ONLY_TOLD, Case, Measure, Metric, Metrics, count, mean, stacked
from acinus.metrics.setup import SEGMENTATION
from acinus.scoring import confusion
from acinus.scoring.confusion import Overlap, dice
from acinus.scoring.defined import mean_defined

BASELINES: dict[str, str] = {"majority": "confusion_majority", "colour": "confusion_colour"}
"""Baseline -> column of records.QUANTITIES."""

COUNTS_PX = ("intersection_px", "pred_px", "true_px")

OfMatrix = Callable[[np.ndarray], float | None]
"""A metric of one confusion matrix."""


def confusions(
    slide_ids: Sequence[str], quantities: pd.DataFrame, column: str, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 (slides, classes, classes) in the order of `slide_ids`, zeros where null, and which are known.

    Raises:
        TableError: a matrix of another number of classes.
    """
    zeros = np.zeros((len(slide_ids), classes, classes), dtype=np.int64)
    return stacked(slide_ids, quantities, column, zeros, f"counts, expected {classes * classes} for {classes} classes")


def summed_confusion(per_slide: pd.DataFrame, quantities: pd.DataFrame, classes: int) -> np.ndarray:
    """Return int64 (classes, classes): the px of all scored test slides, for a chart."""
    ids = metric.scored_slides(per_slide)["slide_id"].tolist()
    return confusions(ids, quantities, "confusion", classes)[0].sum(axis=0)


def case_confusions(case: Case, column: str = "confusion") -> tuple[np.ndarray, np.ndarray]:
    """Return the `confusions` of a case's slides."""
    ids = case.slides["slide_id"].tolist()
    return confusions(ids, case.behind.quantities, column, len(case.setup.classes))


# ---------------------------------------------------------------- a value per slide, then the mean


def _of_slides(column: str, tumor_only: bool = False, by: str = "") -> Callable[[Case], Measure]:
    """Return how the mean of a column of overlaps is taken, over slides labelled tumor only or over all."""

    def take(case: Case) -> Measure:
        values = np.where(case.tumor, case.floats(column), np.nan) if tumor_only else case.floats(column)
        kind = case.kind if len(case.setup.classes) > 2 else ""  # a mean over these classes
        segments = case.setup.segments
        taken = mean(values, case.scored, kind, by if segments else "")
        beside = column == "dice" and segments
        return replace(taken, beside=lambda: _dice_of_baselines(case, tumor_only)) if beside else taken

    return take


def _dice_of_baselines(case: Case, tumor_only: bool) -> Metrics:
    """Return the Dice of the baselines, slide by slide as the model's is."""
    values: Metrics = {}
    for name, column in BASELINES.items():
        stack, known = case_confusions(case, column)
        dices = np.array([confusion.image_dice(matrix) for matrix in stack], dtype=np.float64)  # None -> NaN
        chosen = known & case.scored & case.tumor if tumor_only else known & case.scored
        values[f"baseline_{name}"] = mean_defined(dices[chosen])
    return values


def _dice_pooled(case: Case) -> Measure:
    counts = case.slides[list(COUNTS_PX)].to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(counts).all(axis=1)
    pixels = np.where(known[:, None], counts, 0).astype(np.int64)  # an unknown truth adds nothing to the pool
    return Measure(known, lambda rows: dice(Overlap(*pixels[rows].sum(axis=0).tolist())), among=case.scored)


def _per_class(case: Case) -> dict[str, Measure]:
    names = [name for name in case.setup.classes if f"class_dice.{name}" in case.slides]
    return {name: mean(case.floats(f"class_dice.{name}")) for name in names}


# ---------------------------------------------------------------- pixels of all slides together


def _of_matrix(measure: OfMatrix, by: str = "") -> Callable[[Case], Measure]:
    """Return how a metric of the summed confusion is taken, with what the baselines reach."""

    def take(case: Case) -> Measure:
        stack, known = case.once(case_confusions)

        def baselines() -> Metrics:
            stacks = {name: case_confusions(case, column)[0] for name, column in BASELINES.items()}
            return {f"baseline_{name}": measure(stack.sum(axis=0)) for name, stack in stacks.items()}

        return Measure(known, summed(stack, measure), case.kind, case.scored, by=by, beside=baselines)

    return take


def _of_classes(per_class: Callable[[np.ndarray], list[float | None]]) -> Callable[[Case], dict[str, Measure]]:
    """Return how a metric of every class of the summed confusion is taken."""

    def take(case: Case) -> dict[str, Measure]:
        stack, known = case.once(case_confusions)

        def of_class(index: int) -> Measure:
            return Measure(known, summed(stack, lambda matrix: per_class(matrix)[index]), case.kind, case.scored)

        return {name: of_class(index) for index, name in enumerate(case.setup.classes)}

    return take


def summed(stack: np.ndarray, measure: OfMatrix) -> Callable[[np.ndarray], float | None]:
    """Return `measure` of the matrices summed over chosen rows."""
    return lambda rows: measure(np.tensordot(np.bincount(rows, minlength=len(stack)), stack, axes=1))


def _shares(axis: int) -> Callable[[np.ndarray], list[float | None]]:
    """Return the shares of the classes as predicted (axis 0) or in truth (1)."""

    def of(matrix: np.ndarray) -> list[float | None]:
        whole = int(matrix.sum())
        return [number / whole if whole else None for number in matrix.sum(axis=axis).tolist()]

    return of


_POOLED: dict[str, Any] = {"averaged": "pooled", "tasks": (SEGMENTATION,), "tables": ("quantities",)}
_MATRIX: dict[str, Any] = _POOLED | {"counts": "n_truth"}
_CLASS: dict[str, Any] = _POOLED | ONLY_TOLD | {"per_class": True}

METRICS = (
    Metric(
        "dice_mean_tumor",
        "Dice, tumour slides",
        "mean over slides labelled tumour where Dice is defined",
        _of_slides("dice", tumor_only=True, by="provider"),
        short="Dice (tumour)",
        counts="n_dice_tumor",
        columns=("dice", "slide_label"),
        tolerance=0.05,
        many={
            "label": f"Dice, tumour slides, {MEAN_OF_CLASSES}",
            "short": f"Dice ({MEAN_OF_CLASSES}, tumour)",
            "about": "per slide the mean Dice of its foreground classes, then the mean over slides labelled tumour",
        },
        parts="slides of one provider, where there are several",
    ),
    Metric(
        "dice_mean",
        "Dice, all slides",
        "mean over all slides where Dice is defined; tumour found on a normal slide counts as 0",
        _of_slides("dice"),
        short="Dice",
        counts="n_dice",
        columns=("dice",),
        tolerance=0.05,
        many={
            "label": f"Dice, all slides, {MEAN_OF_CLASSES}",
            "short": f"Dice ({MEAN_OF_CLASSES})",
            "about": "per slide the mean Dice of its foreground classes, then the mean over all slides where it is "
            "defined; a class found where there is none counts as 0",
        },
    ),
    Metric(
        "mdice",
        "mDice",
        "pixels of all slides counted together, Dice of every class, then the mean over the classes present, "
        "background included",
        _of_matrix(confusion.mdice),
        tolerance=0.05,
        **_MATRIX,
    ),
    Metric(
        "miou",
        "mIoU",
        "pixels of all slides counted together, IoU of every class, then the mean over the classes present, "
        "background included",
        _of_matrix(confusion.miou, by="tissue_type"),
        short="mIoU",
        tolerance=0.05,
        parts="slides of one tissue type, where there are several",
        **(_MATRIX | {"shown": ("card", "summary")}),
    ),
    Metric(
        "pixel_accuracy",
        "Pixel accuracy",
        "share of the pixels with known truth whose class is predicted correctly",
        _of_matrix(confusion.pixel_accuracy),
        **_MATRIX,
    ),
    Metric(
        "dice_pooled",
        "Dice, pooled",
        "pixels of all annotated slides counted together",
        _dice_pooled,
        averaged="pooled",
        counts="n_dice_pooled",
        columns=COUNTS_PX,
        tolerance=0.05,
        many={"about": "any positive class against the rest, pixels of all slides counted together"},
    ),
    Metric(
        "iou_mean",
        "IoU",
        "mean over all slides where it is defined",
        _of_slides("iou"),
        counts="n_dice",
        columns=("iou",),
        many={
            "label": f"IoU, {MEAN_OF_CLASSES}",
            "about": "per slide the mean IoU of its foreground classes, then the mean over slides",
        },
    ),
    count(
        "n_dice_undefined",
        "scored slides on which Dice is undefined, those without an annotation included",
        lambda case: int(np.isnan(case.floats("dice")[case.scored]).sum()),
    ),
    count(
        "n_truth_px",
        "map pixels with known truth, of all slides",
        lambda case: int(case.once(case_confusions)[0].sum()),
        tasks=(SEGMENTATION,),
        tables=("quantities",),
    ),
)


PER_CLASS = (
    Metric(
        "class_dice",
        "Dice of a class",
        "Dice of a class, pixels of all slides counted together",
        _of_classes(confusion.class_dice),
        **(_CLASS | {"compared": True}),
    ),
    Metric(
        "class_iou",
        "IoU of a class",
        "IoU of a class, pixels of all slides counted together",
        _of_classes(confusion.class_iou),
        **_CLASS,
    ),
    Metric(
        "class_accuracy",
        "Accuracy of a class",
        "share of the true pixels of a class predicted as it (recall), over all slides",
        _of_classes(confusion.class_accuracy),
        **_CLASS,
    ),
    *(
        Metric(
            f"class_share_{column}",
            f"{label} share of a class",
            f"share of all pixels of known truth that are {verb} the class",
            _of_classes(_shares(axis)),
            better="neither",
            unit="percent",
            **_CLASS,
        )
        for column, label, verb, axis in (("pred", "Predicted", "predicted as", 0), ("true", "True", "of", 1))
    ),
    Metric(
        "per_slide.pixel_accuracy",
        "Pixel accuracy of slides",
        "mean of the slides' own pixel accuracy; pixel_accuracy is of all px at once",
        lambda case: mean(case.floats("pixel_accuracy")),
        columns=("pixel_accuracy",),
        reported=False,
        shown=(),
    ),
    Metric(
        "per_slide.class_dice",
        "Dice of a class, of slides",
        "mean of the slides' own Dice of a class; class_dice is of all px at once",
        _per_class,
        tasks=(SEGMENTATION,),
        reported=False,
        shown=(),
        per_class=True,
    ),
)
