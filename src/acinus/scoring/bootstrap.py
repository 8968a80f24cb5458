"""Percentile intervals by resampling whole groups (slides or patients), never patches."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A percentile interval; both ends None where it is undefined. `n_undefined` counts undefined resamples."""

    low: float | None
    high: float | None
    n_undefined: int


def interval(
    groups: Sequence[str],
    statistic: Callable[[np.ndarray], float | None],
    resamples: int,
    seed: int,
    level: float = 0.95,
) -> Interval:
    """Return the percentile bootstrap interval of `statistic` over resampled groups.

    `groups[i]` names the group of item i (a slide's id, or its patient). Each resample draws as
    many groups as there are, with replacement, and gives `statistic` the positions (int64) of all
    items of the drawn groups, a group drawn twice twice. A resample whose statistic is None or NaN
    is left out and counted. Undefined (both ends None) with fewer than two groups, since those
    cannot vary, with no resamples, and where every resample is undefined.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if names.size < 2:
        return Interval(None, None, 0)
    items = np.argsort(group, kind="stable").astype(np.int64)
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    random = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = random.integers(0, names.size, names.size)
        value = statistic(items[_runs(starts[drawn], sizes[drawn])])
        if value is not None and not math.isnan(value):
            values.append(float(value))
    if not values:
        return Interval(None, None, resamples)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), resamples - len(values))


def _runs(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return starts[0], starts[0] + 1, ... (sizes[0] of them), then the same for every further run."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1]) + np.repeat(starts - (ends - sizes), sizes)
