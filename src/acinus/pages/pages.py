"""The report of one recipe and the summary over recipes as self-contained HTML, from small frozen contexts."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from acinus import records
from acinus.metrics.flags import FLAGS
from acinus.metrics.metric import Metric, Metrics, groups_of
from acinus.metrics.registry import BASELINES, METRICS, main_metric, shown_in
from acinus.metrics.setup import MetricSetup
from acinus.pages import evidence, wording
from acinus.pages.columns import shown_columns
from acinus.pages.contexts import RecipePage
from acinus.pages.rendering import render
from acinus.pages.summary import SummaryRow, main_of, words_of
from acinus.pages.views import KINDS

MOST_ROWS = 200
"""So many slides stand in the page's table; all are in per_slide.csv."""


def recipe_page(page: RecipePage) -> str:
    """Return reports/<recipe>/index.html.

    Every number on it stands in `metrics`, `per_slide`, `views` or `validation` (element data).
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
        baselines=BASELINES.get(setup.task, {}),
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
        columns={name: metric for name, metric in METRICS.items() if "summary" in metric.shown},
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
    """One metric as the page shows it. Positions on the 0..1 track are percent, None where there is none."""

    name: str
    words: Metric
    value: float | int | None
    low: float | int | None
    high: float | int | None
    n: float | int | None
    why: str  # why the metric is undefined, else ""
    baselines: dict[str, float | int | None]  # by name; empty where the metric has none
    seeds: evidence.Seeds | None  # what single graders reach, of a metric of grades
    clean: tuple[int, int] | None  # of a metric of all slides: how many normal slides are clean, and of how many


def _cards(page: RecipePage, labelled: bool) -> list[Card]:
    """Return the metrics of the cards, the main one first; those of slide labels only where a segmentation has any."""
    metrics, setup = page.metrics, page.setup
    main = main_metric(page.provenance.family, setup.task)
    cards = []
    for name in sorted(shown_in("card", metrics, setup.task), key=lambda name: name != main):
        if "slide_label" in METRICS[name].columns and setup.segments and not labelled:
            continue
        words, value = METRICS[name].worded(setup.task, len(setup.classes)), metrics[name]
        low, high = metrics.get(f"{name}_ci_low"), metrics.get(f"{name}_ci_high")
        names = {key: f"{name}.baseline_{key}" for key in BASELINES[setup.task]}
        baselines = {key: metrics[baseline] for key, baseline in names.items() if baseline in metrics}
        why = "" if value is not None else _why(name)
        seeds = evidence.seeds_of(metrics, name)
        clean = _clean(metrics) if name == "dice_mean" else None
        cards.append(Card(name, words, value, low, high, metrics.get(words.counts), why, baselines, seeds, clean))
    return cards


def _clean(metrics: Metrics) -> tuple[int, int] | None:
    """Return how many normal slides have nothing predicted on them, and how many there are; None without any."""
    normal = int(metrics.get("n_normal_mapped") or 0)
    return (int(metrics["n_normal_clean"] or 0), normal) if normal else None


def _why(name: str) -> str:
    """Return why a metric has no value."""
    if name.endswith("auc") or name.startswith("within"):
        return "undefined: needs both classes"
    return "undefined: no slide on which it can be taken"


@dataclass(frozen=True)
class Group:
    """A metric of a part of the slides, such as one provider's, over `n` slides."""

    words: Metric
    name: str
    value: float | int | None
    n: float | int | None


def _groups(metrics: Metrics, setup: MetricSetup) -> list[Group]:
    """Return the metrics by provider and by tissue type."""
    return [
        Group(metric.worded(setup.task, len(setup.classes)), group, value, n)
        for name, metric in METRICS.items()
        for group, value, n in groups_of(metrics, name, metric.counts)
    ]
