"""Two runs' slides side by side: the metrics that both allow, each with its difference, and what cannot be compared."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import AcinusError
from acinus.metrics.metric import Case, Measure, OverRows, floats, patients, usable_slides
from acinus.metrics.registry import METRICS, headlines
from acinus.metrics.registry import measures as every_measure
from acinus.metrics.setup import PATCHES, SEGMENTATION, MetricSetup, Tables
from acinus.scoring.bootstrap import paired_bootstrap

BY_SLIDE = {
    "dice": "Dice",
    "within_slide_auc": "AUC within the slide",
    "abs_burden_error": "burden error, points",
    "slide_score": "slide score",
}
"""What is put side by side slide by slide: the column and its name for a person."""

Told = Mapping[str, object]
"""The numbers of a run's metrics.json, empty where there is none."""


@dataclass(frozen=True)
class Behind:
    """The tables that a report was made from; wrong: the metrics that come out otherwise than it says, and how."""

    tables: Tables
    wrong: Mapping[str, str] = field(default_factory=dict)


def setup_of(slides: pd.DataFrame) -> MetricSetup:
    """Return task, classes and target of the grades as the columns of a per-slide table tell them."""
    names = [str(name) for name in slides.columns]
    dices, shares = (
        tuple(name.removeprefix(start) for name in names if name.startswith(start))
        for start in ("class_dice.", "class_share.")
    )
    graded = [target for target in ("isup", "tumor") if f"{target}_mil" in names]
    task = SEGMENTATION if "pixel_accuracy" in names else PATCHES
    return MetricSetup(task, dices or shares or ("normal", "tumor"), grade=graded[0] if graded else "none")


def measures(slides: pd.DataFrame, behind: Behind | None = None) -> dict[str, Measure]:
    """Return every metric that a per-slide table allows, and with the tables behind it what those allow, by name.

    The names are those of metrics.json, and so are the values over all its slides, where it has the metric.

    Raises:
        TableError: tables that do not go with the per-slide table.
    """
    case = Case(slides, setup_of(slides), behind.tables if behind else None)
    wrong = behind.wrong if behind else {}
    return {name: measure for metric, name, measure in every_measure(case) if metric.compared and name not in wrong}


def held_against(slides: pd.DataFrame, given: Tables, told: Mapping[str, Any]) -> Behind:
    """Return the tables with what they say otherwise than the report's metrics.json (told), having changed since.

    slides: all usable test slides of the report.
    """
    rows, wrong = np.arange(len(slides), dtype=np.int64), {}
    for metric, name, measure in every_measure(Case(slides, setup_of(slides), given)):
        if not (metric.tables and metric.compared):
            continue
        value, reported = measure.over(rows) if rows.size else None, told.get(name)
        same = value is reported is None or (
            value is not None and reported is not None and math.isclose(value, reported, rel_tol=1e-6, abs_tol=1e-9)
        )
        if not same:
            texts = ("undefined" if number is None else f"{number:.6g}" for number in (value, reported))
            wrong[name] = "{} by its tables, {} in metrics.json".format(*texts)
    return Behind(given, wrong)


@dataclass(frozen=True)
class Pair:
    """The usable test slides that both runs have, in one order, and the ids of those that only one has.

    behind: the tables that the runs' reports were made from, None where they are not at hand.
    """

    first: pd.DataFrame
    second: pd.DataFrame
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    behind: tuple[Behind | None, Behind | None] = (None, None)

    @cached_property
    def of_both(self) -> dict[str, tuple[Measure, Measure]]:
        """The metrics that both runs allow by name, in the registry's order, of one kind or not."""
        first, second = measures(self.first, self.behind[0]), measures(self.second, self.behind[1])
        return {name: (measure, second[name]) for name, measure in first.items() if name in second}


def paired(
    first: pd.DataFrame, second: pd.DataFrame, behind: tuple[Behind | None, Behind | None] = (None, None)
) -> Pair:
    """Return the usable test slides of both per-slide tables, mapped or not, sorted by slide_id.

    Raises:
        AcinusError: no slide in common, or a slide labelled differently.
    """
    usable = [usable_slides(slides).set_index("slide_id") for slides in (first, second)]
    ids = [set(slides.index) for slides in usable]
    common = sorted(ids[0] & ids[1])
    if not common:
        raise AcinusError(
            f"compare: no usable test slide is in both runs ({len(ids[0])} in A, {len(ids[1])} in B); "
            "compare runs on the same cohort and split"
        )
    a, b = (table.loc[common].reset_index() for table in usable)
    for column in ("slide_label", *(name for name in ("isup_true", "tumor_true") if name in a and name in b)):
        labels = [table[column].astype("string").fillna("unknown") for table in (a, b)]
        differs = (labels[0] != labels[1]).to_numpy(dtype=bool)
        if differs.any():
            at = int(differs.argmax())
            raise AcinusError(
                f"compare: {column} of slide {common[at]} is {labels[0][at]} in A and {labels[1][at]} in B; "
                "compare runs with the same labels"
            )
    return Pair(a, b, tuple(sorted(ids[0] - ids[1])), tuple(sorted(ids[1] - ids[0])), behind)


