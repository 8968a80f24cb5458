"""Checkpoints of a training: whole or absent, bound to what is trained by a key, loaded without pickle.

A folder holds `key`, `last.ckpt` (the newest epoch), `best.ckpt` (the one whose weights are kept, as train.keep
says) and `epoch_NNNN.ckpt` every so often. All have the same content, so each can be continued.
"""

import pickle
import shutil
import zipfile
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch

from acinus.errors import AcinusError, WriteError
from acinus.files import atomic_path, write_text
from acinus.learning.history import EpochRecord, best_epoch

LAST, BEST = "last.ckpt", "best.ckpt"


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
    """Write the snapshot as last, as best if it is (history.best_epoch), and under its epoch if `every` divides that.

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
    """Return the snapshot of a checkpoint file; only tensors and plain values are accepted.

    Raises:
        AcinusError: the file is damaged or holds something else.
    """
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
