"""The report of one recipe and the summary over recipes as self-contained HTML, from small frozen contexts."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from acinus.reporting import wording
from acinus.reporting.metrics import Metrics
from acinus.reporting.summary import COLUMNS, SummaryRow
from acinus.reporting.tables import FLAGS


@dataclass(frozen=True)
class Provenance:
    """What made the figures."""

    recipe: str
    family: str
    task: str
    title: str  # one line that a stranger understands
    commit: str
    params_hash: str
    model: str  # architecture and where its weights began
    mlflow_run: str | None  # of the training; None where no tracking server was there


@dataclass(frozen=True)
class Protocol:
    """How the figures were taken."""

    threshold: float  # probability from which a map px is tumour
    slide_score: str  # reduction of the map to one score: max | p99
    bootstrap: int  # resamples
    seed: int
    patches: str  # what a patch is, e.g. "224 px at 1.0 um/px"
    map_downsample: float  # level-0 px per map px


@dataclass(frozen=True)
class Pictures:
    """The pictures of one slide: files relative to the page."""

    slide_id: str
    annotated: str
    heatmap: str


@dataclass(frozen=True)
class Chart:
    """A chart: file relative to the page, title, and what it shows in words (the alt text)."""

    file: str
    title: str
    alt: str


@dataclass(frozen=True)
class RecipePage:
    """All that the page of one recipe shows. `per_slide` is `tables.per_slide`, `files` {label: relative path}."""

    provenance: Provenance
    protocol: Protocol
    metrics: Metrics
    per_slide: pd.DataFrame
    pictures: tuple[Pictures, ...] = ()
    charts: tuple[Chart, ...] = ()
    files: dict[str, str] = field(default_factory=dict)


def recipe_page(page: RecipePage) -> str:
    """Return reports/<recipe>/index.html. Every figure on it stands in `metrics` or `per_slide` (element data)."""
    table = page.per_slide
    rows = _rows(table)
    test = [row for row in rows if row["split"] == "test"]
    return _render(
        "recipe.html.j2",
        page=page,
        cards=_cards(page.metrics),
        scored=[row for row in test if row["scored"]],
        unscored=[row for row in rows if row["status"] != "ok" or (row["split"] == "test" and not row["scored"])],
        by_id={row["slide_id"]: row for row in rows},
        known_patients=bool((table["patient"] != table["slide_id"]).any()),
        flags={name: FLAGS[name] for name in sorted({flag for row in test for flag in row["flags"]})},
    )


def summary_page(rows: list[SummaryRow]) -> str:
    """Return reports/index.html: one row per recipe, in the given order."""
    return _render("summary.html.j2", rows=rows, headlines={name: wording.HEADLINES[name] for name in COLUMNS})


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the table's rows with None for null and flags as a list."""
    rows = []
    for record in table.to_dict(orient="records"):
        row = {str(key): None if pd.isna(value) else value for key, value in record.items()}
        row["flags"] = [flag for flag in (row["flags"] or "").split(";") if flag]
        rows.append(row)
    return rows


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


def _cards(metrics: Metrics) -> list[Card]:
    cards = []
    for name, words in wording.HEADLINES.items():
        value, n = metrics[name], metrics[words.counts]
        low, high = metrics[f"{name}_ci_low"], metrics[f"{name}_ci_high"]
        cards.append(Card(name, words, value, low, high, n, "" if value is not None else _why(name)))
    return cards


def _why(name: str) -> str:
    """Return why a headline has no value."""
    if name.endswith("auc") or name.startswith("within"):
        return "undefined: needs both classes"
    return "undefined: no slide on which it can be taken"


def _href(path: str) -> str:
    """Return a path as a URL relative to the page: nothing in it can make it another address."""
    return quote(path.lstrip("/"), safe="/")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("acinus.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"href": _href, "figure": wording.text}
    environment.globals["UNDEFINED"] = wording.UNDEFINED
    return environment


def _render(template: str, **context: Any) -> str:
    return _environment().get_template(template).render(**context)
