"""What each epoch gave, and what follows from it: the best epoch, when to stop, the log."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from acinus.records import LOG_COLUMNS

LAST_IS_KEPT = ("last", "ema")
"""Of train.keep: what keeps the weights of the last epoch, whatever its figures."""


@dataclass(frozen=True)
class EpochRecord:
    """Loss and accuracy of one epoch (counted from 1), and the learning rate of its last step.

    Accuracy is the share of right patches, or of right known pixels. val_loss and val_acc are None where nothing is
    validated on. `val_measure` is what FitJob.measure asked for beside it, None where it asked for nothing;
    `val_metric` the task's own figure (measures.METRICS), None where it is undefined.
    """

    epoch: int
    train_loss: float
    train_acc: float
    val_loss: float | None
    val_acc: float | None
    lr: float
    val_measure: float | None = None
    val_metric: float | None = None


def _merit(record: EpochRecord, keep: str) -> float:
    """Return how good an epoch is, the higher the better: its metric, or minus its validation loss."""
    if keep == "val_metric":
        return -math.inf if record.val_metric is None else record.val_metric
    return -math.inf if record.val_loss is None else -record.val_loss


def best_epoch(history: Sequence[EpochRecord], keep: str = "val_loss") -> int:
    """Return the epoch whose weights are kept: of the best figure, the first of equals, or the last; 0 without any.

    keep: as train.keep. `last` and `ema` keep the last epoch's.
    """
    if not history:
        return 0
    if keep in LAST_IS_KEPT:
        return history[-1].epoch
    return min(history, key=lambda record: (-_merit(record, keep), record.epoch)).epoch


def stops_early(history: Sequence[EpochRecord], patience: int | None, keep: str = "val_loss") -> bool:
    """Return whether the last `patience` epochs brought no better figure (0 is read as 1, None as never).

    The figure is the metric where that is what is kept by, else the validation loss.
    """
    if patience is None:
        return False
    figure = "val_metric" if keep == "val_metric" else "val_loss"
    return bool(history) and history[-1].epoch - best_epoch(history, figure) >= max(1, patience)


def to_csv(history: Sequence[EpochRecord], metric: str) -> str:
    """Return the log: `epoch,train_loss,train_acc,val_loss,val_acc,<metric>`, a line per epoch, undefined empty."""
    fields = (*LOG_COLUMNS, "val_metric")
    values = [[getattr(record, field) for field in fields] for record in history]
    lines = [",".join("" if value is None else f"{value:.9g}" for value in row) for row in values]
    return "\n".join([",".join((*LOG_COLUMNS, metric)), *lines]) + "\n"
