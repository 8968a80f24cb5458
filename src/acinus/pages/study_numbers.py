"""The numbers of a study of slide labels: its metrics, the main one, and what each fold has."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from acinus import records
from acinus.metrics.metric import Case, Metric, Metrics, usable_slides
from acinus.metrics.registry import METRICS, measures, shown_in
from acinus.metrics.report import recipe_metrics
from acinus.metrics.setup import SLIDES, MetricSetup, Tables
from acinus.metrics.slide_figures import MAIN_OF_KIND
from acinus.pages.study_table import Study


@dataclass(frozen=True)
class Measured:
    """metrics: of metrics.json. main: by which the study is known; cards: all that are shown, it first. folds: a row
    per fold: fold, slides, patients, and each of `fold_metrics` by name; empty without folds.
    """

    metrics: Metrics
    main: Metric
    cards: tuple[Metric, ...]
    folds: pd.DataFrame
    fold_metrics: tuple[Metric, ...]


def measured(study: Study, table: pd.DataFrame, bootstrap: int, seed: int) -> Measured:
    """Return the numbers of a study; table: of `study_table`."""
    tables = Tables(
        manifest=study.manifest,
        quantities=records.frame(records.QUANTITIES, []),
        patch_scores=records.frame(records.SCORES, []),
        predictions=study.predictions,
    )
    setup = MetricSetup(SLIDES, ("normal", "tumor"))
    metrics = recipe_metrics(table, tables, setup, bootstrap, seed)
    main = METRICS[MAIN_OF_KIND[study.kind]]
    cards = [METRICS[name] for name in shown_in("card", metrics, SLIDES)]
    cards.sort(key=lambda card: card.name != main.name)
    folds, of_folds = _folds(Case(usable_slides(table), setup, tables), cards)
    return Measured(metrics, main, tuple(cards), folds, of_folds)


def _folds(case: Case, cards: list[Metric]) -> tuple[pd.DataFrame, tuple[Metric, ...]]:
    """Return the value of each metric over the scored slides of each fold, and the metrics that have one."""
    slides, wanted = case.slides, {card.name: card for card in cards}
    taken = {name: measure for metric, name, measure in measures(case) if name in wanted and metric.interval}
    rows = []
    for fold in sorted(slides.loc[slides["scored"] & slides["fold"].notna(), "fold"].unique()):
        inside = np.flatnonzero((slides["scored"] & (slides["fold"] == fold)).fillna(False).to_numpy(dtype=bool))
        row = {"fold": int(fold), "slides": len(inside), "patients": slides["patient"].iloc[inside].nunique()}
        rows.append(row | {name: measure.value(inside) for name, measure in taken.items()})
    table = pd.DataFrame(rows, columns=["fold", "slides", "patients", *taken])
    defined = [name for name in taken if table[name].notna().any()]
    return table[["fold", "slides", "patients", *defined]], tuple(wanted[name] for name in wanted if name in defined)
