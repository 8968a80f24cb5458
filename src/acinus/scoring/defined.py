"""A mean over what is defined."""

import math
from collections.abc import Iterable


def mean_defined(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are neither None nor NaN; None where there is none."""
    defined = [float(value) for value in values if value is not None and not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else None
