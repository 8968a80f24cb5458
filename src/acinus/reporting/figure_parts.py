"""What the parts of a recipe's figures share: values by name, and figures over resampled slides."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

Metrics = dict[str, float | int | None]
"""Figures by flat name; None where undefined."""

MOST_GROUPS = 30
"""So many providers or tissue types get figures of their own, the largest."""

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


def usable_slides(per_slide: pd.DataFrame) -> pd.DataFrame:
    """Return the test slides that can be used, mapped or not, renumbered from 0."""
    chosen = (per_slide["split"] == "test").fillna(False) & (per_slide["status"] == "ok")
    return per_slide[chosen].reset_index(drop=True)


def scored_slides(per_slide: pd.DataFrame) -> pd.DataFrame:
    """Return the test slides that can be used and have a map, renumbered from 0."""
    usable = usable_slides(per_slide)
    return usable[usable["scored"]].reset_index(drop=True)


def groups(column: pd.Series) -> list[tuple[str, np.ndarray]]:
    """Return (name, positions) of the largest groups of a column, by name; nothing unless there are several."""
    values = column.reset_index(drop=True)
    named = values[values.notna() & (values != "")]
    found = [(str(name), np.array(rows)) for name, rows in named.groupby(named).groups.items()]
    if len(found) < 2:
        return []
    largest = sorted(found, key=lambda group: (-len(group[1]), group[0]))[:MOST_GROUPS]
    # a tracking server takes these characters in the name of a figure, and no others
    return sorted(((re.sub(r"[^\w.:/ -]", "_", name, flags=re.ASCII), rows) for name, rows in largest), key=_name)


def _name(group: tuple[str, np.ndarray]) -> str:
    return group[0]


def groups_of(metrics: Metrics, name: str, counts: str) -> list[tuple[str, float | int | None, float | int | None]]:
    """Return (group, value, n) for every `<name>.<group>` beside a `<counts>.<group>`, by group."""
    wanted = [key.removeprefix(f"{counts}.") for key in metrics if key.startswith(f"{counts}.")]
    return [
        (one, metrics[f"{name}.{one}"], metrics[f"{counts}.{one}"])
        for one in sorted(wanted)
        if f"{name}.{one}" in metrics
    ]
