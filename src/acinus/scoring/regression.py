"""How well values are predicted: mean absolute error, R2, and the correlations of Pearson and Spearman."""

import numpy as np


def mae(true: np.ndarray, predicted: np.ndarray) -> float | None:
    """Return the mean of |predicted - true|; None without any. Both float (n,) and finite."""
    return float(np.abs(predicted - true).mean()) if true.size else None


def r2(true: np.ndarray, predicted: np.ndarray) -> float | None:
    """Return 1 - squared error / squared distance from the mean of `true`: 0 is what their own mean reaches.

    Below 0 where the predictions are worse than that mean. None where `true` is constant.
    """
    spread = float(((true - true.mean()) ** 2).sum()) if true.size else 0.0
    return 1.0 - float(((true - predicted) ** 2).sum()) / spread if spread else None


def pearson(true: np.ndarray, predicted: np.ndarray) -> float | None:
    """Return the linear correlation; None where either side is constant."""
    if true.size < 2 or np.ptp(true) == 0 or np.ptp(predicted) == 0:
        return None
    x, y = true - true.mean(), predicted - predicted.mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norm if norm else None


def spearman(true: np.ndarray, predicted: np.ndarray) -> float | None:
    """Return the correlation of ranks, equal values sharing their mean rank; None where either side is constant."""
    from scipy.stats import rankdata

    return pearson(rankdata(true), rankdata(predicted)) if true.size else None
