"""Percentile intervals of a metric, or of the difference of two, by resampling whole patients, never patches."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Statistic = Callable[[np.ndarray], float | None]
"""A metric over the items at the given positions (int64, an item given twice counting twice)."""


class Interval(NamedTuple):
    """A percentile interval; both ends None where it is undefined. `n_undefined` counts undefined resamples."""

    low: float | None
    high: float | None
    n_undefined: int


def interval(groups: Sequence[str], statistic: Statistic, resamples: int, seed: int, level: float = 0.95) -> Interval:
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
        ends = np.cumsum(sizes[drawn])
        of_drawn = np.arange(ends[-1]) + np.repeat(starts[drawn] - (ends - sizes[drawn]), sizes[drawn])
        value = statistic(items[of_drawn])
        if value is not None and not math.isnan(value):
            values.append(float(value))
    if not values:
        return Interval(None, None, resamples)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), resamples - len(values))


class Paired(NamedTuple):
    """second - first over all items, its 95 % percentile interval and two-sided p value; None where undefined.

    `n_undefined` counts the resamples in which either metric was undefined; they are left out.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n_undefined: int


def paired_bootstrap(groups: Sequence[str], first: Statistic, second: Statistic, resamples: int, seed: int) -> Paired:
    """Return what `second` has more than `first`, both taken over the same resamples of whole groups.

    `groups[i]` names the group of item i (a patient); the resamples are those of `interval` with
    the same seed. The p value inverts the percentile interval: twice the smaller share of resamples whose
    difference is <= 0 or >= 0, each counted with one more (so that it is never 0), at most 1. Interval and
    p value are None with fewer than two groups.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 15; the one more:
    Davison and Hinkley, Bootstrap Methods and their Application (1997), section 4.2.
    """
    drawn: list[float] = []

    def difference(items: np.ndarray) -> float | None:
        a, b = first(items), second(items)
        if a is None or b is None or math.isnan(a) or math.isnan(b):
            return None
        drawn.append(b - a)
        return drawn[-1]

    ends = interval(groups, difference, resamples, seed)
    values = np.array(drawn)
    whole = difference(np.arange(len(groups), dtype=np.int64))
    if whole is None or not values.size:
        return Paired(whole, None, None, None, ends.n_undefined)
    tail = 1 + min(int((values <= 0).sum()), int((values >= 0).sum()))
    return Paired(whole, ends.low, ends.high, min(1.0, 2 * tail / (values.size + 1)), ends.n_undefined)
