"""The numbers of a recipe: every metric of the registry on the test split, with its interval."""

import pandas as pd

from acinus.metrics.choices import choice_values, extraction_values
from acinus.metrics.metric import Case, Measure, Metric, Metrics, groups, usable_slides
from acinus.metrics.registry import METRICS, measures
from acinus.metrics.setup import SLIDES, MetricSetup, Tables
from acinus.scoring.bootstrap import Interval, interval


def recipe_metrics(per_slide: pd.DataFrame, tables: Tables, setup: MetricSetup, bootstrap: int, seed: int) -> Metrics:
    """Return the numbers of a recipe on its test slides, by the names of the glossary.

    `per_slide` is `per_slide.per_slide` of the same `tables` and `setup`; only test slides with status ok count,
    patches of unknown label (-1) do not. Means run over the slides where the metric is defined (the `n_*` beside
    them). Beside the registry's metrics stand those of `choice_values` (of the validation split, for the most part)
    and of `extraction_values` (of all splits). `<name>.baseline_majority` and `<name>.baseline_colour` are what the
    baselines reach on the same slides.

    `<name>_ci_low` and `<name>_ci_high` are the 95 % percentile interval of `bootstrap` resamples of
    whole patients (the same resamples for every metric of the same slides), never of patches; None
    with fewer than two patients. Resamples in which a metric is undefined are left out;
    n_resamples_undefined is the largest such count of a metric that has a value.
    """
    n_test = int((per_slide["split"] == "test").fillna(False).sum())
    case = Case(usable_slides(per_slide), setup, tables, n_test)
    most_undefined = 0
    values: Metrics = {} if setup.task == SLIDES else {"tumor_rule_burden_percent": setup.burden_percent}
    values |= choice_values(tables, setup) | extraction_values(tables.extraction)
    for metric, name, measure in measures(case):
        if metric.reported:
            values = _values(metric, name, measure, case) | values
        if metric.reported and metric.interval:
            ends = _interval(measure, case, bootstrap, seed)
            values |= {f"{name}_ci_low": ends.low, f"{name}_ci_high": ends.high}
            if values[name] is not None:
                most_undefined = max(most_undefined, ends.n_undefined)
    return values | {"n_resamples_undefined": most_undefined}


def _values(metric: Metric, name: str, measure: Measure, case: Case) -> Metrics:
    """Return the value of a metric, what stands beside it, its groups, and over how many it is."""
    rows = measure.resampled
    values: Metrics = {name: measure.value(rows)}
    if metric.counts and metric.counts not in METRICS:
        values[metric.counts] = int(measure.defined.sum()) if measure.n is None else measure.n
    beside = measure.beside() if measure.beside else {}
    values |= {f"{name}.{suffix}": value for suffix, value in beside.items()}
    for group, places in groups(case.slides[measure.by].iloc[rows]) if measure.by else ():
        while f"{name}.{group}" in METRICS or f"{name}.{group}" in values:  # a provider called rule
            group += "_"
        values[f"{name}.{group}"] = measure.value(rows[places])
        values[f"{metric.counts}.{group}"] = int(measure.defined[rows[places]].sum())
    return values


def _interval(measure: Measure, case: Case, bootstrap: int, seed: int) -> Interval:
    rows = measure.resampled
    patients = case.slides["patient"].iloc[rows].tolist()
    return interval(patients, lambda drawn: measure.over(rows[drawn]), bootstrap, seed)
