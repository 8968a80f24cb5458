"""Whether two runs' metrics of patches are of the same patches: two samples of the same slides are two tests."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from acinus.metrics.compare import Pair
from acinus.metrics.metric import Metric, floats
from acinus.metrics.registry import METRICS

_NOTHING = pd.DataFrame()  # of a run whose tables are not at hand


def of_other_patches(pair: Pair, names: Collection[str]) -> list[str]:
    """Return a line for each kind of the metrics `names` that rests on other patches in A than in B.

    Other patches: other places, or the same with another label. Where the tables behind the reports are not at hand,
    only the slides' counts of patches tell (column n_patches), and what they cannot tell is not said.
    """
    result = []
    for of_kind, said in ((_of_patches, _patches(pair)), (_of_class_scores, _scored(pair))):
        chosen = [name for name, metric in METRICS.items() if name in names and of_kind(metric)]
        if chosen and said:
            result.append(f"of other patches in A than in B ({said}): {', '.join(chosen)}")
    return result


def _of_patches(metric: Metric) -> bool:
    """Return whether a metric is of the labelled test patches (records.SCORES)."""
    return "patch_scores" in metric.tables or "within_slide_auc" in metric.columns


def _of_class_scores(metric: Metric) -> bool:
    """Return whether a metric is of the patches of known class, or of px drawn from them (records.CLASS_SCORES)."""
    return "class_scores" in metric.tables


def _patches(pair: Pair) -> str:
    """Return how the labelled patches of the slides in both runs differ, empty where they do not."""
    first, second = (_NOTHING if one is None else one.tables.patch_scores for one in pair.behind)
    if len(first) and len(second):
        return _apart(pair, first, second, ["slide_id", "x0", "y0", "label"], "patches")
    if "n_patches" not in pair.first or "n_patches" not in pair.second:
        return ""
    a, b = (np.nan_to_num(floats(one, "n_patches")) for one in (pair.first, pair.second))
    return "" if np.array_equal(a, b) else f"{int(a.sum())} and {int(b.sum())} patches"


def _scored(pair: Pair) -> str:
    """Return how what calibration is measured on differs, empty where it does not or is not at hand."""
    first, second = (_NOTHING if one is None else one.tables.class_scores for one in pair.behind)
    if not (len(first) and len(second)):
        return ""
    return _apart(pair, first, second, ["slide_id", "x0", "y0", "px", "label"], "patches or px")


def _apart(pair: Pair, first: pd.DataFrame, second: pd.DataFrame, key: list[str], things: str) -> str:
    keys = []
    for table in (first, second):
        kept = table[table["slide_id"].isin(pair.first["slide_id"]) & (table["label"] >= 0)]
        keys.append(pd.MultiIndex.from_frame(kept[key]))
    if len(keys[0]) == len(keys[1]) and keys[0].isin(keys[1]).all():
        return ""
    both = int(keys[0].isin(keys[1]).sum())
    return f"{len(keys[0])} and {len(keys[1])} {things}, {both} of them in both"
