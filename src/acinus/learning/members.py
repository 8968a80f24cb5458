"""The fits that a recipe's model is made of: its members, their second passes, the last fit on all known slides."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from torch import nn

from acinus import params
from acinus.learning.device import pick, reproducible
from acinus.learning.ensemble import Ensemble
from acinus.learning.fit import FitResult, fit
from acinus.learning.from_recipe import Stores, Training, member, new_model, split_data, training_job
from acinus.learning.hard_negatives import false_positives, hardest, second_pass
from acinus.learning.history import LAST_IS_KEPT
from acinus.learning.job import FitJob
from acinus.learning.predict import network_predictor
from acinus.patches.store import Store

FINAL = "final"
"""Marks the last fit: its checkpoints, log, figures and key."""


@dataclass(frozen=True)
class Hears:
    """Who is told. metrics: (figures, epoch); say: a line for a person; asked: what asked for an end, or None."""

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
        own = member(training, number)
        job = _guided(own, stores, sample, folder, number, hears)
        result = fit(job)
        if stores[1] is not None and own.train.hard_negatives.epochs and not hears.asked():
            result = _second_pass(job, positive, (stores[0], stores[1]), result, hears)
        guided.append((job, own, result))
        if hears.asked():
            break
    models = [job.model for job, _, _ in guided]
    selection: nn.Module | None = None
    if training.train.final == "train+val" and not hears.asked():
        finals = [_final_fit(*one, stores, sample, hears) for one in guided]
        if not any(one is None for one in finals):
            selection, models = together(models), [one for one in finals if one is not None]
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

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        _tell(hears, name, epoch, metrics)

    def on_wait(epoch: int, share: float) -> None:
        hears.metrics(_named(name, {"data_wait_share": share}), epoch)

    log = folder / ("training_log" + (f"_{name}" if name else "") + ".csv")
    job = training_job(training, new_model(training), stores, sample, log, on_epoch)
    return replace(
        job,
        checkpoints=job.checkpoints / name if name else job.checkpoints,
        on_wait=on_wait,
        on_progress=lambda text: hears.say(f"{name}: {text}" if name else text),
        stop=lambda: hears.asked() is not None,
    )


def _named(name: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{name}.{key}" if name else key: value for key, value in metrics.items()}


def _tell(hears: Hears, name: str, epoch: int, metrics: Mapping[str, float]) -> None:
    hears.metrics(_named(name, metrics), epoch)
    figures = ", ".join(f"{key} {value:.4g}" for key, value in metrics.items())
    hears.say(f"{name + ', ' if name else ''}epoch {epoch}: {figures}")


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
            part = keys[start : start + size]
            found = false_positives(predict(stores[0].read_many(part)), stores[1].read_many(part), positive)
            scores += found.tolist()
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
    job: FitJob, training: Training, found: FitResult, stores: Stores, sample: pd.DataFrame, hears: Hears
) -> nn.Module | None:
    """Return the network fitted anew on training and validation patches, for the epochs found; None if stopped."""
    final = final_job(job, training, found.best_epoch, stores, sample)
    hears.say(f"last fit on training and validation patches, {found.best_epoch} epochs")
    result = fit(replace(final, on_epoch=lambda epoch, metrics: _tell(hears, FINAL, epoch, metrics)))
    return None if result.stopped else final.model


def final_job(job: FitJob, training: Training, epochs: int, stores: Stores, sample: pd.DataFrame) -> FitJob:
    """Return the last fit of a member: from the same first weights, on both splits, `epochs` long, unguided."""
    settings = job.settings
    changed: dict[str, object] = {"max_epochs": epochs, "max_iterations": None, "stop_patience": None}
    changed["keep"] = settings.keep if settings.keep in LAST_IS_KEPT else "last"
    both: list[params.Split] = ["train", "val"]
    rows = sample[sample["split"].isin(both)]
    return replace(
        job,
        model=new_model(training),
        settings=settings.model_copy(update=changed),
        train=split_data(training, stores, rows, None, job.train.augmentation),
        val=None,
        checkpoints=job.checkpoints / FINAL,
        key=f"{job.key}-{FINAL}-{epochs}",
        log=job.log.with_name(f"{job.log.stem}_{FINAL}{job.log.suffix}"),
        on_wait=lambda epoch, share: None,
    )
