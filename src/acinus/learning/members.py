"""The fits that a recipe's model is made of: its members, their second passes, the last fit on all known slides."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from acinus.learning.checkpoints import LAST_IS_KEPT
from acinus.learning.device import pick, reproducible
from acinus.learning.fit import FitResult, fit
from acinus.learning.job import FitJob, Stores, Training, member, new_model, split_data, training_job
from acinus.learning.models import Ensemble
from acinus.learning.predict import network_predictor
from acinus.patches.store import Store
from acinus.scoring.confusion import IGNORE
from acinus.seeds import derive

SECOND = "second"
"""Folder of the second pass within the checkpoints of the first, and what its key, log and seed are marked with."""

FINAL = "final"
"""Marks the last fit: its checkpoints, log, metrics and key."""


@dataclass(frozen=True)
class Hears:
    """Who is told. metrics: (values, epoch); say: a line for a person; asked: what asked for an end, or None."""

    metrics: Callable[[Mapping[str, float], int], None]
    say: Callable[[str], None]
    asked: Callable[[], str | None]


@dataclass(frozen=True)
class Fits:
    """A recipe's model, trained.

    model: what is delivered. selection: the same fitted on the training split alone, where the model saw more.
    first: how the first member's guided fit went. stopped: by what it was ended before its own end, or None.
    """

    model: nn.Module
    selection: nn.Module | None
    members: int
    first: FitResult
    stopped: str | None


def train_members(
    training: Training, stores: Stores, sample: pd.DataFrame, positive: Sequence[int], folder: Path, hears: Hears
) -> Fits:
    """Fit every member with validation's guidance, then all of them on training and validation, where asked for.

    positive: the classes that count as foreground; folder: takes the logs. An end that is asked for leaves whole
    members only: the fit under way ends with its best so far, and none follows.
    """
    guided: list[tuple[FitJob, Training, FitResult]] = []
    for number in range(training.train.members):
        alone = member(training, number)
        job = _guided(alone, stores, sample, folder, number, hears)
        result = fit(job)
        if stores[1] is not None and alone.train.hard_negatives.epochs and not hears.asked():
            result = _second_pass(job, positive, (stores[0], stores[1]), result, hears)
        guided.append((job, alone, result))
        if hears.asked():
            break
    models = [job.model for job, _, _ in guided]
    selection: nn.Module | None = None
    if training.train.final == "train+val" and not hears.asked():
        finals = [_final_fit(*fitted, stores, sample, hears) for fitted in guided]
        if None not in finals:
            selection, models = together(models), [model for model in finals if model is not None]
    cut = len(guided) < training.train.members or any(result.stopped for _, _, result in guided)
    cut = cut or (training.train.final == "train+val" and selection is None)
    return Fits(together(models), selection, len(models), guided[0][2], hears.asked() if cut else None)


def together(models: Sequence[nn.Module]) -> nn.Module:
    """Return the models as one, in evaluation mode."""
    return (models[0] if len(models) == 1 else Ensemble(models)).eval()


def _guided(
    training: Training, stores: Stores, sample: pd.DataFrame, folder: Path, number: int, hears: Hears
) -> FitJob:
    name = f"member_{number + 1}" if number else ""
    job = training_job(training, stores, sample, folder / (f"training_log_{name}.csv" if name else "training_log.csv"))
    return replace(
        job,
        checkpoints=job.checkpoints / name,
        on_epoch=lambda epoch, metrics: _tell(hears, name, epoch, metrics),
        on_wait=lambda epoch, share: hears.metrics(_named(name, {"data_wait_share": share}), epoch),
        on_progress=lambda text: hears.say(f"{name}: {text}" if name else text),
        stop=lambda: hears.asked() is not None,
    )


def _named(name: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{name}.{key}" if name else key: value for key, value in metrics.items()}


def _tell(hears: Hears, name: str, epoch: int, metrics: Mapping[str, float]) -> None:
    hears.metrics(_named(name, metrics), epoch)
    text = ", ".join(f"{key} {value:.4g}" for key, value in metrics.items())
    hears.say(f"{name + ', ' if name else ''}epoch {epoch}: {text}")


def _second_pass(
    job: FitJob, positive: Sequence[int], stores: tuple[Store, Store], first: FitResult, hears: Hears
) -> FitResult:
    """Train on with the normal training patches in which the model sees most of what is not there."""
    size = job.settings.batch_size
    keys, labels = job.train.keys, [int(label) for label in job.train.labels]
    scores: list[float] = []
    with reproducible(pick(job.machine.device), job.machine.threads):
        predict = network_predictor(job.model, job.inputs, job.task, job.machine.device)
        for start in range(0, len(keys), size):
            batch = keys[start : start + size]
            shares = false_positives(predict(stores[0].read_many(batch)), stores[1].read_many(batch), positive)
            scores += shares.tolist()
    extra = hardest(scores, keys, labels, job.settings.hard_negatives.share)
    hears.say(f"second pass: {len(extra)} of {labels.count(0)} normal patches have false positives to unlearn")
    before = {name: value.clone() for name, value in job.model.state_dict().items()}
    second = fit(second_pass(job, extra, after=len(first.history)))
    history = first.history + second.history
    first = replace(first, stopped=second.stopped)
    if _loss(second) > _loss(first):
        job.model.load_state_dict(before)
        hears.say("second pass: no better on validation; the first pass's weights stay")
        return replace(first, history=history, stopped_early=second.stopped_early)
    return replace(second, history=history, best_epoch=len(first.history) + second.best_epoch)


def _loss(result: FitResult) -> float:
    """Return the validation loss of the epoch that is kept."""
    loss = result.history[result.best_epoch - 1].val_loss
    return math.inf if loss is None else loss


def _final_fit(
    job: FitJob, training: Training, guided: FitResult, stores: Stores, sample: pd.DataFrame, hears: Hears
) -> nn.Module | None:
    """Return a member fitted anew: from the same first weights, on both splits, unguided, for its best epochs.

    None where it was stopped.
    """
    settings, epochs = job.settings, guided.best_epoch
    keep = settings.keep if settings.keep in LAST_IS_KEPT else "last"
    changed = {"max_epochs": epochs, "max_iterations": None, "stop_patience": None, "keep": keep}
    final = replace(
        job,
        model=new_model(training),
        settings=settings.model_copy(update=changed),
        train=split_data(training, stores, sample[sample["split"].isin(["train", "val"])], job.train.augmentation),
        val=None,
        checkpoints=job.checkpoints / FINAL,
        key=f"{job.key}-{FINAL}-{epochs}",
        log=job.log.with_name(f"{job.log.stem}_{FINAL}{job.log.suffix}"),
        on_epoch=lambda epoch, metrics: _tell(hears, FINAL, epoch, metrics),
        on_wait=lambda epoch, share: None,
    )
    hears.say(f"last fit on training and validation patches, {epochs} epochs")
    return None if fit(final).stopped else final.model


def false_positives(probs: np.ndarray, masks: np.ndarray, positive: Sequence[int]) -> np.ndarray:
    """Return for each patch the share of its known non-positive pixels that are called positive: float64 (n,).

    `probs` (n, classes, h, w), `masks` uint8 (n, h, w) class indices, `positive` the classes that count
    as foreground. The class of a pixel is the one of highest probability. 0 where no such pixel is.
    """
    called = np.isin(probs.argmax(axis=1), positive)
    negative = (masks != IGNORE) & ~np.isin(masks, positive)
    total = negative.sum(axis=(1, 2))
    return (called & negative).sum(axis=(1, 2)) / np.maximum(total, 1)


def hardest(scores: Sequence[float], keys: Sequence[str], labels: Sequence[int], share: float) -> list[int]:
    """Return the patches to see again: of those with label 0 the `share` (rounded up) of highest score.

    The answer is sorted indices into the arguments. A patch with score 0 has nothing to unlearn and
    is not taken. Of equal scores the lower key comes first.
    """
    normal = [index for index, label in enumerate(labels) if label == 0]
    ranked = sorted((index for index in normal if scores[index] > 0), key=lambda index: (-scores[index], keys[index]))
    return sorted(ranked[: math.ceil(share * len(normal))])


def second_pass(job: FitJob, extra: Sequence[int], after: int = 0) -> FitJob:
    """Return the follow-up of a finished training, with the patches of `extra` in it so many times more.

    It goes on from the weights that the job's model has now, with an optimiser and a schedule of its
    own, for `hard_negatives.epochs`. `after` is the number of epochs of the first pass: `on_epoch` and
    `on_wait` count on from it.
    """
    settings = job.settings
    chosen = hashlib.sha256(",".join(str(index) for index in extra).encode()).hexdigest()[:16]
    return replace(
        job,
        settings=settings.model_copy(update={"max_epochs": settings.hard_negatives.epochs, "max_iterations": None}),
        train=job.train.with_extra(extra, settings.hard_negatives.copies),
        seed=derive(job.seed, SECOND),
        checkpoints=job.checkpoints / SECOND,
        key=f"{job.key}-{SECOND}-{chosen}",
        log=job.log.with_name(f"{job.log.stem}_{SECOND}{job.log.suffix}"),
        on_epoch=lambda epoch, metrics: job.on_epoch(after + epoch, metrics),
        on_wait=lambda epoch, share: job.on_wait(after + epoch, share),
    )
