"""The report of one recipe and the summary over recipes as self-contained HTML, from small frozen contexts."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from acinus import records
from acinus.reporting import wording
from acinus.reporting.columns import shown_columns
from acinus.reporting.metrics import HEADLINES_OF, Metrics
from acinus.reporting.segmentation import BASELINES
from acinus.reporting.setup import MetricSetup
from acinus.reporting.summary import COLUMNS, SummaryRow, main_of
from acinus.reporting.tables import FLAGS
from acinus.reporting.views import KINDS, View


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
    split_rules: tuple[str, ...] = ()  # of manifest.split_rule
    positive: tuple[str, ...] = ("tumor",)  # classes that count as tumour or foreground


@dataclass(frozen=True)
class ClassKey:
    """A class of the recipe with the colour of its pixels in the pictures."""

    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Pictures:
    """The pictures of one slide: files relative to the page; heatmap None where one picture shows all."""

    slide_id: str
    annotated: str
    heatmap: str | None = None


@dataclass(frozen=True)
class Chart:
    """A chart: file relative to the page, title, and what it shows in words (the alt text)."""

    file: str
    title: str
    alt: str


@dataclass(frozen=True)
class RecipePage:
    """All that the page of one recipe shows.

    `per_slide` is `tables.per_slide`, `classes` in class order, `views` (`views.choose`) have their pictures
    in `view_folder`, `validation` is validation.json, `files` {label: path}; every path is relative to the page.
    """

    provenance: Provenance
    protocol: Protocol
    metrics: Metrics
    per_slide: pd.DataFrame
    pictures: tuple[Pictures, ...] = ()
    charts: tuple[Chart, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    classes: tuple[ClassKey, ...] = ()
    views: tuple[View, ...] = ()
    view_folder: str = "views"
    validation: dict[str, Any] = field(default_factory=dict)

    @property
    def setup(self) -> MetricSetup:
        """The recipe's task and classes."""
        names = tuple(one.name for one in self.classes) or ("normal", "tumor")
        return MetricSetup(self.provenance.task, names, self.protocol.slide_score)


MOST_ROWS = 200
"""So many slides stand in the page's table; all are in per_slide.csv."""


def recipe_page(page: RecipePage) -> str:
    """Return reports/<recipe>/index.html.

    Every figure on it stands in `metrics`, `per_slide`, `views` or `validation` (element data).
    """
    table, setup = page.per_slide, page.setup
    noun = "tumour" if len(setup.classes) == 2 else "foreground"
    chosen = table[(table["split"] == "test") & table["scored"]]
    rows = _rows(table)
    test = [row for row in rows if row["split"] == "test"]
    ids = set(chosen.sort_values(["dice", "slide_id"], kind="stable")["slide_id"][:MOST_ROWS])
    shown = [row for row in test if row["slide_id"] in ids]
    return _render(
        "recipe.html.j2",
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
        groups=_groups(page.metrics),
        views=[(kind, [one for one in page.views if one.kind == kind]) for kind in KINDS],
    )


def summary_page(rows: list[SummaryRow]) -> str:
    """Return reports/index.html: one row per recipe, in the given order."""
    return _render(
        "summary.html.j2",
        rows=[(row, main_of(row)) for row in rows],
        headlines={name: wording.HEADLINES[name] for name in COLUMNS},
        words=wording.HEADLINES,
    )


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the table's rows with None for null and flags as a list."""
    rows = records.rows(table)
    for row in rows:
        row["flags"] = [flag for flag in (row["flags"] or "").split(";") if flag]
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
    baselines: dict[str, float | int | None]  # by name; empty where the figure has none


def _cards(page: RecipePage, labelled: bool) -> list[Card]:
    """Return the headlines, the main one first; those of slide labels only where a segmentation has any."""
    metrics, setup = page.metrics, page.setup
    main = wording.main_figure(page.provenance.family, setup.task)
    cards = []
    for name in sorted(HEADLINES_OF.get(setup.task, ()), key=lambda one: one != main):
        if name in OF_LABELS and setup.segments and not labelled:
            continue
        words, value = wording.words(name, setup.task), metrics[name]
        low, high = metrics[f"{name}_ci_low"], metrics[f"{name}_ci_high"]
        found = {key: metrics[f"{name}.baseline_{key}"] for key in BASELINES if f"{name}.baseline_{key}" in metrics}
        why = "" if value is not None else _why(name)
        cards.append(Card(name, words, value, low, high, metrics[words.counts], why, found))
    return cards


OF_LABELS = ("dice_mean_tumor", "slide_auc")
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


def _groups(metrics: Metrics) -> list[Group]:
    """Return the figures by provider and by tissue type."""
    return [
        Group(words, key.removeprefix(f"{name}."), value, metrics[f"{words.counts}.{key.removeprefix(f'{name}.')}"])
        for name, words in wording.HEADLINES.items()
        for key, value in sorted(metrics.items())
        if key.startswith(f"{name}.") and not key.startswith(f"{name}.baseline_")
    ]


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
    environment.globals |= {name: getattr(wording, name) for name in ("UNDEFINED", "SPLIT_RULES", "TASKS")}
    return environment


def _render(template: str, **context: Any) -> str:
    return _environment().get_template(template).render(**context)
