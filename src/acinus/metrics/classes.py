"""How well patches of more than two classes are told apart: each class against the rest, their means, confusions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from acinus.metrics.calibration import Believed, as_trained
from acinus.metrics.metric import ONLY_TOLD, Case, Measure, Metric, Metrics, OverRows
from acinus.metrics.overlap import OfMatrix, summed
from acinus.metrics.ranking import pairwise_auc
from acinus.metrics.setup import PATCHES
from acinus.scoring import confusion
from acinus.scoring.auc import auc


def _patches(case: Case) -> Believed:
    """Return the known test patches of every usable slide, mapped or not, with the probabilities as trained."""
    return as_trained(case.slides, case.behind.class_scores, case.setup)


def _by_colour(case: Case) -> Believed:
    return as_trained(case.slides, case.behind.colour_scores, case.setup)


# ---------------------------------------------------------------- each class against the rest


def _aucs(case: Case) -> list[OverRows]:
    """Return the AUC of every class against all others as a function of the case's rows."""
    patches, ids = case.once(_patches), case.slides["slide_id"]
    owners = ids.to_numpy()[patches.slide]
    tables = (
        pd.DataFrame({"slide_id": owners, "probs": patches.probs[:, label], "label": patches.labels == label})
        for label in range(len(case.setup.classes))
    )
    return [pairwise_auc(ids, table.astype({"label": "int64"})) for table in tables]


def _class_auc(case: Case) -> dict[str, Measure]:
    known = _has_patches(case)
    return {
        name: Measure(known, over, case.kind) for name, over in zip(case.setup.classes, case.once(_aucs), strict=True)
    }


def _mean_auc(weighted: bool) -> Callable[[Case], Measure]:
    """Return how the mean of the classes' AUC is taken, each counting once or by its patches."""

    def take(case: Case) -> Measure:
        aucs, truth = case.once(_aucs), case.once(_confusions).sum(axis=2)
        everything = np.arange(len(case.slides), dtype=np.int64)
        judged = [label for label, over in enumerate(aucs) if over(everything) is not None]

        def over(rows: np.ndarray) -> float | None:
            return _mean([aucs[label](rows) for label in judged], truth[rows].sum(axis=0)[judged] if weighted else None)

        def baselines() -> Metrics:
            colour = case.once(_by_colour)
            by_colour = [auc(colour.probs[:, label], (colour.labels == label).astype(np.int64)) for label in judged]
            weights = truth.sum(axis=0)[judged] if weighted else None
            # one score for all: every pair is a tie
            return {"baseline_majority": 0.5 if judged else None, "baseline_colour": _mean(by_colour, weights)}

        return Measure(_has_patches(case), over, case.kind, n=int(truth.sum()), beside=baselines)

    return take


def _mean(values: list[float | None], weights: np.ndarray | None) -> float | None:
    """Return the mean of values, None where one is or there is none."""
    defined = [value for value in values if value is not None]
    return float(np.average(defined, weights=weights)) if defined and len(defined) == len(values) else None


# ---------------------------------------------------------------- the likeliest class


def _counted(patches: Believed, slides: int, classes: int) -> np.ndarray:
    """Return int64 (slides, classes, classes): patches of each true class given each class, of equals the first."""
    stack = np.zeros((slides, classes, classes), dtype=np.int64)
    np.add.at(stack, (patches.slide, patches.labels, patches.probs.argmax(axis=1)), 1)
    return stack


def _confusions(case: Case) -> np.ndarray:
    return _counted(case.once(_patches), len(case.slides), len(case.setup.classes))


def _has_patches(case: Case) -> np.ndarray:
    return np.array(case.once(_confusions).sum(axis=(1, 2)) > 0)


def _of_matrix(measure: OfMatrix) -> Callable[[Case], Measure]:
    """Return how a metric of the patches' confusion is taken, with what the baselines reach."""

    def take(case: Case) -> Measure:
        stack, classes = case.once(_confusions), len(case.setup.classes)

        def baselines() -> Metrics:
            everything, first = stack.sum(axis=0), np.zeros((classes, classes), dtype=np.int64)
            commonest = int(everything.sum(axis=1).argmax())
            first[:, commonest] = everything.sum(axis=1)
            colour = _counted(case.once(_by_colour), len(stack), classes).sum(axis=0)
            return {"baseline_majority": measure(first), "baseline_colour": measure(colour)}

        return Measure(_has_patches(case), summed(stack, measure), case.kind, n=int(stack.sum()), beside=baselines)

    return take


