"""What each epoch gave, and what follows from it: the best epoch, when to stop, the log."""

from collections.abc import Sequence
from dataclasses import dataclass

LOG_COLUMNS = ("epoch", "train_loss", "train_acc", "val_loss", "val_acc")


@dataclass(frozen=True)
class EpochRecord:
    """Loss and accuracy of one epoch (counted from 1), and the learning rate of its last step.

    Accuracy is the share of right patches, or of right known pixels. `val_measure` is what FitJob.measure
    asked for beside it, None where it asked for nothing.
    """

    epoch: int
    train_loss: float
    train_acc: float
    val_loss: float
    val_acc: float
    lr: float
    val_measure: float | None = None


def best_epoch(history: Sequence[EpochRecord]) -> int:
    """Return the epoch of lowest validation loss, the first one of equals; 0 without any."""
    return min(history, key=lambda record: (record.val_loss, record.epoch)).epoch if history else 0


def stops_early(history: Sequence[EpochRecord], patience: int | None) -> bool:
    """Return whether the last `patience` epochs brought no lower validation loss (0 is read as 1, None as never)."""
    if patience is None:
        return False
    return bool(history) and history[-1].epoch - best_epoch(history) >= max(1, patience)


def to_csv(history: Sequence[EpochRecord]) -> str:
    """Return the log: `epoch,train_loss,train_acc,val_loss,val_acc` and a line per epoch."""
    lines = [",".join(f"{getattr(record, column):.9g}" for column in LOG_COLUMNS) for record in history]
    return "\n".join([",".join(LOG_COLUMNS), *lines]) + "\n"
