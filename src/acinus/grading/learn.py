"""The graders of a cohort: one per seed, learned from the training slides, stopped by the validation slides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from acinus import params
from acinus.errors import AcinusError
from acinus.grading.fit import Example, Fitted, Schedule, fit
from acinus.grading.mil import MilSpec


@dataclass(frozen=True)
class Known:
    """A slide whose grade is known. label: class index, from 0."""

    slide_id: str
    split: str
    label: int


def learn(
    features: Mapping[str, np.ndarray],
    known: Sequence[Known],
    settings: params.Grade,
    classes: int,
    seeds: Sequence[int],
) -> list[Fitted]:
    """Return a grader per seed. features: slide_id -> float32 (n, d); slides of split test are never looked at.

    Raises:
        AcinusError: no training slide, or a training that diverged.
    """
    train, val = (
        [Example(features[one.slide_id], one.label) for one in known if one.split == split]
        for split in ("train", "val")
    )
    if not train:
        raise AcinusError("no training slide with a label has tissue to take a patch from; set grade.target: none")
    spec = MilSpec(
        features=train[0].features.shape[1],
        classes=classes,
        hidden_units=settings.hidden_units,
        attention_units=settings.attention_units,
        dropout=settings.dropout,
        loss=settings.loss,
    )
    schedule = Schedule(settings.max_epochs, settings.lr, settings.weight_decay)
    return [fit(train, val, spec, schedule, seed) for seed in seeds]
