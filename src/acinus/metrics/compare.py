"""Two runs' slides side by side: the metrics that both allow, each with its difference, and what cannot be compared."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import AcinusError
from acinus.metrics.metric import Case, Measure, OverRows, floats
from acinus.metrics.registry import METRICS, headlines, measures
from acinus.metrics.setup import PATCHES, SEGMENTATION, SLIDES, MetricSetup, Tables
from acinus.scoring.bootstrap import paired_bootstrap

BY_SLIDE = {
    "dice": "Dice",
    "within_slide_auc": "AUC within the slide",
    "abs_burden_error": "burden error, points",
    "slide_score": "slide score",
}
"""What is put side by side slide by slide: the column and its name for a person."""


@dataclass(frozen=True)
class Run:
    """One of the two runs: its usable test slides, and what its metrics.json says (empty without one).

    tables: those that its report was made from, None where they are not at hand; why: what keeps them away. wrong: the
    metrics that come out otherwise by the tables than the report says, and how (see `checked`).
    """

    slides: pd.DataFrame
    reported: Mapping[str, Any] = field(default_factory=dict)
    tables: Tables | None = None
    why: str = ""
    wrong: Mapping[str, str] = field(default_factory=dict)

    @property
    def setup(self) -> MetricSetup:
        """Task, classes and target of the grades as the columns of the per-slide table tell them."""
        names = [str(name) for name in self.slides.columns]
        dices, shares = (
            tuple(name.removeprefix(start) for name in names if name.startswith(start))
            for start in ("class_dice.", "class_share.")
        )
        if "model" in names:  # who predicted a slide: of labels of whole slides alone
            return MetricSetup(SLIDES, tuple(name.removeprefix("prob.") for name in names if name.startswith("prob.")))
        task = SEGMENTATION if "pixel_accuracy" in names else PATCHES
        graded = [target for target in ("isup", "tumor") if f"{target}_mil" in names]
        return MetricSetup(task, dices or shares or ("normal", "tumor"), grade=graded[0] if graded else "none")

    @cached_property
    def measures(self) -> dict[str, Measure]:
        """Every metric that the per-slide table and the tables behind it allow, by its name in metrics.json.

        The values over all slides are those of metrics.json too, where it has the metric.

        Raises:
            TableError: tables that do not go with the per-slide table.
        """
        case = Case(self.slides, self.setup, self.tables)
        return {name: each for metric, name, each in measures(case) if metric.compared and name not in self.wrong}


def checked(run: Run) -> Run:
    """Return the run with the metrics that its tables, having changed since, tell otherwise than its report (wrong).

    Raises:
        TableError: tables that do not go with the per-slide table.
    """
    rows, wrong = np.arange(len(run.slides), dtype=np.int64), {}
    for metric, name, measure in measures(Case(run.slides, run.setup, run.tables)):
        if not (metric.tables and metric.compared):
            continue
        value, reported = measure.over(rows) if rows.size else None, run.reported.get(name)
        if value is None or reported is None:
            same = value is reported
        else:
            same = math.isclose(value, reported, rel_tol=1e-6, abs_tol=1e-9)
        if not same:
            texts = ("undefined" if number is None else f"{number:.6g}" for number in (value, reported))
            wrong[name] = "{} by its tables, {} in metrics.json".format(*texts)
    return replace(run, wrong=wrong)


@dataclass(frozen=True)
class Pair:
    """Two runs with the test slides that both have, in one order, and the ids of those that only one has."""

    first: Run
    second: Run
    only_first: list[str]
    only_second: list[str]

    @cached_property
    def of_both(self) -> dict[str, tuple[Measure, Measure]]:
        """The metrics that both runs allow by name, in the registry's order, of one kind or not."""
        second = self.second.measures
        return {name: (measure, second[name]) for name, measure in self.first.measures.items() if name in second}

    @cached_property
    def comparable(self) -> dict[str, tuple[OverRows, OverRows, np.ndarray]]:
        """Of the metrics of one kind, both runs' values over rows, and the rows where both are defined (some)."""
        return {
            name: (first.over, second.over, rows)
            for name, (first, second) in self.of_both.items()
            if first.kind == second.kind and (rows := np.flatnonzero(first.defined & second.defined)).size
        }

    @cached_property
    def defined(self) -> list[str]:
        """The metrics that have a value in both runs, over the slides where both define them."""
        return [
            name
            for name, (first, second, rows) in self.comparable.items()
            if first(rows) is not None and second(rows) is not None
        ]


