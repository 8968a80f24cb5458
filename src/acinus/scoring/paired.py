"""Two models on the same slides: the difference of a figure, its interval and a p value."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from acinus.scoring.bootstrap import interval
from acinus.scoring.defined import is_defined

Statistic = Callable[[np.ndarray], float | None]
"""A figure over the items at the given positions (int64, an item given twice counting twice)."""


class Paired(NamedTuple):
    """second - first over all items, its 95 % percentile interval and two-sided p value; None where undefined.

    `n_undefined` counts the resamples in which either figure was undefined; they are left out.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n_undefined: int


def paired_bootstrap(groups: Sequence[str], first: Statistic, second: Statistic, resamples: int, seed: int) -> Paired:
    """Return what `second` has more than `first`, both taken over the same resamples of whole groups.

    `groups[i]` names the group of item i (a patient); the resamples are those of `bootstrap.interval` with
    the same seed. The p value inverts the percentile interval: twice the smaller share of resamples whose
    difference is <= 0 or >= 0, each counted with one more (so that it is never 0), at most 1. Interval and
    p value are None with fewer than two groups.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 15; the one more:
    Davison and Hinkley, Bootstrap Methods and their Application (1997), section 4.2.
    """
    drawn: list[float] = []

    def difference(items: np.ndarray) -> float | None:
        one, other = first(items), second(items)
        if one is None or other is None or not (is_defined(one) and is_defined(other)):
            return None
        drawn.append(other - one)
        return drawn[-1]

    found = interval(groups, difference, resamples, seed)
    values = np.array(drawn)
    whole = difference(np.arange(len(groups), dtype=np.int64))
    if whole is None or not values.size:
        return Paired(whole, None, None, None, found.n_undefined)
    tail = 1 + min(int((values <= 0).sum()), int((values >= 0).sum()))
    return Paired(whole, found.low, found.high, min(1.0, 2 * tail / (values.size + 1)), found.n_undefined)
