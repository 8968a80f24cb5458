"""How the weights move: the optimisers, and the course of the learning rate.

The rate of a step is either a pure function of the step's number, or of the validation losses so
far, which the plateau rule's state carries: a resumed training goes on with the same rates.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

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
    """Return the optimiser of the settings over the weights that are to be trained (frozen ones are not).

    Raises:
        AcinusError: every weight is frozen.
    """
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


def poly_rate(lr: float, step: int, steps: int, power: float) -> float:
    """Return lr * (1 - step / steps)^power for a step counted from 0: `lr` first, 0 after the last one."""
    return lr * max(0.0, 1 - step / steps) ** power


def cosine_rate(lr: float, step: int, steps: int, warmup_share: float) -> float:
    """Return lr * (1 + cos(pi t)) / 2, t running from 0 to 1 over the steps after the warm-up.

    In the warm-up, `warmup_share` of the steps (rounded), the rate rises evenly to lr, which its last step has.
    Source: Loshchilov and Hutter 2017, without restarts.
    """
    warm = min(round(warmup_share * steps), steps - 1)
    if step < warm:
        return lr * (step + 1) / warm
    return lr * (1 + math.cos(math.pi * min(1.0, (step - warm) / (steps - warm)))) / 2


def one_cycle_rate(lr: float, step: int, steps: int, warmup_share: float) -> float:
    """Return the rate of torch's OneCycleLR: from lr / 25 along a half cosine to lr, and along another to lr / 250,000.

    The top is reached after `warmup_share` of the steps; momentum stays as it is. Source: Smith and Topin 2018.
    """
    first, top, last = lr / ONE_CYCLE_RISE, warmup_share * steps - 1, lr / ONE_CYCLE_RISE / ONE_CYCLE_FALL
    if step <= top:
        return _half_cosine(first, lr, step / top if top > 0 else 1.0)
    return _half_cosine(lr, last, min(1.0, (step - top) / max(steps - 1 - top, 1e-9)))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


RATES: dict[str, Callable[[params.Train, int, int], float]] = {
    "poly": lambda train, step, steps: poly_rate(train.lr, step, steps, train.poly_power),
    "cosine": lambda train, step, steps: cosine_rate(train.lr, step, steps, train.warmup_share),
    "one_cycle": lambda train, step, steps: one_cycle_rate(train.lr, step, steps, train.warmup_share),
}
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
