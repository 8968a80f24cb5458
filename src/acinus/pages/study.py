"""The pages of a recipe of task slide_labels: its own, and one per slide, as self-contained HTML."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from acinus import records
from acinus.metrics.metric import Metric, Metrics
from acinus.metrics.registry import BASELINES
from acinus.pages.contexts import Chart, Provenance, SlideView
from acinus.pages.rendering import render
from acinus.pages.study_table import Study, shown_columns
from acinus.pages.study_warnings import Doubt

MOST_ROWS = 500
"""So many slides stand in the page's table; all are in per_slide.csv."""
SHOWN = 6
"""So many slides stand with their pictures on the recipe's page: those it is furthest off, and surest and right."""
PATCHES = 8
"""So many patches of highest attention stand in the table of a slide's page."""
Row = dict[str, Any]


@dataclass(frozen=True)
class SlidePictures:
    """The pictures and files of one slide, relative to its page. view: None where none were drawn."""

    slide_id: str
    view: SlideView | None
    lowest: str | None
    tiff: str
    geojson: str


@dataclass(frozen=True)
class StudyPage:
    """All that the pages of a study show.

    how: how slides were predicted, a sentence each. main, cards: the metric by which it is known, and all. folds: a row
    per fold: fold, slides, patients, and the value of each metric of `fold_metrics`. attention: records.ATTENTION of
    the slides with a page. seed, bootstrap: of the intervals.
    """

    provenance: Provenance
    study: Study
    how: tuple[str, ...]
    metrics: Metrics
    main: Metric
    cards: tuple[Metric, ...]
    table: pd.DataFrame
    folds: pd.DataFrame
    fold_metrics: tuple[Metric, ...]
    doubts: tuple[Doubt, ...]
    attention: pd.DataFrame
    bootstrap: int
    seed: int
    charts: tuple[Chart, ...] = ()
    slides: tuple[SlidePictures, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    data_docs: Mapping[str, str] = field(default_factory=dict)


def study_page(page: StudyPage) -> str:
    """Return reports/<recipe>/index.html. Every number on it stands in metrics.json or per_slide.csv (element data)."""
    rows = _rows(page.table)
    answered = [row for row in rows if row["num_patches"] is not None]
    baselines = BASELINES.get(page.provenance.task, {})
    by_id = {row["slide_id"]: row for row in rows}
    return render(
        "study.html.j2",
        scripted=True,
        page=page,
        study=page.study,
        baselines=baselines,
        compared=[one for one in page.cards if any(f"{one.name}.baseline_{key}" in page.metrics for key in baselines)],
        columns=shown_columns(page.table, page.study),
        shown=answered[:MOST_ROWS],
        n_more=max(0, len(answered) - MOST_ROWS),
        unused=[row for row in rows if row["num_patches"] is None],
        folds=records.rows(page.folds),
        linked={one.slide_id for one in page.slides},
        pictured=[(by_id[one.slide_id], one) for one in _examples(page)],
    )


def _rows(table: pd.DataFrame) -> list[Row]:
    """Return the rows of the table, with what stands in them in words."""
    words = {None: None, 0: "no", 1: "yes"}
    return [row | {"right_text": words[row.get("right")]} for row in records.rows(table)]


def _examples(page: StudyPage) -> list[SlidePictures]:
    """Return the slides whose pictures stand on the recipe's page."""
    drawn = {one.slide_id: one for one in page.slides if one.view is not None}
    chosen = examples(page.table[page.table["slide_id"].isin(list(drawn))], page.study)
    return [drawn[slide_id] for slide_id in chosen or list(drawn)[:SHOWN]]


def examples(table: pd.DataFrame, study: Study) -> list[str]:
    """Return the slides of the figures that the model is furthest off, and surest and right about."""
    scored = table[table["scored"]]
    ranked = scored.assign(off=_off(scored, study)).sort_values(["off", "slide_id"], kind="stable")
    ids = ranked["slide_id"].tolist()
    return list(dict.fromkeys([*ids[: SHOWN // 2], *ids[::-1][: SHOWN - SHOWN // 2][::-1]]))


def _off(table: pd.DataFrame, study: Study) -> pd.Series:
    """Return by how much the model is off: 1 - p(true class), the size of the error, or for survival the risk."""
    if study.kind == "regression":
        return table["error"].abs()
    if study.kind == "survival":
        return table["risk"]
    places = table["true"].astype("int64").tolist()
    probs = table[[f"prob.{name}" for name in study.classes]].to_numpy(dtype="float64")
    return pd.Series(1 - probs[range(len(table)), places], index=table.index)


def study_slide_pages(page: StudyPage) -> Iterator[tuple[str, str]]:
    """Yield (slide_id, HTML of slides/<slide_id>.html) of every slide of `page.slides`, in their order."""
    rows = {row["slide_id"]: row for row in _rows(page.table)}
    columns = shown_columns(page.table, page.study)
    attention = {str(slide_id): of_slide for slide_id, of_slide in page.attention.groupby("slide_id", sort=False)}
    ids = [one.slide_id for one in page.slides]
    for place, one in enumerate(page.slides):
        patches = attention.get(one.slide_id, page.attention.iloc[:0])
        yield (
            one.slide_id,
            render(
                "study_slide.html.j2",
                scripted=True,
                page=page,
                study=page.study,
                columns=columns,
                before=ids[place - 1] if place else None,
                after=ids[place + 1] if place + 1 < len(ids) else None,
                place=place + 1,
                total=len(ids),
                n_pictured=sum(other.view is not None for other in page.slides),
                pictures=one,
                view=one.view,
                row=rows[one.slide_id],
                n_patches=len(patches),
                highest=records.rows(patches.sort_values("attention", ascending=False, kind="stable")[:PATCHES]),
            ),
        )
