"""What makes the figures of a study of slide labels doubtful, each in words, with its number and what to do."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from acinus.cohorts.folds import cramers_v
from acinus.metrics.metric import Metric, Metrics
from acinus.pages.study_table import Study

STRONG = 0.3
"""Cramer's V from which on label and site are said to go together: a medium effect of two groups (Cohen 1988)."""
FEW = 10
"""A class of fewer patients says little."""
NAMED = 12
"""So many slides are named; all stand in per_slide.csv."""
BLIND = {
    "size": "The number of tissue patches alone",
    "colour": "The slides' colours alone",
}
"""Baselines that see nothing of the tissue."""


class Doubt(NamedTuple):
    """One thing to know before trusting the figures."""

    title: str
    text: str


def doubts(study: Study, metrics: Metrics, main: Metric) -> list[Doubt]:
    """Return what is doubtful about a study; main: the metric by which it is known."""
    figures = [*_shared(study), *_sites(study, metrics), *_blind(metrics, main)]
    return [*figures, *_few(study), *_mixed(study), *_left_out(study)]


def _patients(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per patient: the first of each one's slides."""
    return rows.drop_duplicates("patient")


def _shared(study: Study) -> Iterator[Doubt]:
    """Yield the patients of the test split whose other slides were learned from (cohort.allow_shared_patients)."""
    in_test = study.first["split"] == "test"
    shared = sorted(set(study.first.loc[in_test, "patient"]) & set(study.first.loc[~in_test, "patient"]))
    if shared:
        yield Doubt(
            "Patients of the test split were seen",
            f"{len(shared)} patients ({_named(shared)}) have slides in the test split and others that were learned "
            "from (cohort.allow_shared_patients). Figures of the test split may be too good.",
        )


def _sites(study: Study, metrics: Metrics) -> Iterator[Doubt]:
    v, told = metrics.get("slide.cramers_v"), study.target
    if study.kind == "survival":
        told = f"whether the event of {study.target} was seen"
    elif study.kind == "regression":
        v, told = _v_of_halves(study), f"{study.target} (above or below its median)"
    if v is not None and v >= STRONG:
        yield Doubt(
            "Label and site go together",
            f"Cramer's V of {told} and site is {v:.2f} over the patients (0: none, 1: each tells the other). A model "
            "may tell the site by its stain or scanner and still score well. Compare with preserved-site folds "
            "(cohort.folds.preserve_site: true, Howard et al. 2021).",
        )


def _v_of_halves(study: Study) -> float | None:
    """Return Cramer's V of site and half of the values; None where there is one site."""
    known = _patients(study.judged)
    known = known[known["site"].notna()]
    values = known["true"].to_numpy(dtype=np.float64)
    halves = [str(bool(above)) for above in values > np.median(values)] if len(values) else []
    return cramers_v(halves, known["site"].tolist())


def _blind(metrics: Metrics, main: Metric) -> Iterator[Doubt]:
    """Yield the baselines that the model does not clearly beat: they lie within its interval or above it."""
    value = metrics.get(main.name)
    low = metrics.get(f"{main.name}_ci_low")
    high = metrics.get(f"{main.name}_ci_high")
    if value is None or low is None or high is None:
        return
    for name, what in BLIND.items():
        reached = metrics.get(f"{main.name}.baseline_{name}")
        if reached is None:
            continue
        near = reached <= high if main.better == "lower" else reached >= low
        if near:
            yield Doubt(
                f"{what.split(' alone')[0].removeprefix('The ').capitalize()} alone nearly as good",
                f"{what} reach{'es' if name == 'size' else ''} {reached:.3f}, within or beyond the model's interval "
                f"({value:.3f}, {low:.3f} to {high:.3f}). The model may have learned that, and not what the tissue "
                "looks like.",
            )


def _few(study: Study) -> Iterator[Doubt]:
    patients = _patients(study.judged)
    if study.kind == "survival":
        events = int((patients["event"] == 1).sum())
        if events < FEW:
            yield Doubt("Few events", f"{events} of {len(patients)} patients had the event: the order says little.")
        return
    if not study.of_classes:
        if len(patients) < 2 * FEW:
            yield Doubt("Few patients", f"{len(patients)} patients have a value: intervals are wide and rough.")
        return
    slides = study.judged  # a patient whose slides differ counts in each of their classes
    counts = {
        name: int(slides.loc[slides["true"] == place, "patient"].nunique()) for place, name in enumerate(study.classes)
    }
    few = [f"{name} {count}" for name, count in counts.items() if count < FEW]
    if few:
        yield Doubt(
            "Classes of few patients",
            f"Fewer than {FEW} patients: {', '.join(few)}. What is said of these classes may be chance.",
        )


def _mixed(study: Study) -> Iterator[Doubt]:
    """Yield the patients whose slides have different classes: right where the label is of the slide."""
    if not study.of_classes:
        return
    counts = study.judged.groupby("patient", sort=True)["true"].nunique()
    mixed = counts.index[counts > 1].tolist()
    if mixed:
        yield Doubt(
            "Patients with slides of several classes",
            f"{len(mixed)} patients ({_named(mixed)}) have slides of more than one class. That is right where "
            f"{study.target} is of the slide; correct the table if it is of the patient.",
        )


def _left_out(study: Study) -> Iterator[Doubt]:
    if study.unlabelled:
        yield Doubt(
            "Slides without a label",
            f"{len(study.unlabelled)} slides have no {study.target}: they are predicted, teach nothing and are in no "
            f"figure ({_named(study.unlabelled)}).",
        )
    if study.without_tissue:
        yield Doubt(
            "Slides without tissue",
            f"{len(study.without_tissue)} usable slides gave no patch, so that nothing is predicted of them "
            f"({_named(study.without_tissue)}). Look at them, or lower index.min_tissue_fraction.",
        )


def _named(slides: Sequence[str]) -> str:
    return ", ".join(slides[:NAMED]) + (f" and {len(slides) - NAMED} more" if len(slides) > NAMED else "")
