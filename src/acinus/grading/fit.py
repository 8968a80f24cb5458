"""How graders learn: one per seed, one bag at a time, the best epoch on the validation slides kept."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from acinus import params
from acinus.errors import AcinusError
from acinus.grading.mil import GatedAttention, MilSpec, bag_loss

PATIENCE = 15
"""Epochs without a better validation loss before training stops."""

FLOOR = 1e-6
"""Smallest standard deviation of a feature: one that never varies says nothing."""


@dataclass(frozen=True, eq=False)
class Example:
    """One slide to learn from. features: float32 (n, d), n at least 1; label: class index."""

    features: np.ndarray
    label: int


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

    model: GatedAttention
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


def fit(train: Sequence[Example], val: Sequence[Example], spec: MilSpec, settings: params.Grade, seed: int) -> Fitted:
    """Return the grader that `seed` gives; features are standardised by all patches of the training slides.

    Adam takes `settings.lr` and decoupled `settings.weight_decay`, for `settings.max_epochs` passes over the slides
    at most. The process's own random state stays as it was. Bits repeat under `device.reproducible`.

    Raises:
        AcinusError: no epoch has a finite validation loss.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GatedAttention(spec)
        every = np.concatenate([slide.features for slide in train]).astype(np.float64)
        model.mean.copy_(torch.from_numpy(every.mean(axis=0)))
        model.std.copy_(torch.from_numpy(np.maximum(every.std(axis=0), FLOOR)))
        bags = [(torch.from_numpy(slide.features), slide.label) for slide in train]
        optimiser = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        best, best_epoch, best_loss, epoch = copy.deepcopy(model.state_dict()), 0, float("inf"), 0
        for epoch in range(1, settings.max_epochs + 1):
            model.train()
            for number in torch.randperm(len(bags)).tolist():
                patches, label = bags[number]
                optimiser.zero_grad()
                bag_loss(model(patches).logits, label, spec.loss).backward()
                optimiser.step()
            loss = mean_loss(model, val) if val else 0.0
            if loss < best_loss or not val:
                best, best_epoch, best_loss = copy.deepcopy(model.state_dict()), epoch, loss
            if epoch - best_epoch >= PATIENCE:
                break
    if best_epoch == 0:
        raise AcinusError(
            f"the grader's validation loss is no number from the first epoch on; lower grade.lr = {settings.lr:g}"
        )
    model.load_state_dict(best)
    return Fitted(model.eval(), epoch, best_epoch, best_loss if val else None)


def mean_loss(model: GatedAttention, slides: Sequence[Example]) -> float:
    """Return the mean loss per slide, without dropout."""
    model.eval()
    with torch.inference_mode():
        losses = [
            bag_loss(model(torch.from_numpy(slide.features)).logits, slide.label, model.spec.loss) for slide in slides
        ]
    return float(torch.stack(losses).mean())
