"""Area under the ROC curve."""

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
