"""A second pass over the normal training patches in which the model saw most that is not there."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence

import numpy as np

from acinus.learning.job import FitJob
from acinus.scoring.confusion import IGNORE
from acinus.seeds import derive

SECOND = "second"
"""Folder of the second pass within the checkpoints of the first, and what its key, log and seed are marked with."""


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
    return dataclasses.replace(
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
