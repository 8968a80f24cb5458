"""Panoptic quality of the instances, from counts that add up over slides."""

from collections.abc import Callable
from operator import itemgetter

import numpy as np

from acinus.metrics.metric import ONLY_TOLD, Case, Measure, Metric, stacked
from acinus.scoring.defined import mean_defined
from acinus.scoring.panoptic import PqCounts, panoptic_quality


def _counts(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 (slides, classes, 4), zeros where unknown, and bool (slides,), which are known.

    Raises:
        TableError: counts of another number of classes.
    """
    classes, ids = len(case.setup.classes), case.slides["slide_id"].tolist()
    expected = f"numbers, expected {4 * classes}, four per class"
    return stacked(ids, case.behind.quantities, "pq_counts", np.zeros((len(ids), classes, 4)), expected)


def _measure(case: Case, quality: Callable[[list[float | None]], float | None]) -> Measure | None:
    """Return a number of the foreground classes' qualities; none where no slide has instances."""
    stack, known = case.once(_counts)

    def over(rows: np.ndarray) -> float | None:
        counts = stack[rows[known[rows]]].sum(axis=0)[1:].tolist()
        return quality([panoptic_quality(PqCounts(iou, int(tp), int(fp), int(fn))) for iou, tp, fp, fn in counts])

    return Measure(known, over, case.kind, known) if known.any() else None


def _of_class(case: Case) -> dict[str, Measure]:
    taken = {name: _measure(case, itemgetter(index)) for index, name in enumerate(case.setup.classes[1:])}
    return {name: measure for name, measure in taken.items() if measure is not None}


METRICS = (
    Metric(
        "pq",
        "Panoptic quality",
        "instances matched at IoU above 0.5, counted over all slides, then the mean over the foreground classes",
        lambda case: _measure(case, lambda qualities: mean_defined(qualities)),
        averaged="pooled",
        counts="n_pq",
        tables=("quantities",),
        shown=("card", "instances"),
        tolerance=0.05,
    ),
)

PER_CLASS = (
    Metric(
        "class_pq",
        "Panoptic quality of a class",
        "of a foreground class, instances of all slides counted together",
        _of_class,
        averaged="pooled",
        tables=("quantities",),
        per_class=True,
        **ONLY_TOLD,
    ),
)
