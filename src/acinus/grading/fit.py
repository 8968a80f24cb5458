"""How a grader learns: one bag at a time, the best epoch on the validation slides kept."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

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
class Schedule:
    """max_epochs: passes over the slides; Adam with `lr` and decoupled `weight_decay`."""

    max_epochs: int
    lr: float
    weight_decay: float


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained grader in evaluation mode. best_epoch: whose weights these are, from 1. val_loss: mean per slide of
    that epoch, None without validation slides (then the last epoch counts).
    """

    model: GatedAttention
    epochs: int
    best_epoch: int
    val_loss: float | None


def fit(train: Sequence[Example], val: Sequence[Example], spec: MilSpec, schedule: Schedule, seed: int) -> Fitted:
    """Return the grader that `seed` gives; features are standardised by all patches of the training slides.

    The process's own random state stays as it was. Bits repeat under `device.reproducible`.

    Raises:
        AcinusError: no epoch has a finite validation loss.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GatedAttention(spec)
        _standardise(model, train)
        return _trained(model, train, val, schedule)


def _trained(model: GatedAttention, train: Sequence[Example], val: Sequence[Example], schedule: Schedule) -> Fitted:
    bags = [(torch.from_numpy(one.features), one.label) for one in train]
    optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay)
    best, best_epoch, best_loss, epoch = copy.deepcopy(model.state_dict()), 0, float("inf"), 0
    for epoch in range(1, schedule.max_epochs + 1):
        model.train()
        for number in torch.randperm(len(bags)).tolist():
            patches, label = bags[number]
            optimiser.zero_grad()
            bag_loss(model(patches).logits, label, model.spec.loss).backward()
            optimiser.step()
        loss = mean_loss(model, val) if val else 0.0
        if loss < best_loss or not val:
            best, best_epoch, best_loss = copy.deepcopy(model.state_dict()), epoch, loss
        if epoch - best_epoch >= PATIENCE:
            break
    if best_epoch == 0:
        raise AcinusError(
            f"the grader's validation loss is no number from the first epoch on; lower grade.lr = {schedule.lr:g}"
        )
    model.load_state_dict(best)
    return Fitted(model.eval(), epoch, best_epoch, best_loss if val else None)


def mean_loss(model: GatedAttention, examples: Sequence[Example]) -> float:
    """Return the mean loss per slide, without dropout."""
    model.eval()
    with torch.inference_mode():
        losses = [
            bag_loss(model(torch.from_numpy(one.features)).logits, one.label, model.spec.loss) for one in examples
        ]
    return float(torch.stack(losses).mean())


def _standardise(model: GatedAttention, train: Sequence[Example]) -> None:
    every = np.concatenate([one.features for one in train]).astype(np.float64)
    model.mean.copy_(torch.from_numpy(every.mean(axis=0)))
    model.std.copy_(torch.from_numpy(np.maximum(every.std(axis=0), FLOOR)))
