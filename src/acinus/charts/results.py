"""Charts of what was chosen, graded and found, as PNG bytes. The same input gives the same bytes."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from acinus.charts.curves import ACCENT, INK, QUIET, SECOND, THIRD, chart
from acinus.scoring.burden import bland_altman
from acinus.scoring.froc import FALSE_POSITIVES, Froc


def reliability_figure(bins: pd.DataFrame) -> bytes:
    """Return accuracy against confidence before and after calibration (plots_data `reliability`), with counts."""

    def draw(figure: Figure) -> None:
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

    return chart(draw, (5.2, 5.8))


def threshold_figure(curve: pd.DataFrame, chosen: float | None) -> bytes:
    """Return metrics of the validation slides against the threshold (plots_data `threshold`), the chosen one marked."""
    names = (
        ("dice_mean", ACCENT, "-", "objective dice, mean over slides"),
        ("pixel_f1", SECOND, "-", "F1 of all pixels"),
        ("slide_f1", THIRD, "-", "F1 of slides, by burden"),
        ("slide_sensitivity", THIRD, "--", "sensitivity of slides"),
        ("slide_specificity", THIRD, ":", "specificity of slides"),
    )

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, colour, style, text in names:
            if curve[name].notna().any():
                values = curve[name].astype("float64")
                axes.plot(curve["threshold"], values, color=colour, linestyle=style, linewidth=2, label=text)
        if chosen is not None:
            axes.axvline(chosen, color=INK, linewidth=1.2, linestyle="--", label=f"chosen: {chosen:.3g}")
        axes.set(xlabel="threshold", ylabel="validation slides, before clean-up", xlim=(0, 1), ylim=(-0.02, 1.02))
        axes.legend(loc="lower center", frameon=True, framealpha=1.0, edgecolor="white")

    return chart(draw, (6.2, 4.4))


def bland_altman_figure(predicted: np.ndarray, true: np.ndarray) -> bytes:
    """Return the error of the burden against its mean with bias and 95 % limits of agreement (NaN: left out)."""
    known = np.isfinite(predicted) & np.isfinite(true)
    mean, error = (predicted[known] + true[known]) / 2, predicted[known] - true[known]
    limits = bland_altman(predicted, true)

    def draw(figure: Figure) -> None:
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

    return chart(draw, (6.4, 4.4))


def froc_figure(found: Froc) -> bytes:
    """Return the share of lesions found against mean false positives per slide, the score's six points marked."""
    most = max(FALSE_POSITIVES)
    grid = np.geomspace(0.125, most, 400)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(grid, np.interp(grid, found.fps, found.sensitivity), color=ACCENT, linewidth=2)
        axes.scatter(FALSE_POSITIVES, found.at, color=ACCENT, s=36, zorder=3, clip_on=False)
        axes.axhline(found.score, color=SECOND, linestyle="--", linewidth=1.2, label=f"score {found.score:.3f}")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(list(FALSE_POSITIVES)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set(xlabel="mean false positives per slide", ylabel="lesions found", ylim=(-0.02, 1.02))
        axes.set_xlim(0.125, most)
        axes.legend(loc="lower right")

    return chart(draw, (5.6, 4.4))


def pr_figure(curve: pd.DataFrame, share: float) -> bytes:
    """Return precision against recall (plots_data `pr`); chance is the `share` of positives."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(share, color=QUIET, linestyle=":", linewidth=1.2, label=f"chance: {100 * share:.1f} % positive")
        axes.plot(curve["recall"], curve["precision"], color=ACCENT, linewidth=2, drawstyle="steps-pre")
        axes.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_aspect("equal")
        axes.legend(loc="lower left")

    return chart(draw, (5.2, 5.2))


def grade_figure(confusions: Mapping[str, np.ndarray], names: Sequence[str]) -> bytes:
    """Return slides of each true grade by the grade given, one int (grades, grades) panel per grader."""
    most = max((int(matrix.max(initial=0)) for matrix in confusions.values()), default=0)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(confusions), squeeze=False)[0]
        for axes, (title, matrix) in zip(panels, confusions.items(), strict=True):
            _counts(axes, matrix, names, most)
            axes.set_title(f"{title}: {int(np.trace(matrix))} of {int(matrix.sum())} exact", fontsize=11)
        panels[0].set_ylabel("true grade")

    return chart(draw, (0.6 + 3.6 * len(confusions), 4.0))


def _counts(axes: Axes, matrix: np.ndarray, names: Sequence[str], most: int) -> None:
    """Draw counts as shades with their numbers; a zero stays blank."""
    axes.imshow(matrix, cmap="Purples", vmin=0, vmax=max(1, most))
    for row, column in zip(*np.nonzero(matrix), strict=True):
        ink = "white" if matrix[row, column] > 0.6 * most else INK
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=ink)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("grade given")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
