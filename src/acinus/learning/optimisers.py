"""How the weights move: the optimisers, the course of the learning rate, the moving average of the weights.

The rate of a step is either a pure function of the step's number, or of the validation losses so
far, which the plateau rule's state carries: a resumed training goes on with the same rates.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import ReduceLROnPlateau

from acinus import params
from acinus.errors import AcinusError

Weights = Iterable[nn.Parameter]

ONE_CYCLE_RISE, ONE_CYCLE_FALL = 25.0, 1e4
"""Of one_cycle: lr by its first rate, and its first rate by its last; torch's defaults."""

OPTIMISERS: dict[str, Callable[[Weights, params.Train], Optimizer]] = {
    "adam": lambda weights, train: Adam(weights, lr=train.lr, weight_decay=train.weight_decay),
    "adamw": lambda weights, train: AdamW(weights, lr=train.lr, weight_decay=train.weight_decay),
    "rmsprop": lambda weights, train: RMSprop(
        weights, lr=train.lr, momentum=train.momentum, weight_decay=train.weight_decay
    ),
    "sgd": lambda weights, train: SGD(weights, lr=train.lr, momentum=train.momentum, weight_decay=train.weight_decay),
}


def build_optimiser(model: nn.Module, settings: params.Train) -> Optimizer:
    """Return the optimiser over the weights that are to be trained. AcinusError: every weight is frozen."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise AcinusError(
            f"train.model = {settings.model!r}: every weight is frozen, nothing to train; set train.freeze: false"
        )
    return OPTIMISERS[settings.optimizer](weights, settings)


def epochs_of(settings: params.Train, steps_per_epoch: int) -> int:
    """Return the number of epochs at most: `max_iterations` rounded up to whole ones, or `max_epochs`."""
    if settings.max_iterations is None:
        return settings.max_epochs
    return math.ceil(settings.max_iterations / steps_per_epoch)


def poly(train: params.Train, step: int, steps: int) -> float:
    """Return lr * (1 - step / steps)^power for a step counted from 0: `lr` first, 0 after the last one."""
    return train.lr * max(0.0, 1 - step / steps) ** train.poly_power


def cosine(train: params.Train, step: int, steps: int) -> float:
    """Return lr * (1 + cos(pi t)) / 2, t running from 0 to 1 over the steps after the warm-up.

    In the warm-up, `warmup_share` of the steps (rounded), the rate rises evenly to lr, which its last step has.
    Source: Loshchilov and Hutter 2017, without restarts.
    """
    warm = min(round(train.warmup_share * steps), steps - 1)
    if step < warm:
        return train.lr * (step + 1) / warm
    return train.lr * (1 + math.cos(math.pi * min(1.0, (step - warm) / (steps - warm)))) / 2


def one_cycle(train: params.Train, step: int, steps: int) -> float:
    """Return the rate of torch's OneCycleLR: from lr / 25 along a half cosine to lr, and along another to lr / 250,000.

    The top is reached after `warmup_share` of the steps; momentum stays as it is. Source: Smith and Topin 2018.
    """
    first, top = train.lr / ONE_CYCLE_RISE, train.warmup_share * steps - 1
    if step <= top:
        start, end, share = first, train.lr, step / top if top > 0 else 1.0
    else:
        start, end, share = train.lr, first / ONE_CYCLE_FALL, min(1.0, (step - top) / max(steps - 1 - top, 1e-9))
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


RATES: dict[str, Callable[[params.Train, int, int], float]] = {"poly": poly, "cosine": cosine, "one_cycle": one_cycle}
"""Schedules that are functions of (settings, step from 0, steps in all)."""


class Schedule:
    """The learning rate of an optimiser, step by step: one of RATES, `plateau`, or `constant`."""

    def __init__(self, settings: params.Train, optimizer: Optimizer, steps: int) -> None:
        """Take the settings and the `steps` of the whole training (all epochs), over which RATES run."""
        self._settings, self._optimizer, self._steps = settings, optimizer, steps
        self._plateau: ReduceLROnPlateau | None = None
        if settings.schedule == "plateau":
            factor, patience = settings.plateau_factor, settings.plateau_patience
            self._plateau = ReduceLROnPlateau(optimizer, factor=factor, patience=patience)

    @property
    def rate(self) -> float:
        """The rate of the next step, or of the one just made."""
        return float(self._optimizer.param_groups[0]["lr"])

    def before_step(self, step: int) -> None:
        """Set the rate of a step, counted from 0 over the whole training."""
        if self._settings.schedule in RATES:
            rate = RATES[self._settings.schedule](self._settings, step, self._steps)
            for group in self._optimizer.param_groups:
                group["lr"] = rate

    def after_epoch(self, val_loss: float) -> None:
        """Lower the rate on a plateau, where that is the rule."""
        if self._plateau:
            self._plateau.step(val_loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the plateau rule's state; the other rules have none."""
        return self._plateau.state_dict() if self._plateau else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; the optimiser's own must be loaded too."""
        if self._plateau:
            self._plateau.load_state_dict(state)


class WeightAverage:
    """An exponential moving average of everything that a network's state dict holds.

    After step t (from 1) average += (1 - d) * (now - average), d = min(decay, (1 + t) / (10 + t)): the weights that
    training began with fade soon. The running means and variances of batch normalisation are averaged alike; counters
    are those of the network. Source: Tarvainen and Valpola 2017; the rise of d as TensorFlow has it.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Begin with the weights as they are."""
        self._model, self._decay, self._step = model, decay, 0
        self._average = {key: value.detach().clone() for key, value in model.state_dict().items()}

    def update(self) -> None:
        """Take in the network after a step."""
        self._step += 1
        rate = min(self._decay, (1 + self._step) / (10 + self._step))
        weights = self._model.state_dict()
        floats = [key for key, value in weights.items() if value.is_floating_point()]
        torch._foreach_lerp_([self._average[key] for key in floats], [weights[key] for key in floats], 1 - rate)
        for key in weights.keys() - set(floats):
            self._average[key].copy_(weights[key])

    def swap(self) -> None:
        """Exchange the network's weights and the average, in place; a second time puts them back."""
        for key, value in self._model.state_dict().items():
            weight = value.clone()
            value.copy_(self._average[key])
            self._average[key].copy_(weight)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` goes on from; `average` is a state dict of the network."""
        return {"step": self._step, "average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._step = int(state["step"])
        for key, value in state["average"].items():
            self._average[key].copy_(value)
