"""How the weights move: the optimisers, and the course of the learning rate.

The rate of a step is either a pure function of the step's number, or of the validation losses so
far, which the plateau rule's state carries: a resumed training goes on with the same rates.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, Optimizer, RMSprop
from torch.optim.lr_scheduler import ReduceLROnPlateau

from acinus import params
from acinus.errors import AcinusError

Weights = Iterable[nn.Parameter]

OPTIMISERS: dict[str, Callable[[Weights, params.Train], Optimizer]] = {
    "adam": lambda weights, train: Adam(weights, lr=train.lr, weight_decay=train.weight_decay),
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


class Schedule:
    """The learning rate of an optimiser, step by step: `constant`, `poly` or `plateau`."""

    def __init__(self, settings: params.Train, optimizer: Optimizer, steps: int) -> None:
        """Take the settings and the `steps` of the whole training (all epochs), over which poly falls to 0."""
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
        if self._settings.schedule == "poly":
            rate = poly_rate(self._settings.lr, step, self._steps, self._settings.poly_power)
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