def differences(pair: Pair, metric: str | None, resamples: int, seed: int) -> pd.DataFrame:
    """Return a row per metric that both runs allow: its name, a, b, difference (b - a), low, high,
    p_value, n, n_undefined.

    Metrics that metrics.json has too have its names and, over all slides of a run, its values. n counts the
    slides where the metric is defined in both runs, on which alone all values rest; n_undefined the resamples
    left out.

    Raises:
        AcinusError: `metric` is none of them, or has no value in one of the runs.
    """
    groups = np.array(patients(pair.first), dtype=str)
    known = {name: both for name, both in pair.of_both.items() if both[0].kind == both[1].kind}
    if metric is not None and metric not in defined(pair):
        raise AcinusError(f"compare: no metric {metric!r} in both runs; known: {', '.join(defined(pair))}")
    rows = []
    for name in [metric] if metric else known:
        first, second = known[name]
        kept = np.flatnonzero(first.defined & second.defined)
        if not kept.size:
            continue
        a, b = (_over(measure.over, kept) for measure in (first, second))
        found = paired_bootstrap(groups[kept].tolist(), a, b, resamples, seed)
        whole = np.arange(kept.size, dtype=np.int64)
        rows.append({"metric": name, "a": a(whole), "b": b(whole), **found._asdict(), "n": kept.size})
    columns = ["metric", "a", "b", "difference", "low", "high", "p_value", "n", "n_undefined"]
    types = dict.fromkeys(columns[1:7], "float64")
    return pd.DataFrame(rows, columns=columns).astype(types)


def defined(pair: Pair) -> list[str]:
    """Return the metrics that have a value in both runs, over the slides where both define them."""
    found = []
    for name, both in pair.of_both.items():
        kept = np.flatnonzero(both[0].defined & both[1].defined)
        if both[0].kind == both[1].kind and kept.size and all(one.over(kept) is not None for one in both):
            found.append(name)
    return found


def why_not(pair: Pair, metric: str, names: tuple[str, str]) -> str:
    """Return which of the runs, called `names`, has no such metric on the slides in both."""
    lacking = []
    for letter, called, slides, behind in zip("AB", names, (pair.first, pair.second), pair.behind, strict=True):
        one = measures(slides, behind).get(metric)
        if one is None or not one.defined.any() or one.over(np.flatnonzero(one.defined)) is None:
            lacking.append(f"{letter} ({called})")
    if not lacking:
        return "A and B do not have it on the same slides"
    return f"{' and '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} none"


def _over(statistic: OverRows, kept: np.ndarray) -> OverRows:
    return lambda rows: statistic(kept[rows]) if rows.size else None


def missing(pair: Pair, told: tuple[Told, Told], why: tuple[str, str]) -> dict[str, str]:
    """Return the headlines of either run that cannot be compared, each with the reason.

    told: the numbers of each run's metrics.json, empty where there is none; why: what keeps the tables behind
    each report away, empty where they are at hand.
    """
    tasks = {setup_of(slides).task for slides in (pair.first, pair.second)}
    order = [name for name in METRICS if any(name in headlines(task) for task in tasks)]
    known = {name for numbers in told for name, value in numbers.items() if value is not None}
    if not any(told):  # of what a table alone cannot give, every report of a task has what is of that task only
        known = {name for name in order if METRICS[name].tables and len(METRICS[name].tasks) == 1}
    reasons = {name: _reason(name, pair, told, why) for name in order if name in known}
    return {name: reason for name, reason in reasons.items() if reason}


def _reason(name: str, pair: Pair, told: tuple[Told, Told], why: tuple[str, str]) -> str:
    """Return why a metric cannot be compared, empty where it can."""
    if name in pair.of_both:
        first, second = pair.of_both[name]
        if first.kind != second.kind:
            return f"{first.kind or 'two classes'} in A, {second.kind or 'two classes'} in B"
        return "" if (first.defined & second.defined).any() else "defined on no slide in both"
    lacking = [letter for letter, one in zip("AB", told, strict=True) if one and one.get(name) is None]
    if lacking:
        return f"{' and '.join(lacking)} has none"
    wrong = [one.wrong.get(name, "") if one else "" for one in pair.behind]
    away = [one or other for one, other in zip(why, wrong, strict=True)]
    if away[0] == away[1]:
        return f"A and B: {away[0]}" if away[0] else "the tables at hand do not give it"
    return ", ".join(f"{letter}: {text}" for letter, text in zip("AB", away, strict=True) if text)


def by_slide(pair: Pair) -> pd.DataFrame:
    """Return slide_id, patient, slide_label, and `<column>.a`, `.b` and `.difference` of the columns of BY_SLIDE."""
    result = pair.first[["slide_id", "patient", "slide_label"]].copy()
    for name in BY_SLIDE:
        column = name.removeprefix("abs_")
        if column in pair.first and column in pair.second:
            a, b = (floats(one, column) for one in (pair.first, pair.second))
            a, b = (np.abs(a), np.abs(b)) if name != column else (a, b)
            result[f"{name}.a"], result[f"{name}.b"], result[f"{name}.difference"] = a, b, b - a
    return result
