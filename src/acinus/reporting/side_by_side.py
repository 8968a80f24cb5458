"""Two runs' per-slide tables side by side: what both have, each figure with its difference, and the picture."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from matplotlib import rc_context, rcdefaults
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from acinus.errors import AcinusError
from acinus.reporting.charts import ACCENT, SECOND
from acinus.reporting.comparable import Behind, Measure, measures, setup_of
from acinus.reporting.figure_parts import OverRows, floats, is_tumor, patients
from acinus.reporting.metrics import HEADLINES_OF
from acinus.reporting.wording import MEAN_OF_CLASSES
from acinus.scoring.paired import paired_bootstrap

SCATTERED = {
    "dice": "Dice",
    "within_slide_auc": "AUC within the slide",
    "abs_burden_error": "burden error, points",
    "slide_score": "slide score",
}
"""What is drawn slide by slide: the column and its name for a person."""

NOT_IN_TABLE = ("patch_auc", "mdice", "miou", "pixel_accuracy")
"""Main figures of the tasks that a per-slide table alone cannot give."""

Told = Mapping[str, object]
"""The figures of a run's metrics.json, empty where there is none."""


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
        """The figures that both runs allow by name, headlines first, of one kind or not."""
        first, second = measures(self.first, self.behind[0]), measures(self.second, self.behind[1])
        order = [
            *HEADLINES_OF[setup_of(self.first).task],
            *sorted(first, key=lambda name: name.startswith("per_slide.")),
        ]
        return {name: (first[name], second[name]) for name in dict.fromkeys(order) if name in first and name in second}


def paired(
    first: pd.DataFrame, second: pd.DataFrame, behind: tuple[Behind | None, Behind | None] = (None, None)
) -> Pair:
    """Return the usable test slides of both per-slide tables, mapped or not, sorted by slide_id.

    Raises:
        AcinusError: no slide in common, or a slide labelled differently.
    """
    usable = [usable_test(one).set_index("slide_id") for one in (first, second)]
    ids = [set(one.index) for one in usable]
    common = sorted(ids[0] & ids[1])
    if not common:
        raise AcinusError(
            f"compare: no usable test slide is in both runs ({len(ids[0])} in A, {len(ids[1])} in B); "
            "compare runs on the same cohort and split"
        )
    one, other = (table.loc[common].reset_index() for table in usable)
    for column in ("slide_label", *(name for name in ("isup_true", "tumor_true") if name in one and name in other)):
        labels = [table[column].astype("string").fillna("unknown") for table in (one, other)]
        differs = (labels[0] != labels[1]).to_numpy(dtype=bool)
        if differs.any():
            at = int(differs.argmax())
            raise AcinusError(
                f"compare: {column} of slide {common[at]} is {labels[0][at]} in A and {labels[1][at]} in B; "
                "compare runs with the same labels"
            )
    return Pair(one, other, tuple(sorted(ids[0] - ids[1])), tuple(sorted(ids[1] - ids[0])), behind)


def usable_test(slides: pd.DataFrame) -> pd.DataFrame:
    """Return the test slides with status ok, by slide_id; where the table has no status, those scored."""
    usable = (slides["status"] == "ok").fillna(False) if "status" in slides else slides["scored"]
    return slides[(slides["split"] == "test").fillna(False) & usable].sort_values("slide_id", ignore_index=True)


def figures(pair: Pair, metric: str | None, resamples: int, seed: int) -> pd.DataFrame:
    """Return a row per figure that both runs allow: its name, a, b, difference (b - a), low, high,
    p_value, n, n_undefined.

    Figures that metrics.json has too have its names and, over all slides of a run, its values. n counts the
    slides where the figure is defined in both runs, on which alone all values rest; n_undefined the resamples
    left out.

    Raises:
        AcinusError: `metric` is none of them, or has no value in one of the runs.
    """
    groups = np.array(patients(pair.first), dtype=str)
    known = {name: both for name, both in pair.of_both.items() if both[0].kind == both[1].kind}
    if metric is not None and metric not in defined(pair):
        raise AcinusError(f"compare: no figure {metric!r} in both runs; known: {', '.join(defined(pair))}")
    rows = []
    for name in [metric] if metric else known:
        first, second = known[name]
        kept = np.flatnonzero(first.defined & second.defined)
        if not kept.size:
            continue
        a, b = (_over(one.over, kept) for one in (first, second))
        found = paired_bootstrap(groups[kept].tolist(), a, b, resamples, seed)
        whole = np.arange(kept.size, dtype=np.int64)
        rows.append({"figure": name, "a": a(whole), "b": b(whole), **found._asdict(), "n": kept.size})
    columns = ["figure", "a", "b", "difference", "low", "high", "p_value", "n", "n_undefined"]
    types = dict.fromkeys(columns[1:7], "float64")
    return pd.DataFrame(rows, columns=columns).astype(types)


