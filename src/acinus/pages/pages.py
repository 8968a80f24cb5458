"""The report of one recipe, a page per slide and the summary over recipes as self-contained HTML."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from acinus import records
from acinus.metrics.flags import FLAGS
from acinus.metrics.metric import Metric, groups_of
from acinus.metrics.registry import BASELINES, METRICS, main_metric, shown_in
from acinus.pages import evidence, wording
from acinus.pages.columns import shown_columns
from acinus.pages.contexts import RecipePage
from acinus.pages.rendering import render
from acinus.pages.summary import SummaryRow, main_of
from acinus.pages.views import KINDS

MOST_ROWS = 200
"""So many slides stand in the page's table; all are in per_slide.csv."""

MOST_REGIONS, MOST_ATTENTION = 20, 8
"""So many regions (the largest) and patches (of highest attention) stand on a slide's page."""

Row = dict[str, Any]
Value = float | int | None


def recipe_page(page: RecipePage) -> str:
    """Return reports/<recipe>/index.html.

    Every number on it stands in `metrics`, `per_slide`, `views` or `validation` (element data).
    """
    table, setup = page.per_slide, page.setup
    noun = wording.noun(len(setup.classes))
    scored = table[(table["split"] == "test") & table["scored"]]
    rows = _rows(table)
    test = [row for row in rows if row["split"] == "test"]
    ids = set(scored.sort_values(["dice", "slide_id"], kind="stable")["slide_id"][:MOST_ROWS])
    shown = [row for row in test if row["slide_id"] in ids]
    return render(
        "recipe.html.j2",
        scripted=True,
        page=page,
        setup=setup,
        noun=noun,
        cards=_cards(page, bool(scored["slide_label"].notna().any())),
        columns=shown_columns(scored, setup, noun),
        scored=shown,
        n_more=len(scored) - len(shown),
        unscored=[row for row in rows if row["status"] != "ok" or (row["split"] == "test" and not row["scored"])],
        by_id={row["slide_id"]: row for row in rows},
        known_patients=bool((table["patient"] != table["slide_id"]).any()),
        tiles=page.provenance.family == "pannuke",
        flags={name: FLAGS[name] for name in sorted({flag for row in test for flag in row["flags"]})},
        baselines=BASELINES.get(setup.task, {}),
        groups=[
            (metric.worded(setup.task, len(setup.classes)).label, group, value, n)
            for name, metric in METRICS.items()
            for group, value, n in groups_of(page.metrics, name, metric.counts)
        ],
        views=[(kind, [view for view in page.views if view.kind == kind]) for kind in KINDS],
        set_flags=sorted({flag for row in shown for flag in (*row["flags"], *row["findings"].split(";")) if flag}),
        linked=page.evidence.pages,
        **evidence.parts(page),
    )


@dataclass(frozen=True)
class Card:
    """One metric as the page shows it. Positions on the 0..1 track are percent, None where there is none."""

    name: str
    words: Metric
    value: Value
    low: Value
    high: Value
    n: Value
    why: str  # why the metric is undefined, else ""
    baselines: dict[str, Value]  # by name; empty where the metric has none
    seeds: evidence.Seeds | None  # what single graders reach, of a metric of grades
    clean: tuple[int, int] | None  # of a metric of all slides: how many normal slides are clean, and of how many


def _cards(page: RecipePage, labelled: bool) -> list[Card]:
    """Return the metrics of the cards, the main one first; those of slide labels only where a segmentation has any."""
    metrics, setup = page.metrics, page.setup
    main = main_metric(page.provenance.family, setup.task)
    normal = int(metrics.get("n_normal_mapped") or 0)
    cards = []
    for name in sorted(shown_in("card", metrics, setup.task), key=lambda name: name != main):
        if "slide_label" in METRICS[name].columns and setup.segments and not labelled:
            continue
        words, value = METRICS[name].worded(setup.task, len(setup.classes)), metrics[name]
        why = ""
        if value is None:
            both = name.endswith("auc") or name.startswith("within")
            why = f"undefined: {'needs both classes' if both else 'no slide on which it can be taken'}"
        reached = {key: f"{name}.baseline_{key}" for key in BASELINES[setup.task]}
        card = Card(
            name=name,
            words=words,
            value=value,
            low=metrics.get(f"{name}_ci_low"),
            high=metrics.get(f"{name}_ci_high"),
            n=metrics.get(words.counts),
            why=why,
            baselines={key: metrics[baseline] for key, baseline in reached.items() if baseline in metrics},
            seeds=evidence.seeds_of(metrics, name),
            clean=(int(metrics["n_normal_clean"] or 0), normal) if name == "dice_mean" and normal else None,
        )
        cards.append(card)
    return cards


