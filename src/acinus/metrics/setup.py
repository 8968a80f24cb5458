"""What a report has to know of its recipe to reduce the tables to metrics, and those tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from acinus import records
from acinus.errors import AcinusError
from acinus.records import LOG_COLUMNS, Table
from acinus.scoring.scaling import Scaling

PATCHES, SEGMENTATION, SLIDES = "patch_classification", "segmentation", "slide_labels"
"""The tasks."""


@dataclass(frozen=True)
class MetricSetup:
    """The recipe's task, its classes (0 = background or normal) and what its slides are scored and graded by."""

    task: str
    classes: tuple[str, ...]
    slide_score: str = "p99"  # names the column score_<name> of records.QUANTITIES
    positive: tuple[str, ...] = ()  # classes that count as tumour or foreground; none named: every class but the first
    grade: str = "none"  # what slides are graded by: none | isup | tumor
    burden_percent: float = 0.5  # the rule calls a slide tumour from this predicted burden (percent of tissue) on

    @property
    def segments(self) -> bool:
        """Whether every pixel gets a class of its own, so that there are confusions to score."""
        return self.task == SEGMENTATION

    @property
    def graded(self) -> bool:
        """Whether slides are given grades."""
        return self.grade != "none"

    @property
    def grades(self) -> int:
        """How many grades there are: ISUP 0 to 5, or normal and tumour."""
        return 6 if self.grade == "isup" else 2

    @property
    def positive_indices(self) -> list[int]:
        """Return the indices of the positive classes."""
        return [self.classes.index(name) for name in self.positive or self.classes[1:]]

    def offsets(self, bias: Sequence[float]) -> dict[str, float]:
        """Return class -> its offset of an operating point; none where there is no bias.

        Raises:
            AcinusError: offsets that are not one per class.
        """
        if bias and len(bias) != len(self.classes):
            raise AcinusError(
                f"operating point: {len(bias)} offsets (bias), expected {len(self.classes)}, one per class; run the "
                "calibrate stage again"
            )
        return dict(zip(self.classes, bias, strict=False))


def _empty(table: Table) -> Callable[[], pd.DataFrame]:
    return lambda: records.frame(table, [])


@dataclass(frozen=True)
class Tables:
    """All that a report is reduced from: tables of records.py, and what search and calibration left behind.

    A recipe without grades, lesions, search or calibration leaves the later ones empty.
    """

    manifest: pd.DataFrame
    quantities: pd.DataFrame
    patch_scores: pd.DataFrame  # records.SCORES
    regions: pd.DataFrame = field(default_factory=_empty(records.REGIONS))
    class_scores: pd.DataFrame = field(default_factory=_empty(records.CLASS_SCORES))  # of the test split
    colour_scores: pd.DataFrame = field(default_factory=_empty(records.CLASS_SCORES))  # of the colour-only baseline
    grades: pd.DataFrame = field(default_factory=_empty(records.GRADES))
    predictions: pd.DataFrame = field(default_factory=_empty(records.PREDICTIONS))
    log: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(LOG_COLUMNS), dtype="float64"))
    tuning: Mapping[str, Any] = field(default_factory=dict)  # tune/best.yaml: trials and the settings chosen
    comparison: Mapping[str, Any] = field(default_factory=dict)  # tune/comparison.json: tuned against untuned
    point: Mapping[str, Any] = field(default_factory=dict)  # the operating point: temperature, bias, threshold, source
    calibration: Mapping[str, Any] = field(default_factory=dict)  # calibration.json: curves of the validation split
    extraction: Mapping[str, Any] = field(default_factory=dict)  # extraction.json: which way the patches took

    @property
    def scaling(self) -> Scaling:
        """What is done to the network's logits."""
        return Scaling(float(self.point.get("temperature", 1.0)), tuple(self.point.get("bias", ())))
