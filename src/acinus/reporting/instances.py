"""Panoptic quality of the instances, from counts that add up over slides."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from acinus.errors import TableError
from acinus.reporting.figure_parts import Metrics, Part, Statistic, patients
from acinus.scoring.defined import mean_defined
from acinus.scoring.panoptic import PqCounts, panoptic_quality


def instance_part(scored: pd.DataFrame, quantities: pd.DataFrame, classes: Sequence[str]) -> Part:
    """Return pq and class_pq.<name> over all scored slides with instances; nothing where no slide has any known.

    The counts of a class are summed over all slides, then make its quality; pq is the mean over the foreground
    classes with any instance, true or predicted. n_pq counts the slides.

    Raises:
        TableError: counts of another number of classes.
    """
    by_id = dict(zip(quantities["slide_id"], quantities["pq_counts"], strict=True))
    rows = [row for row, slide_id in enumerate(scored["slide_id"]) if by_id.get(slide_id) is not None]
    if not rows:
        return Part({})
    known = scored.iloc[rows]
    stack = np.zeros((len(rows), len(classes), 4))
    for row, slide_id in enumerate(known["slide_id"]):
        if len(by_id[slide_id]) != stack[row].size:
            raise TableError(
                f"table quantities: pq_counts of {slide_id} has {len(by_id[slide_id])} numbers, expected "
                f"{stack[row].size}, four per class; run quantify again"
            )
        stack[row] = np.reshape(by_id[slide_id], (len(classes), 4))
    per_class = _qualities(stack.sum(axis=0))
    values: Metrics = {"pq": mean_defined(per_class).value, "n_pq": len(rows)}
    values |= {f"class_pq.{name}": one for name, one in zip(classes[1:], per_class, strict=True)}

    def over(drawn: np.ndarray) -> float | None:
        return mean_defined(_qualities(stack[drawn].sum(axis=0))).value

    return Part(values, [Statistic("pq", patients(known), over)])


def _qualities(counts: np.ndarray) -> list[float | None]:
    """Return the quality of every foreground class from (classes, 4) counts; None for one without instances."""
    return [
        panoptic_quality(PqCounts(float(iou), int(tp), int(fp), int(fn))) for iou, tp, fp, fn in counts[1:].tolist()
    ]
