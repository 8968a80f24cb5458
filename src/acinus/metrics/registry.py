"""All metrics: the one list from which report, pages, comparison, summary and glossary are made.

To add one, write a `Metric` in the module of its kind (its METRICS or PER_CLASS); nothing else names it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from acinus.errors import AcinusError
from acinus.metrics import (
    burden,
    calibration,
    calls,
    classes,
    counts,
    grades,
    instances,
    lesions,
    overlap,
    ranking,
    slides,
    tissue,
)
from acinus.metrics.metric import Case, Measure, Metric, Metrics, Taken
from acinus.metrics.setup import SEGMENTATION
from acinus.plugins import finding, loading
from acinus.plugins.loading import Loaded

METRICS: dict[str, Metric] = {}
"""Every metric by name, in the order of pages and tables."""


def register(*metrics: Metric) -> None:
    """Add metrics after those that are there.

    Raises:
        AcinusError: a name that is taken.
    """
    for metric in metrics:
        if metric.name in METRICS:
            raise AcinusError(f"metric {metric.name}: registered twice; give one of them another name")
        METRICS[metric.name] = metric


_PLUGGED: set[str] = set()


def use_plugins() -> None:
    """Add the metrics of plug-ins of the project in use, behind the others; those of another one go.

    Raises:
        AcinusError: a plug-in that cannot be used, or a name that is taken; file and line number.
    """
    for name in _PLUGGED:
        del METRICS[name]
    _PLUGGED.clear()
    for name, plugin in finding.with_builtin("metric", METRICS, "metrics/registry.py").items():
        loaded = loading.get(plugin)
        try:
            register(Metric(name, take=_taking(loaded), **{"label": name, "about": name, **loaded.options}))
        except TypeError as error:
            raise AcinusError(f"{plugin.place}: metric {name!r}: {error}") from error
        _PLUGGED.add(name)


def _taking(plugin: Loaded) -> Callable[[Case], Taken]:
    def take(case: Case) -> Taken:
        taken: Taken = plugin.function(case)
        if taken is not None and not isinstance(taken, Measure | Mapping):
            raise AcinusError(
                f"{plugin.plugin.place}: metric {plugin.plugin.name!r} gave {type(taken).__name__}; expected a "
                "Measure, or None where there is nothing to take it from"
            )
        return taken

    return take


_KINDS = (
    counts.METRICS,
    ranking.METRICS,
    classes.METRICS,
    overlap.METRICS,
    burden.METRICS,
    grades.METRICS,
    calls.METRICS,
    lesions.METRICS,
    instances.METRICS,
    calibration.METRICS,
    overlap.PER_CLASS,
    classes.PER_CLASS,
    instances.PER_CLASS,
    tissue.METRICS,
    lesions.COMPARED,
    slides.METRICS,
)
# in this order, counts last
register(*sorted((metric for kind in _KINDS for metric in kind), key=lambda metric: metric.unit == "count"))

MAIN_OF_FAMILY: dict[str, str] = {
    "camelyon": "dice_mean_tumor",
    "panda": "dice_mean_tumor",
    "rgb_mask": "dice_mean",
    "pannuke": "miou",
}
"""The metric by which a segmentation of each family is known; a patch classifier's is patch_auc or auc_macro."""

BASELINES: dict[str, dict[str, tuple[str, str]]] = {
    "patch_classification": {
        "majority": ("majority class", "one and the same score for every patch, an AUC of 0.5 wherever there is one"),
        "colour": ("colour only", "logistic regression on mean and deviation of red, green and blue in a patch"),
    },
    "segmentation": {
        "majority": ("majority class", "the commonest class of the training patches for every pixel of the tissue"),
        "colour": ("colour only", "logistic regression on the colour of each map pixel alone, blind to its neighbours"),
    },
    "slide_labels": {
        "mean_pooling": ("mean pooling", "a linear model of the mean of a slide's features"),
        "size": ("size only", "the same of the number of tissue patches alone"),
        "colour": ("colour only", "the same of mean and deviation of red, green and blue over the tissue"),
        "majority": (
            "majority",
            "the shares of the classes, the mean, or one risk, of the slides learned from",
        ),
    },
}
"""By task: baseline -> its name and what it does."""


def measures(case: Case) -> Iterator[tuple[Metric, str, Measure]]:
    """Yield every metric that a case allows with its full name and how it is taken, in the registry's order."""
    for metric in METRICS.values():
        for name, measure in metric.measures(case).items():
            yield metric, name, measure


def shown_in(place: str, metrics: Metrics, task: str) -> list[str]:
    """Return the names of the metrics that a recipe has and that pages show in a place (a section, card, summary)."""
    return [
        name for name, metric in METRICS.items() if place in metric.shown and name in metrics and task in metric.tasks
    ]


def headlines(task: str, classes: int = 2) -> list[str]:
    """Return the metrics of a task with so many classes that a report gives an interval and whose name is their own."""
    return [
        name
        for name, metric in METRICS.items()
        if metric.interval and metric.reported and not metric.per_class and metric.suits(task, classes)
    ]


def tolerances() -> dict[str, float]:
    """Return by how much metrics may differ from the committed ones on another machine type, by name."""
    return {name: metric.tolerance for name, metric in METRICS.items() if metric.tolerance is not None}


def main_metric(family: str, task: str, classes: int = 2) -> str:
    """Return the name of the metric by which a recipe of so many classes is known, if it learns from patches."""
    if task == SEGMENTATION:
        return MAIN_OF_FAMILY.get(family, "dice_mean")
    return "patch_auc" if classes == 2 else "auc_macro"


def classes_of(metrics: Mapping[str, Any]) -> int:
    """Return how many classes metrics are of: those with the Dice or AUC of every class have more than two."""
    return max(2, *(sum(name.startswith(start) for name in metrics) for start in ("class_dice.", "class_auc.")))
