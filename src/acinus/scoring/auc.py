"""Area under the ROC curve over all items, and within each slide."""

from collections.abc import Sequence

import numpy as np

from acinus.errors import AcinusError


def auc(scores: Sequence[float] | np.ndarray, labels: Sequence[int] | np.ndarray) -> float | None:
    """Return the probability that a positive item scores above a negative one, a tie counting half.

    `scores` are finite, `labels` 0 or 1 (leave ignored items out before), both of one length.
    None where one class is absent. Rank statistic of Mann and Whitney (1947) over mid-ranks.

    Raises:
        AcinusError: a score that is no finite number, a label other than 0 and 1.
    """
    from scipy.stats import rankdata  # hundreds of modules, only where an AUC is computed

    value, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if value.shape != truth.shape or value.ndim != 1:
        raise ValueError(f"scores of shape {value.shape} and labels of shape {truth.shape}, expected one length")
    if not np.isfinite(value).all():
        raise AcinusError(f"AUC: score {value[~np.isfinite(value)][0]} found, expected finite numbers; check the model")
    positive = truth == 1
    strange = ~(positive | (truth == 0))
    if strange.any():
        raise AcinusError(f"AUC: label {truth[strange][0]} found, expected 0 or 1; leave ignored items out first")
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if not n_positive or not n_negative:
        return None
    rank_sum = float(rankdata(value)[positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def within_slide_auc(
    slide_ids: Sequence[str] | np.ndarray, scores: Sequence[float] | np.ndarray, labels: Sequence[int] | np.ndarray
) -> dict[str, float | None]:
    """Return the AUC over each slide's own items, by slide id in sorted order; None where it is undefined."""
    ids, value, truth = np.asarray(slide_ids, dtype=object), np.asarray(scores), np.asarray(labels)
    if ids.shape != value.shape or value.shape != truth.shape:
        raise ValueError(f"{ids.size} slide ids, {value.size} scores, {truth.size} labels, expected one length")
    names, group = np.unique(ids.astype(str), return_inverse=True)
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(group, minlength=names.size))[:-1]) if names.size else []
    return {str(name): auc(value[part], truth[part]) for name, part in zip(names, parts, strict=True)}
