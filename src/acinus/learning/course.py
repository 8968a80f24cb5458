"""The state of a training between two steps: losses, learning rate, what was reached, checkpoints.

What must survive a kill bit by bit (order, random numbers, learning rate, best epoch, when to stop) is
here and in `checkpoints`: every epoch begins from (seed, epoch) alone, every step's rate from its number
and the epochs before, and a resumed training is a new run over what is left.
"""

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from acinus.errors import AcinusError
from acinus.files import write_text
from acinus.learning import checkpoints
from acinus.learning.checkpoints import Snapshot
from acinus.learning.dataset import IGNORE, ShuffledTickets
from acinus.learning.history import EpochRecord, stops_early, to_csv
from acinus.learning.inputs import to_input, to_target
from acinus.learning.job import FitJob
from acinus.learning.losses import Objective, PatchObjective, training_loss, validation_loss
from acinus.learning.measures import Gauge, gauge
from acinus.learning.optimisers import Schedule, build_optimiser, epochs_of
from acinus.learning.running import Network
from acinus.learning.segmentation_losses import SegmentationObjective
from acinus.params.results import Measure
from acinus.seeds import derive


class DivergedError(AcinusError):
    """A loss that is no longer a number: the settings are at fault, not the data."""


class Tally:
    """Running sums of one split in one epoch; they stay on the device until they are asked for."""

    def __init__(self, split: str, objective: Objective) -> None:
        self._split, self._objective = split, objective
        self._sums: list[Tensor] = []
        self._hits: list[Tensor] = []  # of each batch: right answers, known answers

    def batch(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss to minimise and count the batch."""
        loss, sums = self._objective.batch(logits, target)
        right = logits.detach().argmax(dim=1) == target  # never where it is to be ignored: no class is 255
        self._sums.append(sums)
        self._hits.append(torch.stack([right.sum(), (target != IGNORE).sum()]))
        return loss

    def close(self) -> tuple[float, float]:
        """Return the epoch's loss and accuracy, and start over."""
        right, known = torch.stack(self._hits).sum(dim=0).tolist()
        loss = self._objective.epoch(torch.stack(self._sums).cpu().double().sum(dim=0))
        self._sums, self._hits = [], []
        if not known:
            raise AcinusError(f"{self._split} split: no pixel of a known class; give it slides with masks")
        return loss, right / known


def _tallies(job: FitJob, weights: tuple[float, ...]) -> dict[str, Tally]:
    """Return the tallies of both splits, with the losses of the job's task."""
    settings = job.settings.loss
    train: Objective
    val: Objective
    if job.task == "segmentation":
        train = val = SegmentationObjective(settings, weights)
    else:
        train = PatchObjective(training_loss(settings, weights))
        val = PatchObjective(validation_loss(settings, weights))
    return {"train": Tally("training", train), "val": Tally("validation", val)}


class Course:
    """A training under way, and the steps that change it."""

    def __init__(self, job: FitJob, weights: tuple[float, ...], start: Snapshot | None) -> None:
        """Begin at `start`, or at the beginning; `weights` are those of the classes."""
        self.job, self._start = job, start
        self.network: Network = job.model  # what runs it; compiled, it is another callable with the same weights
        self.history = list(start.history) if start else []
        self.first_epoch = len(self.history)
        items = ShuffledTickets(len(job.train), job.settings.batch_size, job.seed, 0)
        steps = math.ceil(len(items) / job.settings.batch_size)
        self.epochs = epochs_of(job.settings, steps)
        self._step, self._steps = self.first_epoch * steps, self.epochs * steps
        self._tally = _tallies(job, weights)
        self._gauge: Gauge | None = gauge(job.measure, len(job.classes)) if job.measure else None
        if start:
            job.model.load_state_dict(start.model)
        self._pruned = False
        for record in self.history:
            self._report(record)

    @property
    def finished(self) -> bool:
        """Whether no epoch is left to train."""
        return self._pruned or self._at_its_end

    @property
    def given_up(self) -> bool:
        """Whether it was pruned before its own end."""
        return self._pruned and not self._at_its_end

    @property
    def _at_its_end(self) -> bool:
        return len(self.history) >= self.epochs or stops_early(self.history, self.job.settings.stop_patience)

    def optimizer(self, precision: Any) -> torch.optim.Optimizer:
        """Return the optimiser as the last epoch left it; the schedule and `precision` are set alike."""
        self._optimizer, self._precision = build_optimiser(self.job.model, self.job.settings), precision
        self._schedule = Schedule(self.job.settings, self._optimizer, self._steps)
        if self._start:
            self._optimizer.load_state_dict(self._start.optimizer)
            self._schedule.load_state_dict(self._start.plateau)
            precision.load_state_dict(self._start.precision)
        return self._optimizer

    def start_epoch(self) -> None:
        """Set the random numbers of dropout and the like, which must not depend on the epochs before."""
        torch.manual_seed(derive(self.job.seed, "epoch", len(self.history)))

    def start_step(self) -> None:
        """Set the learning rate of the step to come."""
        self._schedule.before_step(self._step)
        self._step += 1

    def score(self, split: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of a batch and count it."""
        patches, target = batch
        if self.job.task == "segmentation":
            target = to_target(target, self.job.inputs.px)
        logits = self.network(to_input(patches, self.job.inputs, channels_last=self.job.machine.channels_last))
        if self._gauge and split == "val":
            self._gauge.batch(logits, target)
        return self._tally[split].batch(logits, target)

    def close_epoch(self) -> None:
        """Record the epoch, move the learning rate, write checkpoints and log, report."""
        rate = self._schedule.rate
        means = (*self._tally["train"].close(), *self._tally["val"].close())
        record = EpochRecord(len(self.history) + 1, *means, rate, self._measured())
        if not math.isfinite(record.train_loss + record.val_loss):
            raise DivergedError(
                f"training diverged in epoch {record.epoch} (train_loss {record.train_loss}, val_loss "
                f"{record.val_loss}); lower train.lr ({self.job.settings.lr}) or set train.precision: 32-true"
            )
        self.history.append(record)
        self._schedule.after_epoch(record.val_loss)
        parts = [part.state_dict() for part in (self.job.model, self._optimizer, self._schedule, self._precision)]
        snapshot = Snapshot(parts[0], parts[1], parts[2], parts[3], tuple(self.history))
        checkpoints.save(self.job.checkpoints, snapshot, self.job.settings.checkpoint_every)
        write_text(self.job.log, to_csv(self.history))
        self._report(record)

    def _measured(self) -> float | None:
        if self._gauge is None:
            return None
        figure = self._gauge.close()
        if figure is None:
            raise AcinusError(
                f"tune.objective = {self.job.measure}: undefined on the validation patches (a class is missing); "
                "choose another objective, or give the split more slides"
            )
        return figure

    def _report(self, record: EpochRecord) -> None:
        """Tell who listens of an epoch, and ask whether the training is to be given up after it."""
        self.job.on_epoch(record.epoch, metrics(record, self.job.measure))
        if self.job.prune and record.val_measure is not None:
            self._pruned = self.job.prune(record.epoch, record.val_measure)


def metrics(record: EpochRecord, measure: Measure | None = None) -> dict[str, float]:
    """Return what `FitJob.on_epoch` hears of an epoch, beside its number."""
    values = asdict(record)
    measured = values.pop("val_measure")
    del values["epoch"]
    return values if measure is None else values | {f"val_{measure}": measured}