def _rows(table: pd.DataFrame) -> list[Row]:
    """Return the table's rows with None for null and flags as a list."""
    return [row | {"flags": [flag for flag in (row["flags"] or "").split(";") if flag]} for row in records.rows(table)]


# ---------------------------------------------------------------- a page per slide


def shown_regions(regions: pd.DataFrame) -> pd.DataFrame:
    """Return records.REGIONS of every slide's MOST_REGIONS largest, the largest first."""
    return _first(regions, "area_px", ["region"], MOST_REGIONS)


def shown_attention(attention: pd.DataFrame) -> pd.DataFrame:
    """Return records.ATTENTION of every slide's MOST_ATTENTION patches of highest attention, the highest first."""
    return _first(attention, "attention", ["y0", "x0"], MOST_ATTENTION)


def _first(table: pd.DataFrame, by: str, ties: list[str], most: int) -> pd.DataFrame:
    ascending = [True, False, *[True] * len(ties)]
    ranked = table.sort_values(["slide_id", by, *ties], ascending=ascending, kind="stable")
    return ranked.groupby("slide_id", sort=False).head(most).reset_index(drop=True)


def slide_pages(page: RecipePage) -> Iterator[tuple[str, str]]:
    """Yield (slide_id, HTML of slides/<slide_id>.html) of every slide of `page.evidence.views`, in their order.

    Every number on them stands in per_slide, views, regions or attention (element data).
    """
    table, shown = page.per_slide, page.evidence
    noun = wording.noun(len(page.setup.classes))
    columns = shown_columns(table[(table["split"] == "test") & table["scored"]], page.setup, noun)
    as_written = {row["slide_id"]: row for row in records.rows(table)}
    rows = {row["slide_id"]: row for row in _rows(table)}
    regions, attention = _by_slide(shown.regions), _by_slide(shown.attention)
    ids = [view.slide_id for view in shown.views]
    for place, view in enumerate(shown.views):
        slide_id = view.slide_id
        row = rows[slide_id]
        n_regions = row.get("num_regions") or 0
        html = render(
            "slide.html.j2",
            scripted=True,
            page=page,
            noun=noun,
            columns=columns,
            before=ids[place - 1] if place else None,
            after=ids[place + 1] if place + 1 < len(ids) else None,
            place=place + 1,
            total=len(ids),
            n_pictured=sum(other.thumbnail is not None for other in shown.views),
            view=view,
            all=as_written[slide_id],
            row=row,
            flags_of_row={name: FLAGS[name] for name in row["flags"]},
            n_regions=n_regions,
            n_undrawn=max(0, n_regions - len(view.outlines)) if view.outlines else 0,
            lesions=row.get("num_lesions") is not None,
            n_attention=shown.n_attention.get(slide_id, 0),
            views=[patch for patch in page.views if patch.patch.slide_id == slide_id],
            regions=regions.get(slide_id, []),
            attention=attention.get(slide_id, []),
        )
        yield slide_id, html


def _by_slide(table: pd.DataFrame) -> dict[str, list[Row]]:
    return {str(slide_id): records.rows(rows) for slide_id, rows in table.groupby("slide_id", sort=False)}


# ---------------------------------------------------------------- all recipes


def summary_page(rows: list[SummaryRow]) -> str:
    """Return reports/index.html: one row per recipe, in the given order."""
    return render(
        "summary.html.j2",
        rows=[(row, main_of(row.family, row.task, row.metrics)) for row in rows],
        columns={name: metric for name, metric in METRICS.items() if "summary" in metric.shown},
    )
