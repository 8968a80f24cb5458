"""What a training is made of, and what must hold before it starts."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from acinus import params
from acinus.errors import AcinusError
from acinus.learning.dataset import PatchDataset
from acinus.learning.device import Machine
from acinus.learning.history import EpochRecord
from acinus.learning.inputs import InputSpec
from acinus.learning.losses import check_present
from acinus.params.recipe import Task
from acinus.params.results import Measure

OnEpoch = Callable[[int, dict[str, float]], None]
"""(epoch from 1, {train_loss, train_acc, val_loss, val_acc, lr, val_dice or val_auc}), and val_<measure> where a job
has one; what is undefined is left out."""

OnWait = Callable[[int, float], None]
"""(epoch from 1, the share of its training steps' time that was spent waiting for data, 0 to 1)."""

OnProgress = Callable[[str], None]
"""A line for a person, from within an epoch."""

Prune = Callable[[int, float], bool]
"""(epoch from 1, the epoch's measure) -> whether the training is given up after it."""


@dataclass(frozen=True)
class FitJob:
    """A training: what, on what, how, where.

    `checkpoints` is a folder of its own, `key` a hash of everything that the result depends on: an
    interrupted training with the same key goes on, another key starts afresh. `log` is the CSV.
    `on_epoch` hears of every epoch in order, after a resume of the earlier ones again.
    The data sets of task `segmentation` have masks, and the model answers (n, classes, px, px) logits.
    `measure` is taken on the validation patches after every epoch; `prune` is asked with it, after
    `on_epoch`, and after a resume asked again of the earlier epochs.
    `on_wait` hears how long the steps waited for data by `clock` (seconds, the host's): after a resume not of
    the earlier epochs, since it is no result but a figure of the machine. `on_progress` hears of a long epoch every
    PROGRESS_S seconds, and of the figures that train.val_every_steps asks for.
    `val` None: nothing is validated, and the last epoch's weights stay. `stop` is asked after every step: once it says
    yes the training ends with the epochs that are finished, or after its first one where none is (that epoch then ends
    with this step).
    """

    model: nn.Module
    settings: params.Train
    classes: tuple[str, ...]
    train: PatchDataset
    val: PatchDataset | None
    inputs: InputSpec
    seed: int
    checkpoints: Path
    key: str
    log: Path
    machine: Machine
    on_epoch: OnEpoch = lambda epoch, metrics: None
    task: Task = "patch_classification"
    measure: Measure | None = None
    prune: Prune | None = None
    on_wait: OnWait = lambda epoch, share: None
    clock: Callable[[], float] = time.perf_counter
    on_progress: OnProgress = lambda text: None
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class FitResult:
    """How a training went; `best_epoch` is the one whose weights the job's model now has.

    data_wait_share: mean over the epochs that were trained now of `FitJob.on_wait`, None without any; a timing,
    so no part of what makes two results equal. stopped: ended by `FitJob.stop` before its own end.
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int
    stopped_early: bool
    pruned: bool = False
    stopped: bool = False
    data_wait_share: float | None = field(default=None, compare=False)


def class_counts(job: FitJob) -> list[int]:
    """Return how much of each class is trained on; refuse splits that cannot be learned from.

    Patches, or known pixels. Pixels are counted only where balanced weights need them: otherwise the
    answer is 0 for every class.

    Raises:
        AcinusError: an empty split, a class without patches or (for balanced weights) without pixels, or
            data sets of another task.
    """
    if job.val is not None and len(job.val) == 0:
        raise AcinusError("validation split: no patches; give it slides (cohort.val_fraction or splits.csv)")
    if len(job.train) < 2:
        raise AcinusError(f"training split: {len(job.train)} patches; give it slides, or raise the sample's caps")
    wanted = job.task == "segmentation"
    masked = [data.masked for data in (job.train, job.val) if data is not None]
    if set(masked) != {wanted}:
        found = "with" if all(masked) else "without"
        raise AcinusError(f"task {job.task}: data sets {found} masks found; run the extract stage again")
    if job.task == "patch_classification":
        if job.val is not None:
            job.val.counts(len(job.classes))
        counts = job.train.counts(len(job.classes))
        check_present(counts, job.classes, "patches")
        return counts
    if job.settings.loss.class_weights != "balanced":
        return [0] * len(job.classes)
    counts = job.train.pixel_counts(len(job.classes))
    check_present(counts, job.classes, "pixels")
    return counts
