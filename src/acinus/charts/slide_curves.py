"""Charts of what was learned of whole slides, as PNG bytes: probabilities, numbers, times until an event.

The same input gives the same bytes.
"""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from acinus.charts.style import ACCENT, INK, QUIET, SECOND, THIRD, chart

MINUS = "\N{MINUS SIGN}"
MINUS = "\N{MINUS SIGN}"
LINES = ((ACCENT, "-", 2.4), (THIRD, "-", 1.6), (SECOND, "--", 1.4), (INK, ":", 1.4))
"""Colour, style and width of the model and of the baselines beside it."""


class Times(NamedTuple):
    """Times until the event, or until a patient was last seen: float64 (n,), and whether the event was seen, bool."""

    times: np.ndarray
    events: np.ndarray


@chart(5.2, 5.2)
def roc_of_models_chart(figure: Figure, scores: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
    """Draw the ROC curve of each of {name: scores (n,)} of the same slides, labels 0 or 1 with both of them there."""
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2)
    for (name, values), (colour, style, width) in reversed(list(zip(scores.items(), LINES, strict=False))):
        false_rate, true_rate, _ = roc_curve(labels, values)
        axes.plot(false_rate, true_rate, color=colour, linestyle=style, linewidth=width, label=name)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_aspect("equal")
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], loc="lower right")


@chart(5.2, 5.8)
def slide_reliability_chart(figure: Figure, bins: pd.DataFrame, about: str) -> None:
    """Draw the share that is right against the probability (columns bin, count, confidence, accuracy, low, high).

    low, high: of a 95 % interval of the share. about: what the probability is of.
    """
    top, foot = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    top.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2, label="exact")
    filled = bins[bins["count"] > 0]
    share = filled["accuracy"].to_numpy(dtype=np.float64)
    reach = np.abs(filled[["low", "high"]].to_numpy(dtype=np.float64).T - share)
    top.errorbar(
        filled["confidence"], share, yerr=reach, color=ACCENT, marker="o", linewidth=1.8, elinewidth=1, capsize=3
    )
    top.set(ylabel="share that is right", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    top.legend(loc="upper left")
    foot.bar(bins["bin"], bins["count"], width=0.7 / max(1, len(bins)), color=ACCENT, linewidth=0)
    foot.set(xlabel=about, ylabel="slides")
    foot.yaxis.get_major_locator().set_params(nbins=2, integer=True)


@chart(9.0, 4.4)
def predicted_chart(figure: Figure, predicted: np.ndarray, true: np.ndarray, unit: str) -> None:
    """Draw predicted against true values (n,), and beside it what the predictions are off by. unit: of both axes."""
    against, residuals = figure.subplots(1, 2)
    ends = np.r_[predicted, true]
    low, high = float(ends.min()), float(ends.max())
    room = 0.06 * (high - low or 1.0)
    span = (low - room, high + room)
    against.plot(span, span, color=QUIET, linestyle=":", linewidth=1.2, label="equal")
    against.scatter(true, predicted, color=ACCENT, s=36, alpha=0.8, linewidths=0)
    against.set(xlabel=f"true {unit}", ylabel=f"predicted {unit}", xlim=span, ylim=span)
    against.set_aspect("equal")
    against.legend(loc="upper left")
    off = predicted - true
    residuals.axhline(0, color=QUIET, linestyle=":", linewidth=1.2)
    residuals.axhline(
        float(off.mean()), color=SECOND, linewidth=1.4, label=f"mean {off.mean():+.3g}".replace("-", MINUS)
    )
    residuals.scatter(true, off, color=ACCENT, s=36, alpha=0.8, linewidths=0)
    residuals.set(xlabel=f"true {unit}", ylabel=f"predicted {MINUS} true")
    residuals.margins(y=0.15)
    residuals.legend(loc="upper right")


@chart(6.4, 4.6)
def survival_chart(figure: Figure, groups: Mapping[str, Times], unit: str) -> None:
    """Draw the Kaplan-Meier curve of each group with its 95 % band; a tick is a patient last seen. unit: of the time.

    The band is by Greenwood's formula on the log-log scale, as `scipy.stats.ecdf` has it.
    """
    from scipy.stats import CensoredData, ecdf  # slow to import

    axes = figure.subplots()
    for (name, group), colour in zip(groups.items(), (ACCENT, SECOND, THIRD, INK), strict=False):
        seen, lost = group.times[group.events], group.times[~group.events]
        survival = ecdf(CensoredData(uncensored=seen, right=lost)).sf
        steps = np.r_[0.0, survival.quantiles]
        share = np.r_[1.0, survival.probabilities]
        label = f"{name}: {len(group.times)} patients, {int(group.events.sum())} events"
        axes.step(steps, share, where="post", color=colour, linewidth=2, label=label)
        if len(seen) > 1:
            with warnings.catch_warnings():  # where nobody or everybody had the event there is no band
                warnings.simplefilter("ignore", RuntimeWarning)
                band = survival.confidence_interval(method="log-log")
            ends = (np.r_[1.0, end.probabilities] for end in (band.low, band.high))
            low, high = (np.where(np.isnan(end), share, end) for end in ends)
            axes.fill_between(steps, low, high, step="post", color=colour, alpha=0.12, linewidth=0)
        axes.plot(lost, survival.evaluate(lost), linestyle="", marker="|", color=colour, markersize=9)
    axes.set(xlabel=f"time ({unit})", ylabel="share without the event", ylim=(-0.02, 1.04))
    axes.set_xlim(left=0)
    axes.legend(loc="best")
