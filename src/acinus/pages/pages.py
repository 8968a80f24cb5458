"""The report of one recipe, a page per slide and the summary over recipes as self-contained HTML."""

from collections.abc import Iterator
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


def recipe_page(page: RecipePage) -> str:
    """Return reports/<recipe>/index.html.

    Every number on it stands in `metrics`, `per_slide`, `views` or `validation` (element data).
    """
    table, setup = page.per_slide, page.setup
    noun = wording.noun(len(setup.classes))
    scored = table[(table["split"] == "test") & table["scored"]]
    rows = [_with_flags(row) for row in records.rows(table)]
    test = [row for row in rows if row["split"] == "test"]
    ids = set(scored.sort_values(["dice", "slide_id"], kind="stable")["slide_id"][:MOST_ROWS])
    shown = [row for row in test if row["slide_id"] in ids]
    cards = _cards(page, bool(scored["slide_label"].notna().any()))
    baselines = BASELINES.get(setup.task, {})
    return render(
        "recipe.html.j2",
        scripted=True,
        page=page,
        setup=setup,
        noun=noun,
        cards=cards,
        columns=shown_columns(scored, setup, noun),
        scored=shown,
        n_more=len(scored) - len(shown),
        unscored=[row for row in rows if row["status"] != "ok" or (row["split"] == "test" and not row["scored"])],
        by_id={row["slide_id"]: row for row in rows},
        known_patients=bool((table["patient"] != table["slide_id"]).any()),
        tiles=page.provenance.family == "pannuke",
        flags={name: FLAGS[name] for name in sorted({flag for row in test for flag in row["flags"]})},
        baselines=baselines,
        compared=[card for card in cards if any(f"{card.name}.baseline_{key}" in page.metrics for key in baselines)],
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


def _cards(page: RecipePage, labelled: bool) -> list[Metric]:
    """Return the metrics of the cards, the main one first.

    Those of slide labels are left out where there are none, but of a classifier of two classes.
    """
    setup, main = page.setup, main_metric(page.provenance.family, page.setup.task, len(page.setup.classes))
    left_out = "slide_label" if (setup.segments or len(setup.classes) > 2) and not labelled else ""
    names = [name for name in shown_in("card", page.metrics, setup.task) if left_out not in METRICS[name].columns]
    return [
        METRICS[name].worded(setup.task, len(setup.classes)) for name in sorted(names, key=lambda name: name != main)
    ]


def _with_flags(row: Row) -> Row:
    """Return a row of the table with its flags as a list."""
    return row | {"flags": [flag for flag in (row["flags"] or "").split(";") if flag]}


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
    rows = {row["slide_id"]: row for row in records.rows(table)}
    regions, attention = _by_slide(shown.regions), _by_slide(shown.attention)
    ids = [view.slide_id for view in shown.views]
    for place, view in enumerate(shown.views):
        slide_id, row = view.slide_id, _with_flags(rows[view.slide_id])
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
            all=rows[slide_id],
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
