"""How every chart looks, whatever the user's matplotlibrc says, and how it becomes PNG bytes."""

import io
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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
    "text.parse_math": False,  # names are of others: a $ in one is no formula
}

Given = ParamSpec("Given")
Draw = Callable[Concatenate[Figure, Given], None]


def chart(
    width: float = 6.0, height: float = 4.0, style: Any = STYLE
) -> Callable[[Draw[Given]], Callable[Given, bytes]]:
    """Turn a function that draws on a figure into one that returns PNG bytes, without the writer's version in them.

    width, height: of the figure in inches; the function may set another size.
    """

    def turned(draw: Draw[Given]) -> Callable[Given, bytes]:
        @wraps(draw)
        def drawn(*args: Given.args, **kwargs: Given.kwargs) -> bytes:
            with rc_context():
                rcdefaults()  # not what the user's matplotlibrc says: pictures are outputs, the same everywhere
                rcParams.update(style)
                figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
                draw(figure, *args, **kwargs)
                stream = io.BytesIO()
                FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
            return stream.getvalue()

        return drawn

    return turned
