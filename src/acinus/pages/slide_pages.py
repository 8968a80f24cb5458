"""A page per slide: its layers under sliders, its numbers, regions, grade and patches."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from acinus import records
from acinus.metrics.flags import FLAGS
from acinus.pages import wording
from acinus.pages.columns import shown_columns
from acinus.pages.contexts import RecipePage, SlideView
from acinus.pages.rendering import render

MOST_REGIONS, MOST_ATTENTION = 20, 8
"""So many regions (the largest) and patches (of highest attention) stand on a slide's page."""


def shown_regions(regions: pd.DataFrame) -> pd.DataFrame:
    """Return records.REGIONS of every slide's MOST_REGIONS largest, the largest first."""
    return _first(regions, "area_px", ["slide_id", "region"], MOST_REGIONS)


def shown_attention(attention: pd.DataFrame) -> pd.DataFrame:
    """Return records.ATTENTION of every slide's MOST_ATTENTION patches of highest attention, the highest first."""
    return _first(attention, "attention", ["slide_id", "y0", "x0"], MOST_ATTENTION)


def _first(table: pd.DataFrame, by: str, key: list[str], most: int) -> pd.DataFrame:
    order = [key[0], by, *key[1:]]
    ranked = table.sort_values(order, ascending=[True, False, *[True] * len(key[1:])], kind="stable")
    return ranked.groupby("slide_id", sort=False).head(most).reset_index(drop=True)


def slide_pages(page: RecipePage) -> Iterator[tuple[str, str]]:
    """Yield (slide_id, HTML of slides/<slide_id>.html) of every slide of `page.evidence.views`, in their order.

    Every number on them stands in per_slide, views, regions or attention (element data).
    """
    rows = {row["slide_id"]: row for row in records.rows(page.per_slide)}
    setup = page.setup
    noun = wording.noun(len(setup.classes))
    table = page.per_slide
    scored = table[(table["split"] == "test") & table["scored"]]
    columns = shown_columns(scored, setup, noun)
    regions, attention = _by_slide(page.evidence.regions), _by_slide(page.evidence.attention)
    ids = [view.slide_id for view in page.evidence.views]
    for place, view in enumerate(page.evidence.views):
        slide_id = view.slide_id
        yield (
            slide_id,
            render(
                "slide.html.j2",
                scripted=True,
                page=page,
                noun=noun,
                columns=columns,
                before=ids[place - 1] if place else None,
                after=ids[place + 1] if place + 1 < len(ids) else None,
                place=place + 1,
                total=len(ids),
                n_pictured=sum(one.thumbnail is not None for one in page.evidence.views),
                **_of_slide(page, view, rows[slide_id]),
                regions=regions.get(slide_id, []),
                attention=attention.get(slide_id, []),
            ),
        )


def _of_slide(page: RecipePage, view: SlideView, row: dict[str, Any]) -> dict[str, Any]:
    """Return what the template needs of one slide beside its regions and attention."""
    flags = [flag for flag in (row["flags"] or "").split(";") if flag]
    n_regions = row.get("num_regions") or 0
    return {
        "view": view,
        "all": row,
        "row": row | {"flags": flags},
        "flags_of_row": {name: FLAGS[name] for name in flags},
        "n_regions": n_regions,
        "n_undrawn": max(0, n_regions - len(view.outlines)) if view.outlines else 0,
        "lesions": row.get("num_lesions") is not None,
        "n_attention": page.evidence.n_attention.get(view.slide_id, 0),
        "views": [one for one in page.views if one.patch.slide_id == view.slide_id],
    }


def _by_slide(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    result: dict[str, list[dict[str, Any]]] = {}
    for row in records.rows(table):
        result.setdefault(row["slide_id"], []).append(row)
    return result