def defined(pair: Pair) -> list[str]:
    """Return the figures that have a value in both runs, over the slides where both define them."""
    found = []
    for name, both in pair.of_both.items():
        kept = np.flatnonzero(both[0].defined & both[1].defined)
        if both[0].kind == both[1].kind and kept.size and all(one.over(kept) is not None for one in both):
            found.append(name)
    return found


def why_not(pair: Pair, metric: str, names: tuple[str, str]) -> str:
    """Return which of the runs, called `names`, has no such figure on the slides in both."""
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

    told: the figures of each run's metrics.json, empty where there is none; why: what keeps the tables behind
    each report away, empty where they are at hand.
    """
    order = [name for slides in (pair.first, pair.second) for name in HEADLINES_OF[setup_of(slides).task]]
    known = {name for one in told for name, value in one.items() if value is not None}
    if not any(told):
        known = set(NOT_IN_TABLE)
    reasons = {name: _reason(name, pair, told, why) for name in dict.fromkeys(order) if name in known}
    return {name: reason for name, reason in reasons.items() if reason}


def _reason(name: str, pair: Pair, told: tuple[Told, Told], why: tuple[str, str]) -> str:
    """Return why a figure cannot be compared, empty where it can."""
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
    """Return slide_id, patient, slide_label, and of the SCATTERED columns of both `<column>.a`, `.b`, `.difference`."""
    result = pair.first[["slide_id", "patient", "slide_label"]].copy()
    for name in SCATTERED:
        column = name.removeprefix("abs_")
        if column in pair.first and column in pair.second:
            a, b = (floats(one, column) for one in (pair.first, pair.second))
            a, b = (np.abs(a), np.abs(b)) if name != column else (a, b)
            result[f"{name}.a"], result[f"{name}.b"], result[f"{name}.difference"] = a, b, b - a
    return result


def scatter_figure(values: pd.DataFrame, names: tuple[str, str], classes: int = 2) -> bytes:
    """Return the PNG of `by_slide`: a panel per column that has values in both runs, a dot per slide.

    classes: how many the runs have, background included.
    """
    titles = SCATTERED | ({"dice": f"Dice, {MEAN_OF_CLASSES}"} if classes > 2 else {})
    panels = [name for name in SCATTERED if f"{name}.a" in values and values[f"{name}.difference"].notna().any()]
    tumor = is_tumor(values)
    with rc_context():
        rcdefaults()  # not what the user's matplotlibrc says
        figure = Figure(figsize=(4.2 * max(1, len(panels)), 4.4), dpi=130, layout="constrained")
        if not panels:
            figure.text(0.5, 0.5, "no figure is defined for a slide in both runs", ha="center")
        for axes, name in zip(figure.subplots(1, len(panels), squeeze=False)[0] if panels else (), panels, strict=True):
            a, b = values[f"{name}.a"].to_numpy(), values[f"{name}.b"].to_numpy()
            known = np.isfinite(a) & np.isfinite(b)
            top = 1.05 * max(1.0, float(np.max(np.r_[a[known], b[known]])))
            axes.plot([0, top], [0, top], color="#a5a2b3", linestyle=":", linewidth=1.2)
            for chosen, colour, text in ((known & tumor, SECOND, "tumor"), (known & ~tumor, ACCENT, "other")):
                if chosen.any():
                    axes.scatter(a[chosen], b[chosen], color=colour, s=36, alpha=0.75, linewidths=0, label=text)
            axes.set(xlabel=f"A: {names[0]}", ylabel=f"B: {names[1]}", xlim=(-0.03 * top, top), ylim=(-0.03 * top, top))
            axes.set_title(f"{titles[name]} ({int(known.sum())} slides)", fontsize=11)
            axes.set_aspect("equal")
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(loc="lower right", frameon=False)
        stream = io.BytesIO()
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()
