"""What the pages of a recipe are given: small frozen contexts of tables, numbers and files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from acinus import records
from acinus.metrics.metric import Metrics
from acinus.metrics.setup import MetricSetup
from acinus.pages.outlines import Outline
from acinus.pages.views import View


@dataclass(frozen=True)
class Provenance:
    """What made the metrics."""

    recipe: str
    family: str
    task: str
    title: str  # one line that a stranger understands
    commit: str
    params_hash: str
    model: str  # architecture and where its weights began
    mlflow_run: str | None  # of the training; None where no tracking server was there
    inputs: Mapping[str, str] = field(default_factory=dict)  # what was read -> hash of its content
    mlflow_parent: str | None = None  # the pipeline's run, to which the training's belongs


@dataclass(frozen=True)
class Protocol:
    """How the metrics were taken."""

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
    """A chart: file relative to the page, title, what it shows in words (the alt text), and where it stands."""

    file: str
    title: str
    alt: str
    section: str = "curves"  # curves | tuning | calibration | grades | lesions
    wide: bool = False  # takes a row of its own


@dataclass(frozen=True)
class Layer:
    """A transparent picture over a slide: file relative to the slide's page, opacity (0..1) it is first seen with."""

    title: str
    file: str
    about: str
    opacity: float = 1.0


@dataclass(frozen=True)
class SlideView:
    """The pictures of a slide's own page, files relative to it; `size` is (width, height) of the thumbnail in px."""

    slide_id: str
    size: tuple[int, int] = (1, 1)
    thumbnail: str | None = None  # None: no pictures of this slide
    layers: tuple[Layer, ...] = ()
    outlines: tuple[Outline, ...] = ()
    strip: str | None = None  # the patches of highest attention


@dataclass(frozen=True)
class Evidence:
    """What the slides' own pages show beyond per_slide.csv; only slides of `views` have a page.

    regions: records.REGIONS, attention: records.ATTENTION, the rows shown (regions.csv, attention.csv);
    n_attention: slide -> patches that were graded.
    """

    views: tuple[SlideView, ...] = ()
    regions: pd.DataFrame = field(default_factory=lambda: records.frame(records.REGIONS, []))
    attention: pd.DataFrame = field(default_factory=lambda: records.frame(records.ATTENTION, []))
    n_attention: Mapping[str, int] = field(default_factory=dict)

    @property
    def pages(self) -> frozenset[str]:
        """The ids of the slides that have a page."""
        return frozenset(view.slide_id for view in self.views)


@dataclass(frozen=True)
class RecipePage:
    """All that the page of one recipe shows.

    `per_slide` is `tables.per_slide`, `classes` in class order, `views` (`views.choose`) have their pictures
    in `view_folder`, `validation` is validation.json, `files` {label: path}; every path is relative to the page.
    point: the operating point's fields; tuning: best.yaml's; extraction: extraction.json's. mask_colours: whether the
    classes' colours are those of the cohort's masks; data_docs: table -> its page by Great Expectations.
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
    evidence: Evidence = field(default_factory=Evidence)
    point: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)
    grade: str = "none"  # what slides are graded for: none | isup | tumor
    extraction: Mapping[str, Any] = field(default_factory=dict)
    mask_colours: bool = False
    data_docs: Mapping[str, str] = field(default_factory=dict)

    @property
    def setup(self) -> MetricSetup:
        """The recipe's task and classes."""
        names = tuple(key.name for key in self.classes) or ("normal", "tumor")
        return MetricSetup(self.provenance.task, names, self.protocol.slide_score, grade=self.grade)
