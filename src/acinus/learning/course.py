"""The state of a training between two steps: losses, learning rate, what was reached, checkpoints.

What must survive a kill bit by bit (order, random numbers, learning rate, best epoch, when to stop) is
here and in `checkpoints`: every epoch begins from (seed, epoch) alone, every step's rate from its number
and the epochs before, and a resumed training is a new run over what is left.
"""

import math
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from acinus.errors import AcinusError
from acinus.files import write_text
from acinus.learning import checkpoints
from acinus.learning.checkpoints import EpochRecord, Snapshot, stops_early, to_csv
from acinus.learning.dataset import ShuffledTickets, Stopwatch
from acinus.learning.device import Network
from acinus.learning.inputs import to_input, to_target
from acinus.learning.job import FitJob
from acinus.learning.losses import Objective, PatchObjective, SegmentationObjective
from acinus.learning.measures import METRICS, Gauge, gauge
from acinus.learning.optimisers import Schedule, WeightAverage, build_optimiser, epochs_of
from acinus.scoring.confusion import IGNORE
from acinus.seeds import derive

PROGRESS_S = 60.0
"""Seconds between lines that say how far an epoch is."""


class DivergedError(AcinusError):
    """A loss that is no longer a number: the settings are at fault, not the data."""


class Tally:
    """Running sums of one split in one epoch; they stay on the device until they are asked for."""

    def __init__(self, split: str, job: FitJob, weights: tuple[float, ...]) -> None:
        self._split, settings = split, job.settings.loss
        self._objective: Objective = (
            SegmentationObjective(settings, weights)
            if job.task == "segmentation"
            else PatchObjective(settings, weights, mined=split == "training")
        )
        self._sums: list[Tensor] = []
        self._hits: list[Tensor] = []  # of each batch: right answers, known answers

    def batch(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss to minimise and count the batch."""
        loss, sums = self._objective.batch(logits, target)
        right = logits.detach().argmax(dim=1) == target  # never where it is to be ignored: no class is 255
        self._sums.append(sums)
        self._hits.append(torch.stack([right.sum(), (target != IGNORE).sum()]))
        return loss

    def loss(self) -> float:
        """Return the loss of what was counted so far."""
        return self._objective.epoch(torch.stack(self._sums).cpu().double().sum(dim=0))

    def close(self) -> tuple[float, float]:
        """Return the epoch's loss and accuracy, and start over."""
        right, known = torch.stack(self._hits).sum(dim=0).tolist()
        loss = self.loss()
        self._sums, self._hits = [], []
        if not known:
            raise AcinusError(f"{self._split} split: no pixel of a known class; give it slides with masks")
        return loss, right / known


class Course:
    """A training under way, and the steps that change it."""

    def __init__(self, job: FitJob, weights: tuple[float, ...], start: Snapshot | None) -> None:
        """Begin at `start`, or at the beginning; `weights` are those of the classes."""
        self.job, self._start = job, start
        self.network: Network = job.model  # what runs it; compiled, it is another callable with the same weights
        self.history = list(start.history) if start else []
        self.first_epoch = len(self.history)
        settings = job.settings
        items = ShuffledTickets(len(job.train), settings.batch_size, job.seed, 0, settings.iterations_per_epoch)
        self.steps_per_epoch = math.ceil(len(items) / settings.batch_size)
        self.epochs = epochs_of(settings, self.steps_per_epoch)
        self._step, self._steps = self.first_epoch * self.steps_per_epoch, self.epochs * self.steps_per_epoch
        crops = job.inputs if settings.crop_px is None else replace(job.inputs, px=settings.crop_px)
        self._inputs = {"train": crops, "val": job.inputs}
        self._tally = {"train": Tally("training", job, weights), "val": Tally("validation", job, weights)}
        classes = len(job.classes)
        self._gauge: Gauge | None = gauge(job.measure, classes) if job.measure else None
        self._metric = gauge(METRICS[job.task], classes)
        self._average: WeightAverage | None = None
        self._told_at = job.clock()
        self.watch = Stopwatch(job.clock)
        self.waits: list[
            float
        ] = []  # of each epoch trained now: the share of its steps' time that they waited for data
        self.stopped = self.pruned = False
        if start:
            job.model.load_state_dict(start.model)
        for record in self.history:
            self._report(record)

    @property
    def finished(self) -> bool:
        """Whether no epoch is left to train."""
        return self.pruned or self.stopped or self.at_its_end

    @property
    def at_its_end(self) -> bool:
        """Whether all epochs are trained that the settings ask for."""
        settings = self.job.settings
        return len(self.history) >= self.epochs or stops_early(self.history, settings.stop_patience, settings.keep)

    def optimizer(self, precision: Any) -> torch.optim.Optimizer:
        """Return the optimiser as the last epoch left it; the schedule and `precision` are set alike."""
        self._optimizer, self._precision = build_optimiser(self.job.model, self.job.settings), precision
        self._schedule = Schedule(self.job.settings, self._optimizer, self._steps)
        if self.job.settings.keep == "ema":
            self._average = WeightAverage(self.job.model, self.job.settings.ema_decay)
        if self._start:
            if self._average:
                self._average.load_state_dict(self._start.average)
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

    def end_step(self) -> None:
        """Take the step into the average, and tell how far a long epoch is."""
        self.watch.stepped()
        if self._average:
            self._average.update()
        now = self.job.clock()
        if now - self._told_at >= PROGRESS_S:
            self._told_at = now
            self.job.on_progress(f"{self._place()}: train_loss {self._tally['train'].loss():.4g}")

    @property
    def looks(self) -> bool:
        """Whether the validation patches are to be scored now, within the epoch."""
        every, done = self.job.settings.val_every_steps, self._step % self.steps_per_epoch
        return every is not None and self.job.val is not None and not self.epoch_done and done % every == 0

    @property
    def epoch_done(self) -> bool:
        """Whether the step just made was the epoch's last."""
        return self._step % self.steps_per_epoch == 0

    def swap(self) -> None:
        """Put the average in the place of the weights, where one is kept, or the weights back."""
        if self._average:
            self._average.swap()

    def tell_look(self) -> None:
        """Tell the metrics of the validation patches scored within an epoch; they decide nothing."""
        loss, accuracy = self._tally["val"].close()
        metrics = {"val_loss": loss, "val_acc": accuracy, METRICS[self.job.task]: self._metric.close()}
        if self._gauge:
            self._gauge.close()
        text = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if value is not None)
        self.job.on_progress(f"{self._place()}: {text}")

    def _place(self) -> str:
        done = self._step - len(self.history) * self.steps_per_epoch
        return f"epoch {len(self.history) + 1}, step {done} of {self.steps_per_epoch}"

    def score(self, split: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of a batch and count it."""
        patches, target = batch
        inputs = self._inputs[split]
        if self.job.task == "segmentation":
            target = to_target(target, inputs.px)
        logits = self.network(to_input(patches, inputs, channels_last=self.job.machine.channels_last))
        if split == "val":
            self._metric.batch(logits, target)
            if self._gauge:
                self._gauge.batch(logits, target)
        return self._tally[split].batch(logits, target)

    def close_epoch(self) -> None:
        """Record the epoch, move the learning rate, write checkpoints and log, report."""
        rate, (loss, accuracy) = self._schedule.rate, self._tally["train"].close()
        record = EpochRecord(len(self.history) + 1, loss, accuracy, None, None, rate)
        if self.job.val is not None:
            val_loss, val_acc = self._tally["val"].close()
            measure = self._gauge.close() if self._gauge else None
            if self._gauge and measure is None:
                raise AcinusError(
                    f"tune.objective = {self.job.measure}: undefined on the validation patches (a class is missing); "
                    "choose another objective, or give the split more slides"
                )
            record = replace(record, val_loss=val_loss, val_acc=val_acc, val_measure=measure)
            record = replace(record, val_metric=self._metric.close())
        if not math.isfinite(record.train_loss + (record.val_loss or 0.0)):
            raise DivergedError(
                f"training diverged in epoch {record.epoch} (train_loss {record.train_loss}, val_loss "
                f"{record.val_loss}); lower train.lr ({self.job.settings.lr}) or set train.precision: 32-true"
            )
        self.history.append(record)
        self._schedule.after_epoch(record.train_loss if record.val_loss is None else record.val_loss)
        parts = [part.state_dict() for part in (self.job.model, self._optimizer, self._schedule, self._precision)]
        average = self._average.state_dict() if self._average else {}
        snapshot = Snapshot(parts[0], parts[1], parts[2], parts[3], tuple(self.history), average)
        settings = self.job.settings
        checkpoints.save(self.job.checkpoints, snapshot, settings.checkpoint_every, settings.keep)
        self.write_log()
        self._report(record)
        self.waits.append(self.watch.share())
        self.job.on_wait(record.epoch, self.waits[-1])

    def write_log(self) -> None:
        """Write the epochs so far."""
        write_text(self.job.log, to_csv(self.history, METRICS[self.job.task]))

    def _report(self, record: EpochRecord) -> None:
        """Tell who listens of an epoch, and ask whether the training is to be given up after it."""
        metrics = asdict(record)
        del metrics["epoch"]
        metrics[METRICS[self.job.task]] = metrics.pop("val_metric")
        metrics[f"val_{self.job.measure}"] = metrics.pop("val_measure")
        self.job.on_epoch(record.epoch, {name: value for name, value in metrics.items() if value is not None})
        if self.job.prune and record.val_measure is not None:
            self.pruned = self.job.prune(record.epoch, record.val_measure)
