"""What the parts of a recipe's figures share: values by name, and figures over resampled slides."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

Metrics = dict[str, float | int | None]
"""Figures by flat name; None where undefined."""

OverRows = Callable[[np.ndarray], float | None]
"""A figure over chosen rows of a table of slides; a row given twice counts twice."""


@dataclass(frozen=True)
class Statistic:
    """A headline that is resampled: its name, the patient of every row, and the figure over chosen rows."""

    name: str
    patients: tuple[str, ...]
    over: OverRows


@dataclass(frozen=True)
class Part:
    """Some of the figures: point values and counts, and how the headlines among them are resampled."""

    values: Metrics
    statistics: list[Statistic] = field(default_factory=list)


def mean_of(values: np.ndarray) -> OverRows:
    """Return the mean over chosen rows where the value is defined; None where none is."""

    def mean(rows: np.ndarray) -> float | None:
        chosen = values[rows]
        defined = chosen[~np.isnan(chosen)]
        return float(defined.mean()) if defined.size else None

    return mean


def floats(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as float64, NaN where null."""
    return table[column].to_numpy(dtype=np.float64, na_value=np.nan)


def is_tumor(slides: pd.DataFrame) -> np.ndarray:
    """Return which slides are labelled tumor, bool."""
    return (slides["slide_label"] == "tumor").fillna(False).to_numpy(dtype=bool)


def patients(slides: pd.DataFrame) -> tuple[str, ...]:
    """Return the patient of every slide: what is resampled."""
    return tuple(slides["patient"].tolist())
