"""What a report has to know of its recipe to reduce the tables to figures."""

from dataclasses import dataclass

PATCHES, SEGMENTATION = "patch_classification", "segmentation"
"""The tasks."""


@dataclass(frozen=True)
class MetricSetup:
    """The recipe's task, its classes (0 = background or normal) and the reduction of a map to a slide score."""

    task: str
    classes: tuple[str, ...]
    slide_score: str = "p99"  # names the column score_<name> of records.QUANTITIES

    @property
    def segments(self) -> bool:
        """Whether every pixel gets a class of its own, so that there are confusions to score."""
        return self.task == SEGMENTATION
