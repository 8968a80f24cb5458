"""The moving average of a network's weights over the steps of its training."""

from typing import Any

import torch
from torch import Tensor, nn


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
        now = self._model.state_dict()
        moved = [key for key, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([self._average[key] for key in moved], [now[key] for key in moved], 1 - rate)
        for key in now.keys() - set(moved):
            self._average[key].copy_(now[key])

    def swap(self) -> None:
        """Exchange the network's weights and the average, in place; a second time puts them back."""
        for key, value in self._model.state_dict().items():
            held = value.clone()
            value.copy_(self._average[key])
            self._average[key].copy_(held)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The average as a state dict of the network."""
        return self._average

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` goes on from."""
        return {"step": self._step, "average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._step = int(state["step"])
        for key, value in state["average"].items():
            self._average[key].copy_(value)
