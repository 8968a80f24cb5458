"""How graders learn: one per seed, one bag at a time, the best epoch on the validation slides kept."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from acinus import params
from acinus.errors import AcinusError
from acinus.grading.aggregators import AGGREGATORS
from acinus.grading.mil import Aggregator, MilSpec, bag_loss

CPU = torch.device("cpu")
FLOOR = 1e-6
"""Smallest standard deviation of a feature: one that never varies says nothing."""


class Slide(Protocol):
    """One slide to learn from. label, event: see `mil.bag_loss`. weight: of its loss."""

    @property
    def features(self) -> np.ndarray:
        """Return float32 (n, d), n at least 1."""

    @property
    def label(self) -> float:
        """Return the class index, standardised number, or number of intervals survived."""

    @property
    def event(self) -> int:
        """Return whether the event was seen."""

    @property
    def weight(self) -> float:
        """Return how much it counts."""


@dataclass(frozen=True, eq=False)
class Example:
    """One slide to learn from, in memory (see `Slide`)."""

    features: np.ndarray
    label: float
    event: int = 1
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Stored:
    """One slide to learn from, whose features are looked up each time they are needed (see `Slide`)."""

    source: Mapping[str, np.ndarray]
    slide_id: str
    label: float
    event: int = 1
    weight: float = 1.0

    @property
    def features(self) -> np.ndarray:
        """Return float32 (n, d), n at least 1."""
        return self.source[self.slide_id]


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and standard deviation of every feature over the patches of all training slides, float64 (d,)."""

    mean: np.ndarray
    std: np.ndarray


@dataclass(frozen=True)
class Known:
    """A slide whose grade is known. label: class index, from 0."""

    slide_id: str
    split: str
    label: int


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained grader in evaluation mode. best_epoch: whose weights these are, from 1. val_loss: mean per slide of
    that epoch, None without validation slides (then the last epoch counts).
    """

    model: Aggregator
    epochs: int
    best_epoch: int
    val_loss: float | None


def learn(
    features: Mapping[str, np.ndarray],
    slides: Sequence[Known],
    settings: params.Grade,
    classes: int,
    seeds: Sequence[int],
) -> list[Fitted]:
    """Return a grader per seed. features: slide_id -> float32 (n, d); slides of split test are never looked at.

    Raises:
        AcinusError: no training slide, or a training that diverged.
    """
    train, val = (
        [Example(features[slide.slide_id], slide.label) for slide in slides if slide.split == split]
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
    return [fit(train, val, spec, settings, seed) for seed in seeds]


def fit(
    train: Sequence[Slide],
    val: Sequence[Slide],
    spec: MilSpec,
    settings: params.Grade,
    seed: int,
    moments: Moments | None = None,
    device: torch.device = CPU,
) -> Fitted:
    """Return the grader that `seed` gives; features are standardised by all patches of the training slides.

    Adam takes `settings.lr` and decoupled `settings.weight_decay`, for `settings.max_epochs` passes over the slides
    at most. The process's own random state stays as it was. Bits repeat under `device.reproducible`. moments: of the
    training slides, where their patches are too many to be held together. device: where it learns; the result is on the
    CPU.

    Raises:
        AcinusError: no epoch has a finite validation loss.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AGGREGATORS[spec.aggregator](spec)
        if moments is None:
            every = np.concatenate([slide.features for slide in train]).astype(np.float64)
            moments = Moments(every.mean(axis=0), every.std(axis=0))
        model.mean.copy_(torch.from_numpy(moments.mean))
        model.std.copy_(torch.from_numpy(np.maximum(moments.std, FLOOR)))
        model.to(device)
        optimiser = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        best, best_epoch, best_loss, epoch = copy.deepcopy(model.state_dict()), 0, float("inf"), 0
        for epoch in range(1, settings.max_epochs + 1):
            _learn_once(model, optimiser, train, settings)
            val_loss = mean_loss(model, val) if val else 0.0
            if val_loss < best_loss or not val:
                best, best_epoch, best_loss = copy.deepcopy(model.state_dict()), epoch, val_loss
            if epoch - best_epoch >= settings.stop_patience:
                break
    if best_epoch == 0:
        raise AcinusError(
            f"the grader's validation loss is no number from the first epoch on; lower grade.lr = {settings.lr:g}"
        )
    model.load_state_dict(best)
    return Fitted(model.cpu().eval(), epoch, best_epoch, best_loss if val else None)


def _learn_once(
    model: Aggregator, optimiser: torch.optim.Optimizer, slides: Sequence[Slide], settings: params.Grade
) -> None:
    """Take a step for each slide, in an order drawn anew."""
    model.train()
    for number in torch.randperm(len(slides)).tolist():
        slide = slides[number]
        optimiser.zero_grad()
        judged = model(shown(torch.from_numpy(slide.features).to(model.mean.device), model, settings))
        loss = bag_loss(judged.logits, slide.label, model.spec.loss, slide.event)
        (model.whole_loss(loss, judged, int(slide.label)) * slide.weight).backward()
        optimiser.step()


def shown(patches: Tensor, model: Aggregator, settings: params.Grade) -> Tensor:
    """Return what a training step sees of a slide's patches: some of them, with noise, as the settings say."""
    count = len(patches)
    kept = count if settings.max_patches is None else min(count, settings.max_patches)
    kept = max(1, round(kept * (1 - settings.patch_dropout)))
    if kept < count:
        patches = patches[torch.randperm(count)[:kept].sort().values.to(patches.device)]
    if settings.feature_noise:
        patches = patches + torch.randn_like(patches) * model.std * settings.feature_noise
    return patches


def moments_of(slides: Iterable[Slide]) -> Moments:
    """Return mean and deviation over all patches, slide by slide (Chan, Golub, LeVeque 1983), in little memory."""
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for slide in slides:
        values = slide.features.astype(np.float64)
        own = values.mean(axis=0)
        shift, total = own - mean, count + len(values)
        squares = squares + ((values - own) ** 2).sum(axis=0) + shift**2 * (count * len(values) / total)
        mean, count = mean + shift * (len(values) / total), total
    return Moments(mean, np.sqrt(squares / max(count, 1)))


def mean_loss(model: Aggregator, slides: Sequence[Slide]) -> float:
    """Return the mean loss per slide, without dropout."""
    model.eval()
    with torch.inference_mode():
        losses = [
            bag_loss(
                model(torch.from_numpy(slide.features).to(model.mean.device)).logits,
                slide.label,
                model.spec.loss,
                slide.event,
            )
            for slide in slides
        ]
    return float(torch.stack(losses).mean())
