"""The report of one recipe and the summary over recipes as self-contained HTML, from small frozen contexts."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from acinus import records
from acinus.reporting import evidence, wording
from acinus.reporting.columns import shown_columns
from acinus.reporting.contexts import RecipePage
from acinus.reporting.figure_parts import groups_of
from acinus.reporting.flags import FLAGS
from acinus.reporting.metrics import Metrics, headlines
from acinus.reporting.rendering import render
from acinus.reporting.segmentation import BASELINES
from acinus.reporting.setup import MetricSetup
from acinus.reporting.summary import COLUMNS, SummaryRow, main_of, words_of
from acinus.reporting.views import KINDS

MOST_ROWS = 200
"""So many slides stand in the page's table; all are in per_slide.csv."""


def recipe_page(page: RecipePage) -> str:
    """Return reports/<recipe>/index.html.

    Every figure on it stands in `metrics`, `per_slide`, `views` or `validation` (element data).
    """
    table, setup = page.per_slide, page.setup
    noun = wording.noun(len(setup.classes))
    chosen = table[(table["split"] == "test") & table["scored"]]
    rows = _rows(table)
    test = [row for row in rows if row["split"] == "test"]
    ids = set(chosen.sort_values(["dice", "slide_id"], kind="stable")["slide_id"][:MOST_ROWS])
    shown = [row for row in test if row["slide_id"] in ids]
    return render(
        "recipe.html.j2",
        scripted=True,
        page=page,
        setup=setup,
        noun=noun,
        cards=_cards(page, bool(chosen["slide_label"].notna().any())),
        columns=shown_columns(chosen, setup, noun),
        scored=shown,
        n_more=len(chosen) - len(shown),
        unscored=[row for row in rows if row["status"] != "ok" or (row["split"] == "test" and not row["scored"])],
        by_id={row["slide_id"]: row for row in rows},
        known_patients=bool((table["patient"] != table["slide_id"]).any()),
        tiles=page.provenance.family == "pannuke",
        flags={name: FLAGS[name] for name in sorted({flag for row in test for flag in row["flags"]})},
        baselines=wording.BASELINES.get(setup.task, {}),
        groups=_groups(page.metrics, setup),
        views=[(kind, [one for one in page.views if one.kind == kind]) for kind in KINDS],
        set_flags=_set_flags(shown),
        linked=page.evidence.pages,
        **evidence.parts(page),
    )


def summary_page(rows: list[SummaryRow]) -> str:
    """Return reports/index.html: one row per recipe, in the given order."""
    return render(
        "summary.html.j2",
        rows=[(row, main_of(row), words_of(row)) for row in rows],
        headlines={name: wording.HEADLINES[name] for name in COLUMNS},
    )


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the table's rows with None for null and flags as a list."""
    rows = records.rows(table)
    for row in rows:
        row["flags"] = [flag for flag in (row["flags"] or "").split(";") if flag]
    return rows


def _set_flags(rows: list[dict[str, Any]]) -> list[str]:
    """Return the flags and findings that any of the rows has, sorted."""
    return sorted({one for row in rows for one in (*row["flags"], *row["findings"].split(";")) if one})


@dataclass(frozen=True)
class Card:
    """One headline as the page shows it. Positions on the 0..1 track are percent, None where there is none."""

    name: str
    words: wording.Wording
    value: float | int | None
    low: float | int | None
    high: float | int | None
    n: float | int | None
    why: str  # why the figure is undefined, else ""
    baselines: dict[str, float | int | None]  # by name; empty where the figure has none
    seeds: evidence.Seeds | None  # what single graders reach, of a figure of grades
    clean: tuple[int, int] | None  # of a figure of all slides: how many normal slides are clean, and of how many


def _cards(page: RecipePage, labelled: bool) -> list[Card]:
    """Return the headlines, the main one first; those of slide labels only where a segmentation has any."""
    metrics, setup = page.metrics, page.setup
    main = wording.main_figure(page.provenance.family, setup.task)
    cards = []
    for name in sorted(headlines(metrics, setup.task), key=lambda one: one != main):
        if name in IN_SECTIONS or (name in OF_LABELS and setup.segments and not labelled):
            continue
        words, value = wording.words(name, setup.task, len(setup.classes)), metrics[name]
        low, high = metrics[f"{name}_ci_low"], metrics[f"{name}_ci_high"]
        found = {key: metrics[f"{name}.baseline_{key}"] for key in BASELINES if f"{name}.baseline_{key}" in metrics}
        why = "" if value is not None else _why(name)
        seeds = evidence.seeds_of(metrics, name, setup.task)
        clean = _clean(metrics) if name == "dice_mean" else None
        cards.append(Card(name, words, value, low, high, metrics[words.counts], why, found, seeds, clean))
    return cards


def _clean(metrics: Metrics) -> tuple[int, int] | None:
    """Return how many normal slides have nothing predicted on them, and how many there are; None without any."""
    normal = int(metrics.get("n_normal_mapped") or 0)
    return (int(metrics["n_normal_clean"] or 0), normal) if normal else None


IN_SECTIONS = ("ece", "brier", "grade_accuracy", "grade_auc")
"""Headlines that stand in a section of their own, not among the cards."""

OF_LABELS = ("dice_mean_tumor", "slide_auc", "slide_sensitivity", "slide_specificity")
"""Headlines that need slides labelled normal or tumor."""


def _why(name: str) -> str:
    """Return why a headline has no value."""
    if name.endswith("auc") or name.startswith("within"):
        return "undefined: needs both classes"
    return "undefined: no slide on which it can be taken"


@dataclass(frozen=True)
class Group:
    """A figure of a part of the slides, such as one provider's, over `n` slides."""

    words: wording.Wording
    name: str
    value: float | int | None
    n: float | int | None


def _groups(metrics: Metrics, setup: MetricSetup) -> list[Group]:
    """Return the figures by provider and by tissue type."""
    return [
        Group(wording.words(name, setup.task, len(setup.classes)), group, value, n)
        for name, words in wording.HEADLINES.items()
        for group, value, n in groups_of(metrics, name, words.counts)
    ]
