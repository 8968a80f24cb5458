"""How exactly the tumour burden of slides is told."""

from collections.abc import Callable

import numpy as np

from acinus.metrics.metric import ONLY_TOLD, Case, Measure, Metric, mean
from acinus.scoring.burden import bland_altman


def _limit(end: str) -> Callable[[Case], Measure]:
    """Return how an end (low or high) of the limits of agreement is taken."""

    def take(case: Case) -> Measure:
        predicted, true = case.floats("burden_pred"), case.floats("burden_true")

        def over(rows: np.ndarray) -> float | None:
            limits = bland_altman(predicted[rows], true[rows])
            return None if limits is None else limits.low if end == "low" else limits.high

        return Measure(np.isfinite(case.floats("burden_error")), over, among=case.scored)

    return take


METRICS = (
    Metric(
        "burden_mae",
        "Burden error",
        "mean absolute error of tumour burden, percentage points of tissue",
        lambda case: mean(np.abs(case.floats("burden_error")), case.scored),
        unit="points",
        better="lower",
        counts="n_burden",
        columns=("burden_error",),
        shown=("card", "summary"),
        tolerance=2.0,
        many={"about": "mean absolute error of the positive classes' share of tissue, percentage points"},
    ),
    Metric(
        "burden_bias",
        "Burden bias",
        "mean of predicted minus annotated burden, percentage points of tissue",
        lambda case: mean(case.floats("burden_error"), case.scored),
        unit="points",
        better="near zero",
        counts="n_burden",
        columns=("burden_error",),
        many={"about": "mean of predicted minus annotated share of the positive classes, percentage points of tissue"},
    ),
    *(
        Metric(
            f"burden_loa_{end}",
            f"Limits of agreement, {end}",
            f"bias of the burden {sign} 1.96 standard deviations of its error: 95 % of slides lie between the limits",
            _limit(end),
            unit="points",
            better="near zero",
            counts="n_burden",
            columns=("burden_pred", "burden_true", "burden_error"),
            **ONLY_TOLD,
        )
        for end, sign in (("low", "minus"), ("high", "plus"))
    ),
)
