"""The figures of a run in the form in which two runs are compared: over chosen slides, by the names of metrics.json."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from acinus.records import NORMAL, TUMOR
from acinus.reporting.calibration_part import calibration_part
from acinus.reporting.detection_part import lesion_outcomes
from acinus.reporting.figure_parts import OverRows, floats, is_tumor, mean_of
from acinus.reporting.instances import instance_part
from acinus.reporting.pairwise import pairwise_auc
from acinus.reporting.segmentation import CLASS_FIGURES, SET_FIGURES, confusions
from acinus.reporting.setup import PATCHES, SEGMENTATION, MetricSetup, Tables
from acinus.scoring.auc import auc
from acinus.scoring.dice import Overlap, dice
from acinus.scoring.froc import curve
from acinus.scoring.kappa import quadratic_weighted_kappa

EXPLAINED = {
    "per_slide.pixel_accuracy": "mean of the slides' own pixel accuracy; pixel_accuracy is of all px at once",
    "per_slide.class_dice": "mean of the slides' own Dice of a class; class_dice is of all px at once",
    "per_slide.false_positives": "mean number of regions outside every lesion, at the operating point",
    "lesions_hit_share": "lesions hit by a region of the operating point, of all lesions; froc is over all thresholds",
}
"""The figures that metrics.json does not have (a class's name follows its point), in words."""


class Measure(NamedTuple):
    """A figure of a run's slides: where it is defined, bool (slides,), and its value over chosen rows.

    Two runs' figures are of one thing where `kind` is the same.
    """

    defined: np.ndarray
    over: OverRows
    kind: str = ""


Take = Callable[[pd.DataFrame], Measure]
"""How a figure is taken from a per-slide table."""

Agree = Callable[[np.ndarray, np.ndarray], float | None]
"""A figure of true and given grades."""


@dataclass(frozen=True)
class Behind:
    """The tables that a report was made from; wrong: the figures that come out otherwise than it says, and how."""

    tables: Tables
    wrong: Mapping[str, str] = field(default_factory=dict)


def setup_of(slides: pd.DataFrame) -> MetricSetup:
    """Return task, classes and target of the grades as the columns of a per-slide table tell them."""
    names = [str(one) for one in slides.columns]
    dices, shares = (
        tuple(one.removeprefix(start) for one in names if one.startswith(start))
        for start in ("class_dice.", "class_share.")
    )
    graded = [one for one in ("isup", "tumor") if f"{one}_mil" in names]
    task = SEGMENTATION if "pixel_accuracy" in names else PATCHES
    return MetricSetup(task, dices or shares or ("normal", "tumor"), grade=graded[0] if graded else "none")


def measures(slides: pd.DataFrame, behind: Behind | None = None) -> dict[str, Measure]:
    """Return every figure that a per-slide table allows, and with the tables behind it what those allow, by name.

    The names are those of metrics.json, and so are the values over all its slides, but for EXPLAINED.

    Raises:
        TableError: tables that do not go with the per-slide table.
    """
    setup = setup_of(slides)
    found = {name: take(slides) for name, (needed, take) in _MEASURES.items() if needed <= set(slides.columns)}
    if setup.graded:
        found["grade_accuracy"] = _grades(setup.grade, f"{setup.grade}_mil", _same)(slides)
    for column in slides.columns:
        if column.startswith("class_dice."):
            found[f"per_slide.{column}"] = _mean(column)(slides)
    if len(setup.classes) > 2:  # Dice is then a mean over these classes
        for name in {"dice_mean", "dice_mean_tumor", "iou_mean"} & set(found):
            found[name] = found[name]._replace(kind=_kind(setup))
    if behind is not None:
        further = _of_tables(slides, behind.tables, setup)
        found |= {name: one for name, one in further.items() if name not in behind.wrong}
    return found


def held_against(slides: pd.DataFrame, given: Tables, metrics: Mapping[str, Any]) -> Behind:
    """Return the tables with what they say otherwise than the report's metrics.json, having changed since.

    slides: all usable test slides of the report.
    """
    rows, wrong = np.arange(len(slides), dtype=np.int64), {}
    for name, one in _of_tables(slides, given, setup_of(slides)).items():
        value, told = one.over(rows) if rows.size else None, metrics.get(name)
        same = value is told is None or (
            value is not None and told is not None and math.isclose(value, told, rel_tol=1e-6, abs_tol=1e-9)
        )
        if not same:
            value_text, told_text = ("undefined" if x is None else f"{x:.6g}" for x in (value, told))
            wrong[name] = f"{value_text} by its tables, {told_text} in metrics.json"
    return Behind(given, wrong)


# ---------------------------------------------------------------- from the per-slide table


def _mean(column: str, absolute: bool = False, tumor_only: bool = False, percent: bool = False) -> Take:
    """Return the mean of a column over the slides, or over those labelled tumor; percent: as a share of 1."""

    def measure(slides: pd.DataFrame) -> Measure:
        values = floats(slides, column)
        values = np.abs(values) if absolute else values / 100 if percent else values
        values = np.where(is_tumor(slides), values, np.nan) if tumor_only else values
        return Measure(np.isfinite(values), mean_of(values))

    return measure


def _called(label: str) -> Take:
    """Return the share of the slides of a label that the rule calls so."""

    def measure(slides: pd.DataFrame) -> Measure:
        answer, own = floats(slides, "tumor_rule"), (slides["slide_label"] == label).fillna(False)
        right = np.where(own.to_numpy(dtype=bool) & np.isfinite(answer), answer == float(label == "tumor"), np.nan)
        return Measure(np.isfinite(right), mean_of(right))

    return measure


def _slide_auc(slides: pd.DataFrame) -> Measure:
    score, tumor = floats(slides, "slide_score"), is_tumor(slides)
    labelled = np.isfinite(score) & slides["slide_label"].isin(["normal", "tumor"]).to_numpy(dtype=bool)

    def over(rows: np.ndarray) -> float | None:
        kept = rows[labelled[rows]]
        return auc(score[kept], tumor[kept])

    return Measure(labelled, over)


def _dice_pooled(slides: pd.DataFrame) -> Measure:
    counts = slides[["intersection_px", "pred_px", "true_px"]].to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(counts).all(axis=1)
    pixels = np.where(known[:, None], counts, 0).astype(np.int64)
    return Measure(known, lambda rows: dice(Overlap(*pixels[rows].sum(axis=0).tolist())))


def _grades(target: str, column: str, agree: Agree) -> Take:
    """Return a figure of the true grades and those of a column, over the slides that have both."""

    def measure(slides: pd.DataFrame) -> Measure:
        true, found = floats(slides, f"{target}_true"), floats(slides, column)
        known = np.isfinite(true) & np.isfinite(found)

        def over(rows: np.ndarray) -> float | None:
            kept = rows[known[rows]]
            return agree(true[kept].astype(np.int64), found[kept].astype(np.int64)) if kept.size else None

        return Measure(known, over, f"target {target}")

    return measure


def _same(true: np.ndarray, found: np.ndarray) -> float:
    return float((true == found).mean())


def _lesions_hit_share(slides: pd.DataFrame) -> Measure:
    hits, lesions = floats(slides, "lesions_hit"), floats(slides, "num_lesions")
    known = np.isfinite(hits) & np.isfinite(lesions)
    hits, lesions = np.where(known, hits, 0), np.where(known, lesions, 0)

    def over(rows: np.ndarray) -> float | None:
        total = lesions[rows].sum()
        return float(hits[rows].sum() / total) if total else None

    return Measure(known, over)


_MEASURES: dict[str, tuple[set[str], Take]] = {
    "within_slide_auc_mean": ({"within_slide_auc"}, _mean("within_slide_auc")),
    "slide_auc": ({"slide_score", "slide_label"}, _slide_auc),
    "dice_mean_tumor": ({"dice", "slide_label"}, _mean("dice", tumor_only=True)),
    "dice_mean": ({"dice"}, _mean("dice")),
    "dice_pooled": ({"intersection_px", "pred_px", "true_px"}, _dice_pooled),
    "iou_mean": ({"iou"}, _mean("iou")),
    "burden_mae": ({"burden_error"}, _mean("burden_error", absolute=True)),
    "burden_bias": ({"burden_error"}, _mean("burden_error")),
    "qwk": ({"isup_true", "isup_mil"}, _grades("isup", "isup_mil", quadratic_weighted_kappa)),
    "qwk.rule": ({"isup_true", "isup_mil", "isup_rule"}, _grades("isup", "isup_rule", quadratic_weighted_kappa)),
    "slide_sensitivity": ({"tumor_rule", "slide_label"}, _called("tumor")),
    "slide_specificity": ({"tumor_rule", "slide_label"}, _called("normal")),
    "false_area_share": ({"false_area_percent"}, _mean("false_area_percent", percent=True)),
    "false_area_mm2": ({"false_area_mm2"}, _mean("false_area_mm2")),
    "lesions_hit_share": ({"lesions_hit", "num_lesions"}, _lesions_hit_share),
    "per_slide.false_positives": ({"false_positives"}, _mean("false_positives")),
    "per_slide.pixel_accuracy": ({"pixel_accuracy"}, _mean("pixel_accuracy")),
}
"""The columns that each figure needs and how it is taken."""


# ---------------------------------------------------------------- from the tables behind it


def _of_tables(slides: pd.DataFrame, given: Tables, setup: MetricSetup) -> dict[str, Measure]:
    own = _of_confusions(slides, given, setup) if setup.segments else {"patch_auc": _patch_auc(slides, given)}
    kind, scores = _kind(setup), given.class_scores
    scored = slides["slide_id"].isin(scores.loc[scores["label"] >= 0, "slide_id"]).to_numpy(dtype=bool)
    for one in calibration_part(slides, given, setup).statistics:
        own[one.name] = Measure(scored, one.over, kind)
    if setup.grade == "tumor":
        own["grade_auc"] = _grade_auc(slides, given.grades)
    return own | _froc(slides, given) | _instances(slides, given, setup)


def _kind(setup: MetricSetup) -> str:
    return f"{setup.task} of {', '.join(setup.classes)}"


def _of_confusions(slides: pd.DataFrame, given: Tables, setup: MetricSetup) -> dict[str, Measure]:
    stack, known = confusions(slides["slide_id"].tolist(), given.quantities, "confusion", len(setup.classes))

    def over(figure: Callable[[np.ndarray], float | None]) -> OverRows:
        return lambda rows: figure(np.tensordot(np.bincount(rows, minlength=len(stack)), stack, axes=1))

    def of_class(index: int) -> Callable[[np.ndarray], float | None]:
        return lambda matrix: CLASS_FIGURES["class_dice"](matrix)[index]

    figures = SET_FIGURES | {f"class_dice.{name}": of_class(i) for i, name in enumerate(setup.classes)}
    return {name: Measure(known, over(figure), _kind(setup)) for name, figure in figures.items()}


def _patch_auc(slides: pd.DataFrame, given: Tables) -> Measure:
    table = given.patch_scores
    patches = table[table["slide_id"].isin(slides["slide_id"]) & table["label"].isin([NORMAL, TUMOR])]
    has = slides["slide_id"].isin(patches["slide_id"]).to_numpy(dtype=bool)
    return Measure(has, pairwise_auc(slides["slide_id"], patches).over)


def _grade_auc(slides: pd.DataFrame, grades: pd.DataFrame) -> Measure:
    chosen = grades[grades["true"].notna()].set_index("slide_id")
    prob = np.array([one[1] for one in chosen["mil_probs"]], dtype=np.float64)
    place = pd.Index(chosen.index.astype("object")).get_indexer(slides["slide_id"].astype("object"))
    true = chosen["true"].to_numpy(dtype=np.int64)

    def over(rows: np.ndarray) -> float | None:
        at = place[rows]
        return auc(prob[at[at >= 0]], true[at[at >= 0]])

    return Measure(place >= 0, over, "target tumor")


def _froc(slides: pd.DataFrame, given: Tables) -> dict[str, Measure]:
    found = lesion_outcomes(slides, given)
    stack = [found.get(str(name)) for name in slides["slide_id"]]

    def over(rows: np.ndarray) -> float | None:
        drawn = curve([one for one in (stack[row] for row in rows) if one is not None])
        return drawn.score if drawn else None

    known = np.array([one is not None for one in stack], dtype=bool)
    return {"froc": Measure(known, over)} if found else {}


def _instances(slides: pd.DataFrame, given: Tables, setup: MetricSetup) -> dict[str, Measure]:
    by_id = dict(zip(given.quantities["slide_id"], given.quantities["pq_counts"], strict=True))
    known = np.array([by_id.get(name) is not None for name in slides["slide_id"]], dtype=bool)
    place = np.cumsum(known) - 1  # of a slide among the known ones, which are the part's rows

    def over_all(over: OverRows) -> OverRows:
        return lambda rows: over(place[rows[known[rows]]])

    statistics = instance_part(slides, given.quantities, setup.classes).statistics
    return {one.name: Measure(known, over_all(one.over), _kind(setup)) for one in statistics}
