"""What each epoch gave, what follows from it (the best epoch, when to stop, the log), and its checkpoint.

Checkpoints are whole or absent, bound to what is trained by a key, loaded without pickle. A folder holds `key`,
`last.ckpt` (the newest epoch), `best.ckpt` (the one whose weights are kept, as train.keep says) and `epoch_NNNN.ckpt`
every so often. All have the same content, so each can be continued.
"""

import math
import pickle
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch

from acinus.errors import AcinusError, WriteError
from acinus.files import atomic_path, write_text
from acinus.records import LOG_COLUMNS

LAST, BEST = "last.ckpt", "best.ckpt"

LAST_IS_KEPT = ("last", "ema")
"""Of train.keep: what keeps the weights of the last epoch, whatever its metrics."""


@dataclass(frozen=True)
class EpochRecord:
    """Loss and accuracy of one epoch (counted from 1), and the learning rate of its last step.

    Accuracy is the share of right patches, or of right known pixels. val_loss and val_acc are None where nothing is
    validated on. `val_measure` is what FitJob.measure asked for beside it, None where it asked for nothing;
    `val_metric` the task's own metric (measures.METRICS), None where it is undefined.
    """

    epoch: int
    train_loss: float
    train_acc: float
    val_loss: float | None
    val_acc: float | None
    lr: float
    val_measure: float | None = None
    val_metric: float | None = None


def best_epoch(history: Sequence[EpochRecord], keep: str = "val_loss") -> int:
    """Return the epoch whose weights are kept: of the best value, the first of equals, or the last; 0 without any.

    keep: as train.keep. `last` and `ema` keep the last epoch's.
    """
    if not history:
        return 0
    if keep in LAST_IS_KEPT:
        return history[-1].epoch

    def badness(record: EpochRecord) -> float:
        if keep == "val_metric":
            return math.inf if record.val_metric is None else -record.val_metric
        return math.inf if record.val_loss is None else record.val_loss

    return min(history, key=lambda record: (badness(record), record.epoch)).epoch


def stops_early(history: Sequence[EpochRecord], patience: int | None, keep: str = "val_loss") -> bool:
    """Return whether the last `patience` epochs brought no better value (0 is read as 1, None as never).

    The value is that of the metric where that is what is kept by, else the validation loss.
    """
    if patience is None:
        return False
    value = "val_metric" if keep == "val_metric" else "val_loss"
    return bool(history) and history[-1].epoch - best_epoch(history, value) >= max(1, patience)


def to_csv(history: Sequence[EpochRecord], metric: str) -> str:
    """Return the log: `epoch,train_loss,train_acc,val_loss,val_acc,<metric>`, a line per epoch, undefined empty."""
    fields = (*LOG_COLUMNS, "val_metric")
    values = [[getattr(record, field) for field in fields] for record in history]
    lines = [",".join("" if value is None else f"{value:.9g}" for value in row) for row in values]
    return "\n".join([",".join((*LOG_COLUMNS, metric)), *lines]) + "\n"


@dataclass(frozen=True)
class Snapshot:
    """A training after a whole epoch: state dicts of its parts, and the records of all epochs so far.

    average: of the weights' moving average, empty where there is none.
    """

    model: dict[str, Any]
    optimizer: dict[str, Any]
    plateau: dict[str, Any]
    precision: dict[str, Any]
    history: tuple[EpochRecord, ...]
    average: dict[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> dict[str, Any]:
        """The weights that become the model if this epoch is the one that is kept."""
        return self.average["average"] if self.average else self.model

    @property
    def epoch(self) -> int:
        """The epoch after which this was taken, counted from 1."""
        return self.history[-1].epoch


def save(folder: Path, snapshot: Snapshot, every: int, keep: str = "val_loss") -> None:
    """Write the snapshot as last, as best if it is (`best_epoch`), and under its epoch if `every` divides that.

    Last is written first: if the process dies before best follows, `restore` can still write it.
    """
    _write(folder / LAST, snapshot)
    if best_epoch(snapshot.history, keep) == snapshot.epoch:
        _write(folder / BEST, snapshot)
    if snapshot.epoch % every == 0:
        _write(folder / f"epoch_{snapshot.epoch:04d}.ckpt", snapshot)


def restore(folder: Path, key: str, keep: str = "val_loss") -> Snapshot | None:
    """Return the newest snapshot of the training `key`, or nothing, with the folder made ready for it.

    Checkpoints of another key, or without their best epoch, are removed: they cannot be continued.

    Raises:
        AcinusError: a checkpoint is damaged.
    """
    for left in folder.glob(".*.part"):  # of a checkpoint that a kill cut short
        shutil.rmtree(left, ignore_errors=True)
    stamp = folder / "key"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == key and (folder / LAST).is_file():
        last = load(folder / LAST)
        best = best_epoch(last.history, keep)
        if last.epoch == best:
            _write(folder / BEST, last)
        if (folder / BEST).is_file() and load(folder / BEST).epoch == best:
            return last
    for stale in sorted(folder.glob("*.ckpt")):
        stale.unlink()
    write_text(stamp, key)
    return None


def load(path: Path) -> Snapshot:
    """Return a checkpoint's snapshot; only tensors and plain values count. AcinusError: damaged, or something else."""
    try:
        if not zipfile.is_zipfile(path):  # as torch.save writes it; the directory is at the end, so this is a whole one
            raise RuntimeError("cut off or of another kind")
        state = torch.load(path, map_location="cpu", weights_only=True)
        history = tuple(EpochRecord(*row) for row in state.pop("history"))
        return Snapshot(**state, history=history)
    except (RuntimeError, pickle.UnpicklingError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise AcinusError(
            f"{path}: not a whole checkpoint ({reason}); delete {path.parent} to train from the start"
        ) from error


def _write(path: Path, snapshot: Snapshot) -> None:
    state = {name: getattr(snapshot, name) for name in ("model", "optimizer", "plateau", "precision", "average")}
    history = [list(astuple(record)) for record in snapshot.history]
    with atomic_path(path) as part:
        try:
            torch.save({**state, "history": history}, part)
        except RuntimeError as error:  # torch's own writer: a full disk is no OSError to it
            raise WriteError(f"{path}: cannot be written ({' '.join(str(error).split())[:80]}); free space") from error
