"""Which patches a report shows: the best, the middle and the worst of those with foreground, and empty ones."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd

KINDS = ("best", "median", "worst", "empty")


@dataclass(frozen=True)
class PatchResult:
    """What a choice among patches needs of one."""

    slide_id: str
    x0: int  # level-0 px of the top-left corner
    y0: int
    dice: float | None  # None where neither truth nor prediction has foreground
    has_foreground: bool  # in truth
    false_px: int  # foreground predicted where the truth is known to have none

    @property
    def place(self) -> tuple[str, int, int]:
        """The patch's key, which decides between equals."""
        return (self.slide_id, self.y0, self.x0)


@dataclass(frozen=True)
class View:
    """A chosen patch, its kind (one of KINDS) and its rank in it, from 1."""

    kind: str
    rank: int
    patch: PatchResult

    @property
    def file(self) -> str:
        """The name of its picture."""
        return f"view_{self.kind}_{self.rank}.png"


def choose(patches: Sequence[PatchResult], n: int) -> tuple[View, ...]:
    """Return at most `n` patches of each kind, by kind in the order of KINDS, no patch twice.

    best, worst: highest and lowest Dice first; median: those nearest the median rank, from the nearest on.
    These have foreground in truth; fewer than 3 n of them are shared out evenly, the best taking first.
    empty: without foreground in truth, those with most false foreground first. Ties go by slide_id, y0, x0.
    """
    filled = [patch for patch in patches if patch.has_foreground and patch.dice is not None]
    filled.sort(key=lambda patch: (-(patch.dice or 0.0), patch.place))
    empty = [patch for patch in patches if not patch.has_foreground]
    empty.sort(key=lambda patch: (-patch.false_px, patch.place))
    n_best, n_worst, n_median = (min(n, (len(filled) + 2 - part) // 3) for part in range(3))
    first_worst = len(filled) - n_worst
    middle = (len(filled) - 1) / 2
    near = sorted(range(n_best, first_worst), key=lambda rank: (abs(rank - middle), rank))[:n_median]
    chosen = {
        "best": filled[:n_best],
        "median": [filled[rank] for rank in near],
        "worst": filled[first_worst:][::-1],
        "empty": empty[:n],
    }
    return tuple(View(kind, rank, patch) for kind in KINDS for rank, patch in enumerate(chosen[kind], start=1))


def table(views: Sequence[View]) -> pd.DataFrame:
    """Return the chosen patches as the table that stands beside the page (views.csv)."""
    rows = [{"kind": view.kind, "rank": view.rank, **asdict(view.patch), "picture": view.file} for view in views]
    names = ["kind", "rank", "slide_id", "x0", "y0", "dice", "has_foreground", "false_px", "picture"]
    types = {"kind": "string", "slide_id": "string", "dice": "float64", "picture": "string"}
    return pd.DataFrame(rows, columns=names).astype(types)


def choose_slides(per_slide: pd.DataFrame, at_most: int) -> list[str]:
    """Return the ids of at most `at_most` scored test slides for pictures, sorted by id.

    More than that are thinned evenly over their ranks by Dice, so that the best and the worst are among
    them; slides of undefined Dice rank last. With one picture it is the worst.
    """
    scored = per_slide[(per_slide["split"] == "test") & per_slide["scored"]]
    ranked = scored.sort_values(["dice", "slide_id"], na_position="last", kind="stable")["slide_id"].tolist()
    if len(ranked) > at_most:
        last = len(ranked) - 1
        ranked = [ranked[round(place * last / max(at_most - 1, 1))] for place in range(at_most)]
    return sorted(ranked)
