"""Train the patch model, classifier or segmenter: the one place where Lightning's Trainer runs.

Lightning drives the batches, the device and the precision; what must survive a kill is kept in `course`.
"""

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from acinus.errors import AcinusError
from acinus.learning import checkpoints, torchvision_hook
from acinus.learning.checkpoints import best_epoch, stops_early
from acinus.learning.course import Course
from acinus.learning.dataset import Feed, PatchDataset, ShuffledTickets, Stopwatch, plain_tickets
from acinus.learning.device import compiled, pick, place, reproducible
from acinus.learning.job import FitJob, FitResult, class_counts
from acinus.learning.losses import class_weights
from acinus.params.faults import training_fault


def fit(job: FitJob) -> FitResult:
    """Train `job.model` and leave it on the CPU, in evaluation mode, with the weights that train.keep asks for.

    Bit-identical for the same job, device, build and thread count, whether or not it was killed and
    started again in between.

    Raises:
        AcinusError: a class or a split without patches, no such device or one that cannot train at this precision,
            a damaged checkpoint, a measure that is undefined on the validation patches, or (DivergedError) a loss
            that is no longer a number.
        KeyboardInterrupt: as it came; what was checkpointed stays.
    """
    weights = class_weights(job.settings.loss, class_counts(job))
    device = pick(job.machine.device)
    if (fault := training_fault(job.settings.precision, device.type)) is not None:
        raise AcinusError(fault)
    with reproducible(device, job.machine.threads):
        course = Course(job, weights, checkpoints.restore(job.checkpoints, job.key, job.settings.keep))
        if not course.finished:
            with _quiet():
                _run(course, device)
    job.model.cpu().load_state_dict(checkpoints.load(job.checkpoints / checkpoints.BEST).kept)
    job.model.eval()
    course.write_log()
    history, keep, unfinished = tuple(course.history), job.settings.keep, not course.at_its_end
    return FitResult(
        history,
        best_epoch(history, keep),
        stopped_early=stops_early(history, job.settings.stop_patience, keep),
        pruned=course.pruned and unfinished,
        stopped=course.stopped and unfinished,
        data_wait_share=sum(course.waits) / len(course.waits) if course.waits else None,
    )


class _StoppedError(Exception):
    """The training was asked to end, and has finished epochs to end with."""


def _run(course: Course, device: torch.device) -> None:
    """Run the epochs that are left."""
    from lightning.pytorch import Trainer
    from lightning.pytorch.plugins.environments import LightningEnvironment

    settings, machine = course.job.settings, course.job.machine
    train, val = _feeds(course, device)
    place(course.job.model, device, channels_last=machine.channels_last)
    course.job.model.train()
    if machine.compile:
        course.network = compiled(course.job.model, device)
    trainer = Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index] if device.type == "cuda" else 1,
        precision=settings.precision,
        max_epochs=course.epochs - course.first_epoch,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=course.job.checkpoints,
        plugins=[LightningEnvironment()],  # one process, whatever SLURM or torchrun set around it
        deterministic=True,
    )
    before = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(_loop(course, val), train, val)
    except _StoppedError:
        pass
    except SystemExit as ended:  # how Lightning ends after Ctrl-C, which it then ignores and says nothing of
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from ended


def _loop(course: Course, val: Feed | None) -> Any:
    """Return what Lightning trains: its hooks, each handed on."""
    from lightning.pytorch import LightningModule

    listener = signal.getsignal(signal.SIGTERM)

    class Loop(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = course.job.model

        def on_train_start(self) -> None:
            _hand_back(listener)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return course.optimizer(self.trainer.precision_plugin)

        def on_train_epoch_start(self) -> None:
            course.start_epoch()

        def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
            course.start_step()

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return course.score("train", batch)

        def on_train_batch_end(self, outputs: Any, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
            course.end_step()
            _stop_or_look(course, self, val)

        def on_validation_start(self) -> None:
            course.swap()

        def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
            course.score("val", batch)

        def on_validation_end(self) -> None:
            course.swap()

        def on_train_epoch_end(self) -> None:
            course.close_epoch()
            self.trainer.should_stop = course.finished

    return Loop()


def _hand_back(listener: Any) -> None:
    """Give SIGTERM back to who listened for it before; Lightning would break off, even in the middle of validation."""
    if callable(listener) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, listener)


def _stop_or_look(course: Course, loop: Any, val: Feed | None) -> None:
    """After a step: end the training where it is asked for, or score the validation patches where it is time."""
    if course.job.stop():
        course.stopped = True
        if course.history and not course.epoch_done:
            raise _StoppedError
        loop.trainer.should_stop = True  # this epoch ends here: as a whole, or as all that there is
    elif val is not None and course.looks:
        course.swap()
        loop.eval()
        with torch.no_grad(), loop.trainer.precision_plugin.val_step_context():
            for batch in val:
                course.score("val", loop.trainer.strategy.batch_to_device(batch, loop.device))
        loop.train()
        course.swap()
        course.tell_look()


def _feeds(course: Course, device: torch.device) -> tuple[Feed, Feed | None]:
    """Return the training and validation batches, the first watched; neither touches torch's own random numbers."""
    job = course.job
    size, reading = job.settings.batch_size, threading.Lock()

    def feed(data: PatchDataset, tickets: Any, watch: Stopwatch) -> Feed:
        loader: DataLoader[Any] = DataLoader(
            data,
            batch_size=size,
            sampler=tickets,
            num_workers=job.machine.workers,
            pin_memory=device.type == "cuda",
            generator=torch.Generator().manual_seed(0),
        )
        return Feed(loader, watch, reading)

    shuffled = ShuffledTickets(len(job.train), size, job.seed, course.first_epoch, job.settings.iterations_per_epoch)
    val = None if job.val is None else feed(job.val, plain_tickets(job.val), Stopwatch(job.clock))
    return feed(job.train, shuffled, course.watch), val


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
