"""Train a patch classifier: the one place where Lightning's Trainer runs.

Lightning drives the batches, the device and the precision. What must survive a kill bit by bit
(order, random numbers, learning rate, best epoch, when to stop) is kept here and in `checkpoints`:
every epoch begins from (seed, epoch) alone, and a resumed training is a new run over what is left.
"""

import contextlib
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from acinus import params
from acinus.errors import AcinusError
from acinus.files import write_text
from acinus.learning import checkpoints, torchvision_hook
from acinus.learning.checkpoints import Snapshot
from acinus.learning.dataset import PatchDataset, ShuffledTickets, plain_tickets
from acinus.learning.device import Machine, pick, place, reproducible
from acinus.learning.history import EpochRecord, best_epoch, stops_early, to_csv
from acinus.learning.inputs import InputSpec, to_input
from acinus.learning.losses import class_weights, training_loss, validation_loss
from acinus.seeds import derive

OnEpoch = Callable[[int, dict[str, float]], None]
"""(epoch from 1, {train_loss, train_acc, val_loss, val_acc, lr})."""


@dataclass(frozen=True)
class FitJob:
    """A training: what, on what, how, where.

    `checkpoints` is a folder of its own, `key` a hash of everything that the result depends on: an
    interrupted training with the same key goes on, another key starts afresh. `log` is the CSV.
    `on_epoch` hears of every epoch in order, after a resume of the earlier ones again.
    """

    model: nn.Module
    settings: params.Train
    classes: tuple[str, ...]
    train: PatchDataset
    val: PatchDataset
    inputs: InputSpec
    seed: int
    checkpoints: Path
    key: str
    log: Path
    machine: Machine
    on_epoch: OnEpoch = lambda epoch, metrics: None


@dataclass(frozen=True)
class FitResult:
    """How a training went; `best_epoch` is the one whose weights the job's model now has."""

    history: tuple[EpochRecord, ...]
    best_epoch: int
    stopped_early: bool


def fit(job: FitJob) -> FitResult:
    """Train `job.model` and leave it on the CPU, in evaluation mode, with the weights of the best epoch.

    Bit-identical for the same job, device, build and thread count, whether or not it was killed and
    started again in between.

    Raises:
        AcinusError: a class or a split without patches, no such device, a damaged checkpoint, or a loss
            that is no longer a number.
    """
    counts = _check(job)
    device = pick(job.machine.device)
    with reproducible(device, job.machine.threads):
        course = _Course(job, class_weights(counts, job.classes), checkpoints.restore(job.checkpoints, job.key))
        if not course.finished:
            with _quiet():
                _run(course, device)
    job.model.cpu().load_state_dict(checkpoints.load(job.checkpoints / checkpoints.BEST).model)
    job.model.eval()
    write_text(job.log, to_csv(course.history))
    history = tuple(course.history)
    return FitResult(history, best_epoch(history), stops_early(history, job.settings.stop_patience))


def _check(job: FitJob) -> list[int]:
    """Return the training patches per class; refuse a split that cannot be learned from."""
    if len(job.val) == 0:
        raise AcinusError("validation split: no patches; give it slides (cohort.val_fraction or splits.csv)")
    if len(job.train) < 2:
        raise AcinusError(f"training split: {len(job.train)} patches; give it slides, or raise the sample's caps")
    job.val.counts(len(job.classes))
    return job.train.counts(len(job.classes))


@dataclass
class _Tally:
    """Running sums of one split in one epoch; they stay on the device until they are asked for."""

    samples: int = 0
    losses: list[Tensor] = field(default_factory=list)
    hits: list[Tensor] = field(default_factory=list)

    def add(self, loss: Tensor, hits: Tensor, samples: int) -> None:
        self.samples += samples
        self.losses.append(loss.detach().float() * samples)
        self.hits.append(hits)

    def close(self) -> tuple[float, float]:
        """Return mean loss and accuracy, and start over."""
        loss = float(torch.stack(self.losses).cpu().double().sum()) / self.samples
        accuracy = int(torch.stack(self.hits).cpu().sum()) / self.samples
        self.samples, self.losses, self.hits = 0, [], []
        return loss, accuracy


