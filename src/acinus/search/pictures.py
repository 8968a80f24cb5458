"""Charts of a search of settings, PNG. The same trials give the same bytes."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context, rcdefaults, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from acinus.charts.style import ACCENT, QUIET, SECOND, STYLE
from acinus.params.results import Choices, Space, Value
from acinus.search.study import distribution, inside

COLOURS = "viridis"

LEGEND_INCHES = 5.2
"""Room for three entries of a legend side by side."""

_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0}

Row = Mapping[str, Any]
"""One of records.TRIALS."""


def pictures(rows: Sequence[Row], space: Mapping[str, Space], objective: str) -> dict[str, bytes]:
    """Return file name -> PNG: history, importances, slice, parallel."""
    valued = [row for row in rows if row["value"] is not None]
    return {
        "history.png": _history(valued, objective),
        "importances.png": _importances(valued, space, objective),
        "parallel.png": _parallel(valued, space, objective),
        "slice.png": _slice(valued, space, objective),
    }


def importances(rows: Sequence[Row], space: Mapping[str, Space]) -> dict[str, float]:
    """Return the share of the values' variance that each key explains (fANOVA), or nothing with too few trials.

    Complete trials with all settings inside the space count. Hutter et al., ICML 2014.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spaces = {key: distribution(space[key]) for key in sorted(space)}
    study = optuna.create_study(direction="maximize")
    for row in rows:
        chosen = json.loads(row["settings"])
        if row["state"] == "complete" and all(inside(chosen[key], space[key]) for key in space):
            params = {key: chosen[key] for key in spaces}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=spaces, value=row["value"]))
    if len({trial.value for trial in study.trials}) < 2:
        return {}
    shares = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0), params=list(spaces)
    )
    return {key: float(shares[key]) for key in sorted(shares, key=lambda key: (-shares[key], key))}


def _history(rows: Sequence[Row], objective: str) -> bytes:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        best = np.maximum.accumulate([row["value"] if row["state"] == "complete" else -np.inf for row in rows])
        trials, finite = np.array([row["trial"] for row in rows]), np.isfinite(best)
        axes.step(trials[finite], best[finite], where="post", color=ACCENT, linewidth=1.6, label="best so far")
        for state, marker, colour in (("complete", "o", ACCENT), ("pruned", "x", QUIET)):
            chosen = [row for row in rows if row["state"] == state]
            if chosen:
                points = [row["trial"] for row in chosen], [row["value"] for row in chosen]
                axes.scatter(*points, marker=marker, color=colour, label=state, zorder=3)
        if rows and rows[0]["trial"] == 0:
            own = rows[0]["value"]
            axes.axhline(own, color=SECOND, linestyle=":", linewidth=1.4, label="the recipe's own settings")
        axes.set(xlabel="trial", ylabel=f"{objective} (validation)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside upper center", ncols=4, fontsize=9)

    return _picture(draw, (6.4, 4.2))


def _importances(rows: Sequence[Row], space: Mapping[str, Space], objective: str) -> bytes:
    shares = importances(rows, space)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        names = list(reversed(shares))
        axes.barh(range(len(names)), [shares[name] for name in names], color=ACCENT, height=0.6)
        for place, name in enumerate(names):
            axes.text(shares[name] + 0.01, place, f"{shares[name]:.2f}", va="center", fontsize=9)
        axes.set(xlabel=f"share of the variance of {objective} (fANOVA)", xlim=(0, 1.1))
        axes.set_yticks(range(len(names)), names)
        axes.grid(visible=False, axis="y")

    return _picture(draw if shares else _too_few, (6.4, max(2.4, 0.5 * len(shares) + 1.4)))


def _slice(rows: Sequence[Row], space: Mapping[str, Space], objective: str) -> bytes:
    names, columns = sorted(space), min(3, len(space))
    lines = -(-len(names) // columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
        for place, axes in enumerate(panels.flat):
            if place >= len(names):
                axes.axis("off")
                continue
            axis = _Axis(names[place], space[names[place]], rows)
            for state, marker, colour in (("complete", "o", ACCENT), ("pruned", "x", QUIET)):
                chosen = [row for row in rows if row["state"] == state]
                points = [axis.place(row) for row in chosen], [row["value"] for row in chosen]
                axes.scatter(*points, marker=marker, color=colour, label=state)
            own = [row for row in rows if row["trial"] == 0]
            axes.scatter([axis.place(row) for row in own], [row["value"] for row in own], s=130, facecolors="none",
                         edgecolors=SECOND, linewidths=1.6, label="the recipe's own")  # fmt: skip
            axes.set(xlabel=axis.name)
            axes.set_xticks(*axis.ticks)
        panels[0, 0].set_ylabel(f"{objective} (validation)")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)

    # the legend, which does not wrap, is wider than one panel
    return _picture(draw if rows else _too_few, (max(LEGEND_INCHES, 3.4 * columns), 3.2 * lines + 0.4))


