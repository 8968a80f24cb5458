"""What a metric is: its words for people, and how it is taken from the slides of a report."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from acinus.errors import TableError
from acinus.metrics.setup import PATCHES, SEGMENTATION, MetricSetup, Tables
from acinus.scoring.defined import mean_defined

Metrics = dict[str, float | int | None]
"""Numbers by flat name; None where undefined."""

OverRows = Callable[[np.ndarray], float | int | None]
"""A number over chosen rows of a table of slides; a row given twice counts twice."""

Unit = Literal["share", "percent", "points", "mm²", "number", "count"]
"""share: mostly 0..1; percent: such a share, shown in percent; points: percentage points."""

Better = Literal["higher", "lower", "near zero", "neither"]
"""Which way a metric gets better."""

Averaged = Literal["slides", "patches", "pooled", "none"]
"""What counts once: every slide, every patch (or px drawn from one), or every px, lesion or instance of all slides."""

MEAN_OF_CLASSES = "mean of classes"
MOST_GROUPS = 30
"""So many providers or tissue types get values of their own, the largest."""


@dataclass(frozen=True)
class Measure:
    """A metric of some slides: where it is defined, bool (slides,), and its value over chosen rows.

    kind: two runs' values are of one thing where it is the same. among: the slides that are resampled for an interval
    (all). direct: the value from the data themselves, where `over` takes it from sums. n: what the metric's `counts`
    says (the defined slides). by: a column of the per-slide table; each of its groups gets a value of its own.
    beside: further values by suffix, such as those of baselines.
    """

    defined: np.ndarray
    over: OverRows
    kind: str = ""
    among: np.ndarray | None = None
    direct: OverRows | None = None
    n: int | None = None
    by: str = ""
    beside: Callable[[], Metrics] | None = None

    @property
    def resampled(self) -> np.ndarray:
        """The rows that are resampled, int64."""
        return np.flatnonzero(np.ones_like(self.defined) if self.among is None else self.among)

    def value(self, rows: np.ndarray) -> float | int | None:
        """Return the value over rows as a report tells it."""
        return (self.direct or self.over)(rows)


Made = TypeVar("Made")


@dataclass(frozen=True)
class Case:
    """The usable test slides of a per-slide table, and the tables behind it where at hand."""

    slides: pd.DataFrame
    setup: MetricSetup
    tables: Tables | None = None
    n_test: int = 0  # test slides, usable or not
    _made: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, make: "Callable[[Case], Made]") -> Made:
        """Return make(self), made once for all metrics that need it."""
        if make not in self._made:
            self._made[make] = make(self)
        made: Made = self._made[make]
        return made

    def floats(self, column: str) -> np.ndarray:
        """Return a column as float64, NaN where null."""
        return floats(self.slides, column)

    @property
    def behind(self) -> Tables:
        """The tables behind the slides, of a metric that needs some."""
        if self.tables is None:
            raise ValueError("no tables at hand: name those that the metric needs")
        return self.tables

    @cached_property
    def scored(self) -> np.ndarray:
        """Which slides have a map and take part in scores, bool."""
        return self.slides["scored"].to_numpy(dtype=bool)

    @cached_property
    def tumor(self) -> np.ndarray:
        """Which slides are labelled tumor, bool."""
        return is_tumor(self.slides)

    @cached_property
    def labelled(self) -> np.ndarray:
        """Which slides are labelled normal or tumor, bool."""
        return self.slides["slide_label"].isin(["normal", "tumor"]).to_numpy(dtype=bool)

    @property
    def kind(self) -> str:
        """What values that hang on the classes are of."""
        return f"{self.setup.task} of {', '.join(self.setup.classes)}"


Taken = Measure | Mapping[str, Measure] | None
"""A metric of a case: one, one per class by name, or none where there is nothing to take it from."""

ONLY_TOLD: dict[str, Any] = {"interval": False, "compared": False, "shown": ()}
"""What a metric is that metrics.json has and nothing else."""


@dataclass(frozen=True)
class Metric:
    """A number that tells how good a recipe is, or of what: in words, and how it is taken.

    about: a sentence without its first capital and its stop. counts: the number that says over how many `things` it is
    taken. tables, columns: what it needs of `Tables` and of the per-slide table. interval: whether a report gives one.
    compared: whether two runs are compared by it. reported: whether metrics.json has it. shown: where pages have it
    (card, summary, or a section of the recipe's page). tolerance: by how much another machine may differ. classes: how
    many the recipe must have.
    """

    name: str
    label: str
    about: str
    take: Callable[[Case], Taken]
    short: str = ""  # of one that a recipe may be known by
    unit: Unit = "share"
    better: Better = "higher"
    averaged: Averaged = "slides"
    counts: str = ""
    things: str = "slides"
    tasks: tuple[str, ...] = (PATCHES, SEGMENTATION)
    classes: Literal["any", "two", "many"] = "any"
    columns: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    interval: bool = True
    compared: bool = True
    reported: bool = True
    shown: tuple[str, ...] = ("card",)
    tolerance: float | None = None
    many: Mapping[str, Any] = field(default_factory=dict)  # label, short, about for several foreground classes
    parts: str = ""  # what the parts of a name `<name>.<part>` are, in words
    per_class: bool = False  # it has a value per class and none of its own

    @property
    def signed(self) -> bool:
        """Whether it may be below 0."""
        return self.better == "near zero"

    def suits(self, task: str, classes: int) -> bool:
        """Return whether a recipe of a task with so many classes may have the metric."""
        return task in self.tasks and self.classes in ("any", "two" if classes == 2 else "many")

    def measures(self, case: Case) -> dict[str, Measure]:
        """Return the metric of a case under its name, or by `<name>.<class>`; nothing where it cannot be taken."""
        suits = self.suits(case.setup.task, len(case.setup.classes))
        if not suits or not set(self.columns) <= set(case.slides.columns):
            return {}
        taken = self.take(case) if not self.tables or case.tables is not None else None
        if isinstance(taken, Measure):
            return {self.name: taken}
        return {f"{self.name}.{part}": measure for part, measure in (taken or {}).items()}

    def worded(self, task: str, classes: int = 2) -> "Metric":
        """Return the metric in the words of a task of so many classes, background included."""
        if task != SEGMENTATION:
            return replace(self, **self.many) if classes > 2 and SEGMENTATION not in self.tasks else self
        drawn = replace(self, things="pixels drawn from the patches") if self.things == "patches" else self
        return replace(drawn, **self.many) if classes > 2 else drawn


# ---------------------------------------------------------------- ways to take one


def mean(values: np.ndarray, among: np.ndarray | None = None, kind: str = "", by: str = "") -> Measure:
    """Return the mean of a value per slide over the slides where it is defined (not NaN)."""
    return Measure(np.isfinite(values), mean_of(values), kind, among, lambda rows: mean_defined(values[rows]), by=by)


def mean_of(values: np.ndarray) -> OverRows:
    """Return the mean over chosen rows where the value is defined; None where none is."""

    def over(rows: np.ndarray) -> float | None:
        chosen = values[rows]
        defined = chosen[~np.isnan(chosen)]
        return float(defined.mean()) if defined.size else None

    return over


def count(name: str, about: str, number: Callable[[Case], int], **more: Any) -> Metric:
    """Return a metric that counts something and is neither good nor bad."""

    def take(case: Case) -> Measure:
        return Measure(np.ones(len(case.slides), dtype=bool), lambda rows: number(case))

    return Metric(name, about, about, take, unit="count", better="neither", averaged="none", **(ONLY_TOLD | more))


# ---------------------------------------------------------------- slides and their groups


def floats(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as float64, NaN where null."""
    return table[column].to_numpy(dtype=np.float64, na_value=np.nan)


def is_tumor(slides: pd.DataFrame) -> np.ndarray:
    """Return which slides are labelled tumor, bool."""
    return (slides["slide_label"] == "tumor").fillna(False).to_numpy(dtype=bool)


def usable_slides(per_slide: pd.DataFrame) -> pd.DataFrame:
    """Return the test slides with status ok, mapped or not, by slide_id; without a status, those scored.

    Of labels of whole slides, whose table says which model predicted them, those of every split that were predicted.
    """
    usable = (per_slide["status"] == "ok").fillna(False) if "status" in per_slide else per_slide["scored"]
    of_task = per_slide["model"].notna() if "model" in per_slide else (per_slide["split"] == "test").fillna(False)
    chosen = per_slide[of_task & usable]
    return chosen.sort_values("slide_id", kind="stable", ignore_index=True)


def scored_slides(per_slide: pd.DataFrame) -> pd.DataFrame:
    """Return the test slides that can be used and have a map, by slide_id."""
    usable = usable_slides(per_slide)
    return usable[usable["scored"]].reset_index(drop=True)


def stacked(
    slide_ids: Sequence[str], quantities: pd.DataFrame, column: str, stack: np.ndarray, expected: str
) -> tuple[np.ndarray, np.ndarray]:
    """Fill zeros (slides, ...) with a column of lists of records.QUANTITIES; return them, and which are known, bool.

    Raises:
        TableError: a list of another length than `expected` tells.
    """
    by_id = dict(zip(quantities["slide_id"], quantities[column], strict=True))
    known = np.array([by_id.get(slide_id) is not None for slide_id in slide_ids], dtype=bool)
    for row in np.flatnonzero(known).tolist():
        values = by_id[slide_id := slide_ids[row]]
        if len(values) != stack[row].size:
            raise TableError(
                f"table quantities: {column} of {slide_id} has {len(values)} {expected}; run quantify again"
            )
        stack[row] = np.reshape(values, stack[row].shape)
    return stack, known


def groups(column: pd.Series) -> list[tuple[str, np.ndarray]]:
    """Return (name, positions) of the largest groups of a column, by name; nothing unless there are several."""
    values = column.reset_index(drop=True)
    named = values[values.notna() & (values != "")]
    every = [(str(name), np.array(rows)) for name, rows in named.groupby(named).groups.items()]
    if len(every) < 2:
        return []
    largest = sorted(every, key=lambda group: (-len(group[1]), group[0]))[:MOST_GROUPS]
    # a tracking server takes these characters in the name of a metric, and no others
    renamed = ((re.sub(r"[^\w.:/ -]", "_", name, flags=re.ASCII), rows) for name, rows in largest)
    return sorted(renamed, key=lambda group: group[0])


def groups_of(metrics: Metrics, name: str, counts: str) -> list[tuple[str, float | int | None, float | int | None]]:
    """Return (group, value, n) for every `<name>.<group>` beside a `<counts>.<group>`, by group."""
    named = sorted(key.removeprefix(f"{name}.") for key in metrics if key.startswith(f"{name}."))
    return [
        (group, metrics[f"{name}.{group}"], metrics[f"{counts}.{group}"])
        for group in named
        if f"{counts}.{group}" in metrics
    ]
