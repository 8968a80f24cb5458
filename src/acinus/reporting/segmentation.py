"""The figures of a segmentation from the confusion matrices of its slides, and what its baselines reach."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from acinus.errors import TableError
from acinus.reporting.figure_parts import Metrics, OverRows, Part, Statistic, groups, is_tumor, patients, scored_slides
from acinus.scoring import confusion
from acinus.scoring.defined import mean_defined

BASELINES: dict[str, str] = {"majority": "confusion_majority", "colour": "confusion_colour"}
"""Baseline -> column of records.QUANTITIES."""

SET_FIGURES: dict[str, Callable[[np.ndarray], float | None]] = {
    "miou": confusion.miou,
    "mdice": confusion.mdice,
    "pixel_accuracy": confusion.pixel_accuracy,
}
"""Figures of one matrix, the sum over all slides."""

CLASS_FIGURES: dict[str, Callable[[np.ndarray], list[float | None]]] = {
    "class_dice": confusion.class_dice,
    "class_iou": confusion.class_iou,
    "class_accuracy": confusion.class_accuracy,
    "class_share_pred": lambda matrix: _shares(matrix.sum(axis=0)),
    "class_share_true": lambda matrix: _shares(matrix.sum(axis=1)),
}
"""Figures of every class of one matrix: `<figure>.<class name>`; the shares are of all px of known truth."""


def segmentation_part(scored: pd.DataFrame, quantities: pd.DataFrame, classes: Sequence[str]) -> Part:
    """Return the figures of the scored slides (`tables.per_slide`) from their confusions (QUANTITIES).

    miou, mdice, pixel_accuracy and class_* are of the matrix summed over all slides of known truth
    (n_truth, n_truth_px); the baselines' dice_mean is taken slide by slide as the model's is. With several
    providers dice_mean_tumor, and with several tissue types miou, also stand as `<name>.<group>` beside
    `n_<...>.<group>`; at most 30 groups, the largest.

    Raises:
        TableError: a matrix of another number of classes.
    """
    ids = scored["slide_id"].tolist()
    stack, known = confusions(ids, quantities, "confusion", len(classes))
    whole = stack.sum(axis=0)
    values: Metrics = {name: figure(whole) for name, figure in SET_FIGURES.items()}
    values |= {"n_truth": int(known.sum()), "n_truth_px": int(whole.sum())}
    for name, per_class in CLASS_FIGURES.items():
        values |= {f"{name}.{one}": value for one, value in zip(classes, per_class(whole), strict=True)}
    for name, column in BASELINES.items():
        values |= _baseline(name, scored, *confusions(ids, quantities, column, len(classes)))
    values |= _provider_figures(scored) | _tissue_figures(scored, stack, known)
    owners = patients(scored)
    return Part(values, [Statistic(name, owners, _over(stack, figure)) for name, figure in SET_FIGURES.items()])


def confusions(
    slide_ids: Sequence[str], quantities: pd.DataFrame, column: str, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 (slides, classes, classes) in the order of `slide_ids`, zeros where null, and which are known."""
    by_id = dict(zip(quantities["slide_id"], quantities[column], strict=True))
    stack = np.zeros((len(slide_ids), classes, classes), dtype=np.int64)
    known = np.zeros(len(slide_ids), dtype=bool)
    for row, slide_id in enumerate(slide_ids):
        counts = by_id.get(slide_id)
        if counts is None:
            continue
        if len(counts) != classes * classes:
            raise TableError(
                f"table quantities: {column} of {slide_id} has {len(counts)} counts, expected {classes * classes} for "
                f"{classes} classes; run quantify again"
            )
        stack[row], known[row] = confusion.square(counts), True
    return stack, known


def summed_confusion(per_slide: pd.DataFrame, quantities: pd.DataFrame, classes: int) -> np.ndarray:
    """Return int64 (classes, classes): the px of all scored test slides, for a chart."""
    return confusions(scored_slides(per_slide)["slide_id"].tolist(), quantities, "confusion", classes)[0].sum(axis=0)


def _baseline(name: str, scored: pd.DataFrame, stack: np.ndarray, known: np.ndarray) -> Metrics:
    dices = np.array([confusion.image_dice(one) for one in stack], dtype=np.float64)  # None -> NaN
    whole = stack.sum(axis=0)
    values: Metrics = {
        "dice_mean": mean_defined(dices[known]).value,
        "dice_mean_tumor": mean_defined(dices[known & is_tumor(scored)]).value,
        **{one: figure(whole) for one, figure in SET_FIGURES.items()},
    }
    return {f"{one}.baseline_{name}": value for one, value in values.items()}


def _provider_figures(scored: pd.DataFrame) -> Metrics:
    result: Metrics = {}
    for name, rows in groups(scored["provider"]):
        part = scored.iloc[rows]
        found = mean_defined(part.loc[is_tumor(part), "dice"].to_numpy(dtype=np.float64, na_value=np.nan))
        result |= {f"dice_mean_tumor.{name}": found.value, f"n_dice_tumor.{name}": found.n}
    return result


def _tissue_figures(scored: pd.DataFrame, stack: np.ndarray, known: np.ndarray) -> Metrics:
    result: Metrics = {}
    for name, rows in groups(scored["tissue_type"]):
        result |= {f"miou.{name}": confusion.miou(stack[rows].sum(axis=0)), f"n_truth.{name}": int(known[rows].sum())}
    return result


def _over(stack: np.ndarray, figure: Callable[[np.ndarray], float | None]) -> OverRows:
    """Return `figure` of the matrices summed over chosen rows."""

    def over(rows: np.ndarray) -> float | None:
        return figure(np.tensordot(np.bincount(rows, minlength=len(stack)), stack, axes=1))

    return over


def _shares(counts: np.ndarray) -> list[float | None]:
    total = int(counts.sum())
    return [count / total if total else None for count in counts.tolist()]
