"""Panoptic quality of the instances, from counts that add up over slides."""

from collections.abc import Callable

import numpy as np

from acinus.errors import TableError
from acinus.metrics.metric import Case, Measure, Metric
from acinus.scoring.defined import mean_defined
from acinus.scoring.panoptic import PqCounts, panoptic_quality


def _counts(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 (slides, classes, 4), zeros where unknown, and bool (slides,), which are known.

    Raises:
        TableError: counts of another number of classes.
    """
    quantities, classes = case.behind.quantities, len(case.setup.classes)
    by_id = dict(zip(quantities["slide_id"], quantities["pq_counts"], strict=True))
    known = np.array([by_id.get(slide_id) is not None for slide_id in case.slides["slide_id"]], dtype=bool)
    stack = np.zeros((len(known), classes, 4))
    for row in np.flatnonzero(known):
        counts = by_id[slide_id := case.slides["slide_id"].iloc[row]]
        if len(counts) != stack[row].size:
            raise TableError(
                f"table quantities: pq_counts of {slide_id} has {len(counts)} numbers, expected "
                f"{stack[row].size}, four per class; run quantify again"
            )
        stack[row] = np.reshape(counts, (classes, 4))
    return stack, known


def _qualities(counts: np.ndarray) -> list[float | None]:
    """Return the quality of every foreground class from (classes, 4) counts; None for one without instances."""
    return [
        panoptic_quality(PqCounts(float(iou), int(tp), int(fp), int(fn))) for iou, tp, fp, fn in counts[1:].tolist()
    ]


def _measure(case: Case, quality: Callable[[list[float | None]], float | None]) -> Measure | None:
    """Return a number of the classes' qualities; none where no slide has instances."""
    stack, known = case.once(_counts)

    def over(rows: np.ndarray) -> float | None:
        return quality(_qualities(stack[rows[known[rows]]].sum(axis=0)))

    return Measure(known, over, case.kind, known) if known.any() else None


def _of_class(case: Case) -> dict[str, Measure]:
    def at(index: int) -> Measure | None:
        return _measure(case, lambda qualities: qualities[index])

    taken = {name: at(index) for index, name in enumerate(case.setup.classes[1:])}
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
        interval=False,
        compared=False,
        shown=(),
        per_class=True,
    ),
)