def paired(first: Run, second: Run) -> Pair:
    """Return the runs with the test slides that both have, sorted by slide_id.

    Raises:
        AcinusError: no slide in common, or a slide labelled differently.
    """
    tables = [run.slides.set_index("slide_id") for run in (first, second)]
    ids = [set(table.index) for table in tables]
    common = sorted(ids[0] & ids[1])
    if not common:
        raise AcinusError(
            f"compare: no usable test slide is in both runs ({len(ids[0])} in A, {len(ids[1])} in B); "
            "compare runs on the same cohort and split"
        )
    a, b = (table.loc[common].reset_index() for table in tables)
    for column in ("slide_label", *(name for name in ("isup_true", "tumor_true", "label") if name in a and name in b)):
        labels = [table[column].astype("string").fillna("unknown") for table in (a, b)]
        differs = (labels[0] != labels[1]).to_numpy(dtype=bool)
        if differs.any():
            row = int(differs.argmax())
            raise AcinusError(
                f"compare: {column} of slide {common[row]} is {labels[0][row]} in A and {labels[1][row]} in B; "
                "compare runs with the same labels"
            )
    return Pair(replace(first, slides=a), replace(second, slides=b), sorted(ids[0] - ids[1]), sorted(ids[1] - ids[0]))


def differences(pair: Pair, metric: str | None, resamples: int, seed: int) -> pd.DataFrame:
    """Return a row per metric of `pair.comparable`, or of `metric` alone.

    Columns: metric, a, b, difference (b - a), low, high, p_value, n, n_undefined. All values rest on the n slides where
    the metric is defined in both runs; n_undefined counts the resamples left out.
    """
    patients, rows = np.array(pair.first.slides["patient"].tolist(), dtype=str), []
    for name in [metric] if metric else pair.comparable:
        first, second, chosen = pair.comparable[name]
        a, b = _over(first, chosen), _over(second, chosen)
        result = paired_bootstrap(patients[chosen].tolist(), a, b, resamples, seed)
        whole = np.arange(chosen.size, dtype=np.int64)
        rows.append({"metric": name, "a": a(whole), "b": b(whole), **result._asdict(), "n": chosen.size})
    columns = ["metric", "a", "b", "difference", "low", "high", "p_value", "n", "n_undefined"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:7], "float64"))


def _over(statistic: OverRows, chosen: np.ndarray) -> OverRows:
    """Return a statistic that counts its rows among the chosen ones."""
    return lambda rows: statistic(chosen[rows])


def why_not(pair: Pair, metric: str, names: tuple[str, str]) -> str:
    """Return which of the runs, called `names`, has no such metric on the slides in both."""
    lacking = []
    for letter, called, run in zip("AB", names, (pair.first, pair.second), strict=True):
        measure = run.measures.get(metric)
        if measure is None or not measure.defined.any() or measure.over(np.flatnonzero(measure.defined)) is None:
            lacking.append(f"{letter} ({called})")
    if not lacking:
        return "A and B do not have it on the same slides"
    return f"{' and '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} none"


def missing(pair: Pair) -> dict[str, str]:
    """Return the headlines of either run that cannot be compared, each with the reason."""
    runs = (pair.first, pair.second)
    headline = {name for run in runs for name in headlines(run.setup.task, len(run.setup.classes))}
    known = {name for run in runs for name, value in run.reported.items() if value is not None}
    if not (pair.first.reported or pair.second.reported):
        # of what a table alone cannot give, every report of a task has what is of that task only
        known = {name for name, metric in METRICS.items() if metric.tables and len(metric.tasks) == 1}
    wanted = headline & known
    reasons = {name: _reason(name, pair) for name in METRICS if name in wanted}
    return {name: reason for name, reason in reasons.items() if reason}