def _parallel(rows: Sequence[Row], space: Mapping[str, Space], objective: str) -> bytes:
    axes_of = [_Axis(name, space[name], rows) for name in sorted(space)]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        values = [row["value"] for row in rows]
        scale = Normalize(min(values), max(values) if max(values) > min(values) else min(values) + 1)
        for row in sorted(rows, key=lambda row: (row["value"], -row["trial"])):  # the best on top
            heights = [scale(row["value"])] + [axis.place(row) for axis in axes_of]
            colour, width = colormaps[COLOURS](scale(row["value"])), 2.4 if row["best"] else 1.2
            line = ":" if row["state"] == "pruned" else "-"
            axes.plot(range(len(heights)), heights, color=colour, alpha=0.85, linewidth=width, linestyle=line)
        ends = [([0.0, 1.0], [f"{scale.vmin:.3g}", f"{scale.vmax:.3g}"]), *(axis.ticks for axis in axes_of)]
        for place, (heights, labels) in enumerate(ends):
            axes.axvline(place, color="#8a8798", linewidth=1)
            for height, label in zip(heights, labels, strict=True):
                axes.text(place + 0.03, height, label, fontsize=9, va="center", color="#28262f", bbox=_PAPER)
        axes.set_xticks(range(len(ends)), [objective, *(axis.name for axis in axes_of)], rotation=12)
        axes.set(yticks=[], ylim=(-0.08, 1.08), xlim=(-0.2, len(ends) - 0.5))
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)

    return _picture(draw if rows else _too_few, (max(6.4, 1.8 * (len(axes_of) + 1)), 4.4))


class _Axis:
    """One setting along an axis of a chart, from 0 to 1; choices are evenly spread. ticks: places, and their texts."""

    def __init__(self, name: str, space: Space, rows: Sequence[Row]) -> None:
        self.name = name
        self._values: dict[int, Value] = {row["trial"]: json.loads(row["settings"])[name] for row in rows}
        self._height: Callable[[Any], float]
        if isinstance(space, Choices):
            others = [value for value in self._values.values() if not inside(value, space)]
            choices = [*space.choices, *others[:1]]  # the recipe's own may be none of them
            heights = [n / max(1, len(choices) - 1) for n in range(len(choices))]
            self._height = lambda value: heights[choices.index(value)]
            self.ticks = heights, [str(choice) for choice in choices]
            return
        numbers = [space.low, space.high, *(value for value in self._values.values() if isinstance(value, int | float))]
        low, high = float(min(numbers)), float(max(numbers))
        log = space.log and low > 0
        scale = np.log if log else float
        start, end = float(scale(low)), float(scale(high))
        self._height = lambda value: (
            (float(scale(float(value))) - start) / (end - start) if isinstance(value, int | float) else float("nan")
        )
        middle = float(np.sqrt(low * high)) if log else (low + high) / 2
        self.ticks = [0.0, 0.5, 1.0], [f"{value:.3g}" for value in (low, middle, high)]
        if space.whole:
            self.ticks = [0.0, 1.0], [f"{value:g}" for value in (low, high)]

    def place(self, row: Row) -> float:
        """Return where a trial stands; nan where its value is no number on an axis of numbers."""
        return self._height(self._values[row["trial"]])


def _too_few(figure: Figure) -> None:
    axes = figure.subplots()
    axes.axis("off")
    axes.text(0.5, 0.5, "too few finished trials for this picture", ha="center", va="center", color="#6e6a7a")


def _picture(draw: Callable[[Figure], None], size_inches: tuple[float, float]) -> bytes:
    """Return a chart as PNG, drawn with our settings only, whatever the user's are."""
    with rc_context():
        rcdefaults()
        rcParams.update(STYLE)
        figure = Figure(figsize=size_inches, dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
        return stream.getvalue()