class _Course:
    """The state of a training between two epochs, and the steps that change it."""

    def __init__(self, job: FitJob, weights: tuple[float, ...], start: Snapshot | None) -> None:
        self.job, self._start = job, start
        self.history = list(start.history) if start else []
        self.first_epoch = len(self.history)
        self._losses = {
            "train": training_loss(job.settings.loss, weights),
            "val": validation_loss(job.settings.loss, weights),
        }
        self._tally = {"train": _Tally(), "val": _Tally()}
        if start:
            job.model.load_state_dict(start.model)
        for record in self.history:
            job.on_epoch(record.epoch, _metrics(record))

    @property
    def finished(self) -> bool:
        settings = self.job.settings
        return len(self.history) >= settings.max_epochs or stops_early(self.history, settings.stop_patience)

    def optimizer(self, precision: Any) -> torch.optim.Optimizer:
        """Return Adam as the last epoch left it; the plateau rule and `precision` are set alike."""
        settings = self.job.settings
        adam = torch.optim.Adam(self.job.model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        self._adam, self._precision = adam, precision
        self._plateau = ReduceLROnPlateau(adam, factor=settings.plateau_factor, patience=settings.plateau_patience)
        if self._start:
            adam.load_state_dict(self._start.optimizer)
            self._plateau.load_state_dict(self._start.plateau)
            precision.load_state_dict(self._start.precision)
        return adam

    def score(self, split: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of a batch and count it."""
        patches, labels = batch
        logits = self.job.model(to_input(patches, self.job.inputs))
        loss = self._losses[split](logits, labels)
        self._tally[split].add(loss, (logits.detach().argmax(dim=1) == labels).sum(), len(labels))
        return loss

    def start_epoch(self) -> None:
        """Set the random numbers of dropout and the like, which must not depend on the epochs before."""
        torch.manual_seed(derive(self.job.seed, "epoch", len(self.history)))

    def close_epoch(self) -> None:
        """Record the epoch, move the learning rate, write checkpoints and log, report."""
        rate = float(self._adam.param_groups[0]["lr"])
        means = (*self._tally["train"].close(), *self._tally["val"].close())
        record = EpochRecord(len(self.history) + 1, *means, rate)
        if not math.isfinite(record.train_loss + record.val_loss):
            raise AcinusError(
                f"training diverged in epoch {record.epoch} (train_loss {record.train_loss}, val_loss "
                f"{record.val_loss}); lower train.lr ({self.job.settings.lr}) or set train.precision: 32-true"
            )
        self.history.append(record)
        self._plateau.step(record.val_loss)
        parts = [part.state_dict() for part in (self.job.model, self._adam, self._plateau, self._precision)]
        snapshot = Snapshot(parts[0], parts[1], parts[2], parts[3], tuple(self.history))
        checkpoints.save(self.job.checkpoints, snapshot, self.job.settings.checkpoint_every)
        write_text(self.job.log, to_csv(self.history))
        self.job.on_epoch(record.epoch, _metrics(record))


def _metrics(record: EpochRecord) -> dict[str, float]:
    return {name: value for name, value in asdict(record).items() if name != "epoch"}


def _run(course: _Course, device: torch.device) -> None:
    """Run the epochs that are left."""
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.plugins.environments import LightningEnvironment

    class Loop(LightningModule):
        """Lightning's hooks, each handed on."""

        def __init__(self) -> None:
            super().__init__()
            self.net = course.job.model

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return course.optimizer(self.trainer.precision_plugin)

        def on_train_epoch_start(self) -> None:
            course.start_epoch()

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return course.score("train", batch)

        def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
            course.score("val", batch)

        def on_train_epoch_end(self) -> None:
            course.close_epoch()
            self.trainer.should_stop = course.finished

    settings = course.job.settings
    place(course.job.model, device)
    course.job.model.train()
    trainer = Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index] if device.type == "cuda" else 1,
        precision=settings.precision,
        max_epochs=settings.max_epochs - course.first_epoch,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=course.job.checkpoints,
        plugins=[LightningEnvironment()],  # one process, whatever SLURM or torchrun set around it
        deterministic=True,
    )
    trainer.fit(Loop(), *_loaders(course.job, course.first_epoch, device))


def _loaders(job: FitJob, first_epoch: int, device: torch.device) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return the training and validation loaders; neither touches torch's own random numbers."""
    size = job.settings.batch_size

    def loader(data: PatchDataset, tickets: Any) -> DataLoader[Any]:
        return DataLoader(
            data,
            batch_size=size,
            sampler=tickets,
            num_workers=job.machine.workers,
            pin_memory=device.type == "cuda",
            generator=torch.Generator().manual_seed(0),
        )

    shuffled = ShuffledTickets(len(job.train), size, job.seed, first_epoch)
    return loader(job.train, shuffled), loader(job.val, plain_tickets(job.val))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice (its warnings and its log) to itself; errors still come through."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torchvision_hook.install()
        import lightning.pytorch  # noqa: F401 (sets the levels of its loggers, so these are changed after it)

        loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
