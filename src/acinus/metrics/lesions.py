"""How many lesions are found at how many false positives (FROC)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from acinus.errors import TableError
from acinus.metrics.metric import Case, Measure, Metric, count, mean
from acinus.metrics.setup import Tables
from acinus.scoring.froc import Detection, Froc, Outcome, curve, outcomes


def lesion_outcomes(scored: pd.DataFrame, tables: Tables) -> dict[str, Outcome]:
    """Return what came of the regions on each scored slide whose lesions are known (num_lesions), by slide_id.

    Every region is one detection, of its highest probability. Slides without any stay in.

    Raises:
        TableError: a region of such a slide that was not held against its lesions, or more lesions hit than it has.
    """
    amounts = tables.quantities[tables.quantities["slide_id"].isin(scored["slide_id"])].dropna(subset="num_lesions")
    lesions = {str(name): int(n) for name, n in zip(amounts["slide_id"], amounts["num_lesions"], strict=True)}
    regions = tables.regions[tables.regions["slide_id"].isin(list(lesions))]
    missing = regions[regions["lesion"].isna()]
    if len(missing):
        raise TableError(
            f"table regions: region {missing['region'].iloc[0]} of {missing['slide_id'].iloc[0]} has no lesion, "
            "expected a number on a slide whose lesions are known; run quantify again"
        )
    columns = (regions["slide_id"], regions["prob_max"], regions["lesion"])
    detections = [Detection(str(name), float(prob), int(lesion)) for name, prob, lesion in zip(*columns, strict=True)]
    try:
        return outcomes(detections, lesions)
    except ValueError as error:
        raise TableError(f"table regions: {error}; run quantify again") from error


def lesion_curve(scored: pd.DataFrame, tables: Tables) -> Froc | None:
    """Return the curve over the scored slides; None without a lesion to be found."""
    return curve(list(lesion_outcomes(scored, tables).values()))


def _case_outcomes(case: Case) -> dict[str, Outcome]:
    return lesion_outcomes(case.slides[case.scored], case.behind)


def _froc(case: Case) -> Measure | None:
    """Return the score over the slides whose lesions are known; none where there are no such slides."""
    by_id = case.once(_case_outcomes)
    ids = case.slides["slide_id"].tolist()
    known = np.array([slide_id in by_id for slide_id in ids], dtype=bool)

    def over(rows: np.ndarray) -> float | None:
        drawn = curve([by_id[ids[row]] for row in rows if known[row]])
        return drawn.score if drawn else None

    return Measure(known, over, among=known, n=_targets(case)) if by_id else None


def _targets(case: Case) -> int:
    """Return how many lesions there are to be found on the slides whose lesions are known."""
    return sum(outcome.targets for outcome in case.once(_case_outcomes).values())


def _hit_share(case: Case) -> Measure:
    """Return the lesions hit of all lesions."""
    hits, lesions = case.floats("lesions_hit"), case.floats("num_lesions")
    known = np.isfinite(hits) & np.isfinite(lesions)
    hits, lesions = np.where(known, hits, 0), np.where(known, lesions, 0)

    def over(rows: np.ndarray) -> float | None:
        whole = lesions[rows].sum()
        return float(hits[rows].sum() / whole) if whole else None

    return Measure(known, over)


def _count(name: str, label: str, about: str, number: Callable[[Case], int]) -> Metric:
    """Return a count of the slides whose lesions are known, where there are any."""

    def take(case: Case) -> Measure | None:
        known = case.slides["slide_id"].isin(list(case.once(_case_outcomes))).to_numpy(dtype=bool)
        return Measure(known, lambda rows: number(case)) if known.any() else None

    metric = count(name, about, number, counts="n_froc", tables=("quantities", "regions"), shown=("lesions",))
    return replace(metric, label=label, take=take)


def _small(case: Case) -> int:
    """Return the isolated tumour cells of the slides whose lesions are known."""
    amounts = case.behind.quantities
    return int(amounts.loc[amounts["slide_id"].isin(list(case.once(_case_outcomes))), "num_itc"].fillna(0).sum())


METRICS = (
    Metric(
        "froc",
        "Lesion FROC",
        "mean share of lesions found at 1/4, 1/2, 1, 2, 4 and 8 false positives per slide; lesions less than 75 µm "
        "apart are one, isolated tumour cells count neither way",
        _froc,
        averaged="pooled",
        counts="n_lesions",
        things="lesions",
        tables=("quantities", "regions"),
        shown=("card", "summary", "lesions"),
        tolerance=0.2,
    ),
    _count(
        "n_lesions",
        "Lesions",
        "lesions to be found on the slides whose lesions are known",
        _targets,
    ),
    _count(
        "n_itc",
        "Isolated tumour cells",
        "groups of cells too small to be lesions: neither hits nor false positives",
        _small,
    ),
)

COMPARED = (
    Metric(
        "lesions_hit_share",
        "Lesions hit",
        "share of the lesions hit by a region at the operating point; froc is over all thresholds",
        _hit_share,
        averaged="pooled",
        columns=("lesions_hit", "num_lesions"),
        reported=False,
        shown=(),
    ),
    Metric(
        "per_slide.false_positives",
        "False positives per slide",
        "mean number of regions outside every lesion, at the operating point",
        lambda case: mean(case.floats("false_positives")),
        unit="number",
        better="lower",
        columns=("false_positives",),
        reported=False,
        shown=(),
    ),
)
