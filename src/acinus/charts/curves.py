"""Charts of a report as PNG bytes. The same input gives the same bytes."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context, rcdefaults, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from acinus.errors import AcinusError
from acinus.records import LOG_COLUMNS
from acinus.scoring.auc import auc

MOST_NAMED = 16  # slides in a key; more are drawn without one
ACCENT, SECOND, THIRD = "#4b3f8f", "#d0476f", "#1d8a7a"
INK, QUIET = "#28262f", "#a5a2b3"
STYLE: Any = {
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8798",
    "axes.labelcolor": "#28262f",
    "xtick.color": "#6e6a7a",
    "ytick.color": "#6e6a7a",
    "legend.frameon": False,
    "axes.grid": True,
    "grid.color": "#e6e4ee",
    "axes.axisbelow": True,
}


def roc_figure(curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """Return ROC curves, one per name of {name: (scores, labels 0/1)}; one with a single class says so."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2, label="chance")
        for (name, (scores, labels)), colour in zip(curves.items(), (ACCENT, SECOND), strict=False):
            if np.unique(labels).size < 2:
                axes.plot([], [], color=colour, label=f"{name}: undefined, one class only")
                continue
            false_rate, true_rate, _ = roc_curve(labels, scores)
            axes.plot(false_rate, true_rate, color=colour, linewidth=2, label=name)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_aspect("equal")
        axes.legend(loc="lower right")

    return chart(draw, (5.2, 5.2))


def slide_roc_figure(curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """Return one ROC curve per slide of {slide_id: (scores, labels 0/1)} with its AUC, where both classes are."""
    both = {name: one for name, one in curves.items() if np.unique(one[1]).size == 2}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2)
        for number, (name, (scores, labels)) in enumerate(sorted(both.items())):
            false_rate, true_rate, _ = roc_curve(labels, scores)
            colour = colormaps["viridis"](0.85 * number / max(1, len(both) - 1))
            axes.plot(false_rate, true_rate, color=colour, linewidth=1.6, label=f"{name} {auc(scores, labels):.3f}")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_aspect("equal")
        if 0 < len(both) <= MOST_NAMED:
            axes.legend(loc="lower right", title="slide, AUC")

    return chart(draw, (5.2, 5.2))


def training_figure(log: pd.DataFrame) -> bytes:
    """Return loss and accuracy by epoch from the LOG_COLUMNS."""
    missing = sorted(set(LOG_COLUMNS) - set(log.columns))
    if missing:
        raise AcinusError(f"training log: columns {', '.join(missing)} are missing, expected {', '.join(LOG_COLUMNS)}")

    def draw(figure: Figure) -> None:
        loss, accuracy = figure.subplots(1, 2)
        for axes, name, title in ((loss, "loss", "loss"), (accuracy, "acc", "accuracy")):
            for part, colour, text in (("train", ACCENT, "training"), ("val", SECOND, "validation")):
                axes.plot(log["epoch"], log[f"{part}_{name}"], color=colour, marker="o", markersize=4, label=text)
            axes.set(xlabel="epoch", ylabel=title)
            axes.xaxis.get_major_locator().set_params(integer=True)
        accuracy.set_ylim(top=1.01)
        loss.legend()

    return chart(draw, (9.0, 3.8))


def burden_figure(predicted: np.ndarray, true: np.ndarray) -> bytes:
    """Return predicted against annotated tumour burden in percent of tissue, one dot per slide (NaN: left out)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        known = np.isfinite(predicted) & np.isfinite(true)
        top = max(1.0, float(np.max(np.r_[predicted[known], true[known], 0.0])) * 1.08)
        axes.plot([0, top], [0, top], color=QUIET, linestyle=":", linewidth=1.2, label="equal")
        axes.scatter(true[known], predicted[known], color=ACCENT, s=42, alpha=0.8, linewidths=0, clip_on=False)
        axes.set(xlabel="annotated burden, % of tissue", ylabel="predicted burden, % of tissue")
        axes.set(xlim=(0, top), ylim=(0, top))
        axes.set_aspect("equal")
        axes.legend(loc="upper left")

    return chart(draw, (5.2, 5.2))


def confusion_figure(matrix: np.ndarray, classes: Sequence[str]) -> bytes:
    """Return int (classes, classes) pixels, true x predicted, each row in percent of its true pixels.

    A class without true pixels has an empty row.
    """
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, matrix / np.maximum(totals, 1), np.nan)
    edge = 2.6 + 0.62 * len(classes)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.imshow(shares, cmap="Purples", vmin=0, vmax=1)
        for row, column in zip(*np.nonzero(np.isfinite(shares)), strict=True):
            share = shares[row, column]
            ink = "white" if share > 0.6 else INK
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=ink, fontsize=10)
        ticks = range(len(classes))
        axes.set_xticks(ticks, classes, rotation=35, ha="right")
        axes.set_yticks(ticks, classes)
        axes.set(xlabel="predicted class", ylabel="true class, 100 % a row")
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return chart(draw, (edge, edge))


def chart(draw: Callable[[Figure], None], size_inch: tuple[float, float]) -> bytes:
    """Draw on a figure of its own and return PNG bytes without the writer's version in them."""
    with rc_context():
        rcdefaults()  # not what the user's matplotlibrc says: pictures are outputs, the same everywhere
        rcParams.update(STYLE)
        figure = Figure(figsize=size_inch, dpi=130, layout="constrained")
        draw(figure)
        stream = io.BytesIO()
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()
