"""Charts as PNG bytes: of a training, of scores, burdens, classes, grades and lesions, and of what was calibrated.

The same input gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter
from sklearn.metrics import roc_curve

from acinus.charts.style import ACCENT, INK, QUIET, SECOND, THIRD, chart
from acinus.errors import AcinusError
from acinus.records import LOG_COLUMNS
from acinus.scoring.auc import auc
from acinus.scoring.burden import bland_altman
from acinus.scoring.froc import FALSE_POSITIVES, Froc

MOST_NAMED = 16  # slides in a key; more are drawn without one


@chart(5.2, 5.2)
def roc_chart(figure: Figure, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Draw ROC curves, one per name of {name: (scores, labels 0/1)}; one with a single class says so."""
    axes = _unit_square(figure, "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2, label="chance")
    for (name, (scores, labels)), colour in zip(curves.items(), (ACCENT, SECOND), strict=False):
        if np.unique(labels).size < 2:
            axes.plot([], [], color=colour, label=f"{name}: undefined, one class only")
            continue
        false_rate, true_rate, _ = roc_curve(labels, scores)
        axes.plot(false_rate, true_rate, color=colour, linewidth=2, label=name)
    axes.legend(loc="lower right")


@chart(5.2, 5.2)
def named_roc_chart(
    figure: Figure,
    curves: dict[str, tuple[np.ndarray, np.ndarray]],
    thing: str = "slide",
    colours: Mapping[str, tuple[int, int, int]] | None = None,
) -> None:
    """Draw one ROC curve per slide, or per other `thing`, of {name: (scores, labels 0/1)} with its AUC.

    One with a single class has none. colours: name -> RGB of 0 to 255, in the order of the key; None: by name.
    """
    both = {name: curve for name, curve in curves.items() if np.unique(curve[1]).size == 2}
    axes = _unit_square(figure, "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2)
    for number, name in enumerate(name for name in colours or sorted(both) if name in both):
        scores, labels = both[name]
        false_rate, true_rate, _ = roc_curve(labels, scores)
        colour: tuple[float, ...] = colormaps["viridis"](0.85 * number / max(1, len(both) - 1))
        if colours:
            colour = tuple(part / 255 for part in colours[name])
        axes.plot(false_rate, true_rate, color=colour, linewidth=1.6, label=f"{name} {auc(scores, labels):.3f}")
    if 0 < len(both) <= MOST_NAMED:
        axes.legend(loc="lower right", title=f"{thing}, AUC")


@chart(5.2, 5.2)
def pr_chart(figure: Figure, curve: pd.DataFrame, share: float) -> None:
    """Draw precision against recall (plots `pr`); chance is the `share` of positives."""
    axes = _unit_square(figure, "recall", "precision")
    axes.axhline(share, color=QUIET, linestyle=":", linewidth=1.2, label=f"chance: {100 * share:.1f} % positive")
    axes.plot(curve["recall"], curve["precision"], color=ACCENT, linewidth=2, drawstyle="steps-pre")
    axes.legend(loc="lower left")


def _unit_square(figure: Figure, xlabel: str, ylabel: str) -> Axes:
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_aspect("equal")
    return axes


@chart(9.0, 3.8)
def training_chart(figure: Figure, log: pd.DataFrame) -> None:
    """Draw loss and accuracy by epoch from the LOG_COLUMNS."""
    missing = sorted(set(LOG_COLUMNS) - set(log.columns))
    if missing:
        raise AcinusError(f"training log: columns {', '.join(missing)} are missing, expected {', '.join(LOG_COLUMNS)}")
    loss, accuracy = figure.subplots(1, 2)
    for axes, name, title in ((loss, "loss", "loss"), (accuracy, "acc", "accuracy")):
        for part, colour, text in (("train", ACCENT, "training"), ("val", SECOND, "validation")):
            axes.plot(log["epoch"], log[f"{part}_{name}"], color=colour, marker="o", markersize=4, label=text)
        axes.set(xlabel="epoch", ylabel=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
    accuracy.set_ylim(top=1.01)
    loss.legend()


@chart(5.2, 5.2)
def burden_chart(figure: Figure, predicted: np.ndarray, true: np.ndarray) -> None:
    """Draw predicted against annotated tumour burden in percent of tissue, one dot per slide (NaN: left out)."""
    axes = figure.subplots()
    known = np.isfinite(predicted) & np.isfinite(true)
    top = max(1.0, float(np.max(np.r_[predicted[known], true[known], 0.0])) * 1.08)
    axes.plot([0, top], [0, top], color=QUIET, linestyle=":", linewidth=1.2, label="equal")
    axes.scatter(true[known], predicted[known], color=ACCENT, s=42, alpha=0.8, linewidths=0, clip_on=False)
    axes.set(xlabel="annotated burden, % of tissue", ylabel="predicted burden, % of tissue")
    axes.set(xlim=(0, top), ylim=(0, top))
    axes.set_aspect("equal")
    axes.legend(loc="upper left")


@chart(6.4, 4.4)
def bland_altman_chart(figure: Figure, predicted: np.ndarray, true: np.ndarray) -> None:
    """Draw the error of the burden against its mean with bias and 95 % limits of agreement (NaN: left out)."""
    known = np.isfinite(predicted) & np.isfinite(true)
    mean, error = (predicted[known] + true[known]) / 2, predicted[known] - true[known]
    limits = bland_altman(predicted, true)
    axes = figure.subplots()
    axes.axhline(0, color=QUIET, linestyle=":", linewidth=1.2)
    if limits is not None:
        axes.axhspan(limits.low, limits.high, color=ACCENT, alpha=0.07, linewidth=0)
        for value, text in ((limits.low, "-1.96 sd"), (limits.bias, "bias"), (limits.high, "+1.96 sd")):
            axes.axhline(value, color=SECOND, linewidth=1.4, linestyle="-" if text == "bias" else "--")
            label = f"{text}: {value:+.2f}".replace("-", "\N{MINUS SIGN}")
            across = axes.get_yaxis_transform()
            axes.text(1.01, value, label, color=SECOND, fontsize=9.5, transform=across, va="center")
    axes.scatter(mean, error, color=ACCENT, s=42, alpha=0.8, linewidths=0)
    axes.set(xlabel="mean of predicted and annotated burden, %", ylabel="predicted - annotated, points")
    axes.margins(y=0.15)


@chart(5.2, 5.8)
def reliability_chart(figure: Figure, bins: pd.DataFrame) -> None:
    """Draw accuracy against confidence before and after calibration (plots `reliability`), with counts."""
    top, foot = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    top.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2, label="exact")
    width = 1 / max(1, len(bins))
    for when, colour, text, side in (("before", SECOND, "as trained", -1), ("after", ACCENT, "calibrated", 1)):
        filled = bins[bins[f"count_{when}"] > 0]
        line = "--" if when == "before" else "-"
        confidence, accuracy = filled[f"confidence_{when}"], filled[f"accuracy_{when}"]
        top.plot(confidence, accuracy, color=colour, linestyle=line, marker="o", markersize=4, label=text)
        places = bins["bin"] + side * width / 5
        foot.bar(places, bins[f"count_{when}"], width=0.4 * width, color=colour, linewidth=0)
    top.set(ylabel="share that is right", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    top.legend(loc="upper left")
    foot.set(xlabel="confidence: probability of the likeliest class", ylabel="count")
    foot.yaxis.get_major_locator().set_params(nbins=2)


@chart(6.2, 4.4)
def threshold_chart(figure: Figure, curve: pd.DataFrame, chosen: float | None) -> None:
    """Draw metrics of the validation slides against the threshold (plots `threshold`), the chosen one marked."""
    lines = (
        ("dice_mean", ACCENT, "-", "objective dice, mean over slides"),
        ("pixel_f1", SECOND, "-", "F1 of all pixels"),
        ("slide_f1", THIRD, "-", "F1 of slides, by burden"),
        ("slide_sensitivity", THIRD, "--", "sensitivity of slides"),
        ("slide_specificity", THIRD, ":", "specificity of slides"),
    )
    axes = figure.subplots()
    for name, colour, style, text in lines:
        if curve[name].notna().any():
            values = curve[name].astype("float64")
            axes.plot(curve["threshold"], values, color=colour, linestyle=style, linewidth=2, label=text)
    if chosen is not None:
        axes.axvline(chosen, color=INK, linewidth=1.2, linestyle="--", label=f"chosen: {chosen:.3g}")
    axes.set(xlabel="threshold", ylabel="validation slides, before clean-up", xlim=(0, 1), ylim=(-0.02, 1.02))
    axes.legend(loc="lower center", frameon=True, framealpha=1.0, edgecolor="white")


@chart(5.6, 4.4)
def froc_chart(figure: Figure, curve: Froc) -> None:
    """Draw the share of lesions found against mean false positives per slide, the score's six points marked."""
    most = max(FALSE_POSITIVES)
    grid = np.geomspace(0.125, most, 400)
    axes = figure.subplots()
    axes.plot(grid, np.interp(grid, curve.fps, curve.sensitivity), color=ACCENT, linewidth=2)
    axes.scatter(FALSE_POSITIVES, curve.at, color=ACCENT, s=36, zorder=3, clip_on=False)
    axes.axhline(curve.score, color=SECOND, linestyle="--", linewidth=1.2, label=f"score {curve.score:.3f}")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(FALSE_POSITIVES)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set(xlabel="mean false positives per slide", ylabel="lesions found", ylim=(-0.02, 1.02))
    axes.set_xlim(0.125, most)
    axes.legend(loc="lower right")


@chart()
def confusion_chart(figure: Figure, matrix: np.ndarray, classes: Sequence[str]) -> None:
    """Draw int (classes, classes) pixels, true x predicted, each row in percent of its true pixels.

    A class without true pixels has an empty row.
    """
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, matrix / np.maximum(totals, 1), np.nan)
    figure.set_size_inches(2.6 + 0.62 * len(classes), 2.6 + 0.62 * len(classes))
    axes = figure.subplots()
    percent = {place: f"{100 * shares[place]:.0f}" for place in zip(*np.nonzero(np.isfinite(shares)), strict=True)}
    _shades(axes, shares, 1, percent, fontsize=10)
    axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted class", ylabel="true class, 100 % a row")


@chart()
def grade_chart(
    figure: Figure, confusions: Mapping[str, np.ndarray], names: Sequence[str], thing: str = "grade"
) -> None:
    """Draw slides of each true grade by the grade given, one int (grades, grades) panel per grader.

    thing: what the grades are called.
    """
    names, thing = [_short(name) for name in names], _short(thing)
    slanted: dict[str, Any] = {}
    figure.set_size_inches(0.6 + 3.6 * len(confusions), 4.0)
    if max((len(name) for name in names), default=0) > UPRIGHT:  # beside each other they would cover one another
        slanted = {"rotation": 35, "ha": "right"}
        figure.set_size_inches(1.2 + 5.0 * len(confusions), 5.0)
    most = max((int(matrix.max(initial=0)) for matrix in confusions.values()), default=0)
    panels = figure.subplots(1, len(confusions), squeeze=False)[0]
    for axes, (title, matrix) in zip(panels, confusions.items(), strict=True):
        counts = {place: str(matrix[place]) for place in zip(*np.nonzero(matrix), strict=True)}  # a zero stays blank
        _shades(axes, matrix, max(1, most), counts)
        axes.set_xticks(range(len(names)), names, **slanted)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel(f"{thing} given")
        axes.set_title(f"{title}: {int(np.trace(matrix))} of {int(matrix.sum())} exact", fontsize=11)
    panels[0].set_ylabel(f"true {thing}")


UPRIGHT, LONGEST = 12, 24
"""Characters of a class's name: more are written aslant; more are cut off."""


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _shades(axes: Axes, matrix: np.ndarray, most: float, texts: Mapping[tuple[int, int], str], **font: Any) -> None:
    """Draw a matrix as shades from 0 to `most`, with texts by (row, column)."""
    axes.imshow(matrix, cmap="Purples", vmin=0, vmax=most)
    for (row, column), text in texts.items():
        ink = "white" if matrix[row, column] > 0.6 * most else INK
        axes.text(column, row, text, ha="center", va="center", color=ink, **font)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
