"""The chart of `acinus compare`: a dot per slide, one run against the other."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from acinus.charts.style import ACCENT, QUIET, SECOND, chart
from acinus.metrics.compare import BY_SLIDE
from acinus.metrics.metric import MEAN_OF_CLASSES, is_tumor


@chart(style={})
def scatter_chart(figure: Figure, values: pd.DataFrame, names: tuple[str, str], classes: int = 2) -> None:
    """Draw `by_slide`: a panel per column that has values in both runs, a dot per slide.

    classes: how many the runs have, background included.
    """
    titles = BY_SLIDE | ({"dice": f"Dice, {MEAN_OF_CLASSES}"} if classes > 2 else {})
    columns = [name for name in BY_SLIDE if f"{name}.a" in values and values[f"{name}.difference"].notna().any()]
    tumor = is_tumor(values)
    figure.set_size_inches(4.2 * max(1, len(columns)), 4.4)
    if not columns:
        figure.text(0.5, 0.5, "no metric is defined for a slide in both runs", ha="center")
        return
    for axes, name in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        a, b = values[f"{name}.a"].to_numpy(), values[f"{name}.b"].to_numpy()
        known = np.isfinite(a) & np.isfinite(b)
        top = 1.05 * max(1.0, float(np.max(np.r_[a[known], b[known]])))
        axes.plot([0, top], [0, top], color=QUIET, linestyle=":", linewidth=1.2)
        for chosen, colour, text in ((known & tumor, SECOND, "tumor"), (known & ~tumor, ACCENT, "other")):
            if chosen.any():
                axes.scatter(a[chosen], b[chosen], color=colour, s=36, alpha=0.75, linewidths=0, label=text)
        axes.set(xlabel=f"A: {names[0]}", ylabel=f"B: {names[1]}", xlim=(-0.03 * top, top), ylim=(-0.03 * top, top))
        axes.set_title(f"{titles[name]} ({int(known.sum())} slides)", fontsize=11)
        axes.set_aspect("equal")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", frameon=False)