def _reason(name: str, pair: Pair) -> str:
    """Return why a metric cannot be compared, empty where it can."""
    if name in pair.of_both:
        first, second = pair.of_both[name]
        if first.kind != second.kind:
            return f"{first.kind or 'two classes'} in A, {second.kind or 'two classes'} in B"
        return "" if (first.defined & second.defined).any() else "defined on no slide in both"
    runs = {"A": pair.first, "B": pair.second}
    lacking = [letter for letter, run in runs.items() if run.reported and run.reported.get(name) is None]
    if lacking:
        return f"{' and '.join(lacking)} has none"
    away = {letter: run.why or run.wrong.get(name, "") for letter, run in runs.items()}
    if away["A"] == away["B"]:
        return f"A and B: {away['A']}" if away["A"] else "the tables at hand do not give it"
    return ", ".join(f"{letter}: {text}" for letter, text in away.items() if text)


def by_slide(pair: Pair) -> pd.DataFrame:
    """Return slide_id, patient, slide_label, and `<column>.a`, `.b` and `.difference` of the columns of BY_SLIDE."""
    first, second = pair.first.slides, pair.second.slides
    result = first[["slide_id", "patient", "slide_label"]].copy()
    for name in BY_SLIDE:
        column = name.removeprefix("abs_")
        if column in first and column in second:
            a, b = floats(first, column), floats(second, column)
            a, b = (np.abs(a), np.abs(b)) if name != column else (a, b)
            result[f"{name}.a"], result[f"{name}.b"], result[f"{name}.difference"] = a, b, b - a
    return result


# ---------------------------------------------------------------- of the same patches?


def of_other_patches(pair: Pair, names: Collection[str]) -> list[str]:
    """Return a line for each kind of the metrics `names` that rests on other patches in A than in B.

    Other patches: other places, or the same with another label; two samples of the same slides are two tests. Where the
    tables behind the reports are not at hand, only the slides' counts of patches tell (column n_patches).
    """
    chosen = {name: metric for name, metric in METRICS.items() if name in names}
    of_patches = [name for name, m in chosen.items() if "patch_scores" in m.tables or "within_slide_auc" in m.columns]
    of_scores = [name for name, m in chosen.items() if "class_scores" in m.tables]
    differ = _moved(pair, "patch_scores", ["slide_id", "x0", "y0", "label"], "patches")
    if differ is None and "n_patches" in pair.first.slides and "n_patches" in pair.second.slides:
        a, b = (np.nan_to_num(floats(run.slides, "n_patches")) for run in (pair.first, pair.second))
        differ = "" if np.array_equal(a, b) else f"{int(a.sum())} and {int(b.sum())} patches"
    kinds = (
        (of_patches, differ),
        (of_scores, _moved(pair, "class_scores", ["slide_id", "x0", "y0", "px", "label"], "patches or px")),
    )
    return [f"of other patches in A than in B ({text}): {', '.join(kind)}" for kind, text in kinds if kind and text]


def _moved(pair: Pair, table: str, key: list[str], things: str) -> str | None:
    """Return how the rows of a table differ on the slides in both runs.

    Empty where they do not, None where a run has none at hand.
    """
    keys = []
    for run in (pair.first, pair.second):
        scores = pd.DataFrame() if run.tables is None else getattr(run.tables, table)
        if scores.empty:
            return None
        known = scores["slide_id"].isin(pair.first.slides["slide_id"]) & (scores["label"] >= 0)
        keys.append(pd.MultiIndex.from_frame(scores.loc[known, key]))
    both = int(keys[0].isin(keys[1]).sum())
    if len(keys[0]) == len(keys[1]) == both:
        return ""
    return f"{len(keys[0])} and {len(keys[1])} {things}, {both} of them in both"
