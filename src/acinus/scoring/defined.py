"""Means over what is defined, with the count of what is not."""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Mean(NamedTuple):
    """A mean over the defined values; `value` is None where none is defined."""

    value: float | None
    n: int
    n_undefined: int


def is_defined(value: float | None) -> bool:
    """Return whether a figure has a value (None and NaN have none)."""
    return value is not None and not math.isnan(value)


def mean_defined(values: Iterable[float | None]) -> Mean:
    """Return the mean of the values that are neither None nor NaN, and how many were and were not."""
    every = list(values)
    defined = [float(value) for value in every if value is not None and not math.isnan(value)]
    mean = math.fsum(defined) / len(defined) if defined else None
    return Mean(mean, len(defined), len(every) - len(defined))