def _of_classes(per_class: Callable[[np.ndarray], list[float | None]]) -> Callable[[Case], dict[str, Measure]]:
    """Return how a metric of every class of the patches' confusion is taken."""

    def take(case: Case) -> dict[str, Measure]:
        stack = case.once(_confusions)

        def of_class(index: int) -> Measure:
            return Measure(_has_patches(case), summed(stack, lambda matrix: per_class(matrix)[index]), case.kind)

        return {name: of_class(index) for index, name in enumerate(case.setup.classes)}

    return take


def _cells(case: Case) -> dict[str, Measure]:
    """Return the patches of every true class that were given every class, by `<true>.<predicted>`."""
    stack = case.once(_confusions)

    def of(true: int, predicted: int) -> Measure:
        return Measure(_has_patches(case), lambda rows: int(stack[rows, true, predicted].sum()), case.kind)

    names = list(enumerate(case.setup.classes))
    return {f"{one}.{other}": of(true, predicted) for true, one in names for predicted, other in names}


_COMMON: dict[str, Any] = {"averaged": "patches", "tasks": (PATCHES,), "tables": ("class_scores",), "classes": "many"}
_MEAN: dict[str, Any] = _COMMON | {"counts": "n_patches", "things": "patches"}
_CLASS: dict[str, Any] = _COMMON | ONLY_TOLD | {"per_class": True}

METRICS = (
    Metric(
        "auc_macro",
        "Patch AUC, macro",
        "AUC of every class against the rest over all labelled test patches, by the probabilities as trained, then the "
        "mean over the classes that the patches have; a resample without one of them is undefined",
        _mean_auc(weighted=False),
        short="macro AUC",
        tolerance=0.02,
        **_MEAN,
    ),
    Metric(
        "auc_weighted",
        "Patch AUC, weighted",
        "as the macro AUC, but every class counts by the number of its patches",
        _mean_auc(weighted=True),
        **_MEAN,
    ),
    Metric(
        "balanced_accuracy",
        "Balanced accuracy",
        "share of a class's patches predicted as it, the mean over the classes that the patches have",
        _of_matrix(confusion.balanced_accuracy),
        tolerance=0.05,
        **_MEAN,
    ),
    Metric(
        "patch_accuracy",
        "Patch accuracy",
        "share of the labelled test patches whose likeliest class is right",
        _of_matrix(confusion.pixel_accuracy),
        **_MEAN,
    ),
    Metric(
        "f1_macro",
        "Patch F1, macro",
        "F1 of every class (twice its hits over its true and its predicted patches), the mean over the classes in "
        "truth or prediction",
        _of_matrix(confusion.mdice),
        **_MEAN,
    ),
    Metric(
        "f1_weighted",
        "Patch F1, weighted",
        "as the macro F1, but every class counts by the number of its patches",
        _of_matrix(confusion.weighted_dice),
        **_MEAN,
    ),
)

PER_CLASS = (
    Metric(
        "class_auc",
        "AUC of a class",
        "AUC of a class against all others over all labelled test patches",
        _class_auc,
        **(_CLASS | {"compared": True}),
    ),
    Metric(
        "class_recall",
        "Recall of a class",
        "share of the patches of a class that are predicted as it (sensitivity)",
        _of_classes(confusion.class_accuracy),
        **_CLASS,
    ),
    Metric(
        "class_precision",
        "Precision of a class",
        "share of the patches predicted as a class that truly are of it",
        _of_classes(confusion.class_precision),
        **_CLASS,
    ),
    Metric("class_f1", "F1 of a class", "F1 of a class over all patches", _of_classes(confusion.class_dice), **_CLASS),
    Metric(
        "patch_confusion",
        "Confusion of patches",
        "labelled test patches of a true class predicted as a class, as patch_confusion.<true>.<predicted>",
        _cells,
        **(_CLASS | {"unit": "count", "better": "neither", "averaged": "none"}),
    ),
)
