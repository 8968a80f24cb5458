"""What stands on a backbone: a hidden layer before the last one, and a backbone that stays as it was loaded."""

from collections import OrderedDict
from functools import partial
from typing import Any

from torch import nn

from acinus.errors import AcinusError

BACKBONE, HEAD = "backbone", "head"
"""The names of the two parts of a network made by `with_head`, and so the first word of its tensors' names."""


def with_head(backbone: nn.Module, units: int, dropout: float, classes: int) -> nn.Module:
    """Return `backbone` (timm, no classifier: pooled features) below Linear, ReLU, Dropout and Linear.

    Raises:
        AcinusError: no unit at all.
    """
    if units < 1:
        raise AcinusError(f"train.head_units = {units}: a hidden layer has at least 1; leave it out for none")
    net: Any = backbone
    features = int(getattr(net, "head_hidden_size", None) or net.num_features)
    head = nn.Sequential(nn.Linear(features, units), nn.ReLU(), nn.Dropout(dropout), nn.Linear(units, classes))
    return nn.Sequential(OrderedDict([(BACKBONE, backbone), (HEAD, head)]))


def freeze(model: nn.Module, trained: tuple[str, ...]) -> None:
    """Keep everything of `model` but the layers `trained` as it is: weights, batch statistics, no dropout.

    The frozen layers go into evaluation mode at each pass, whatever `model.train()` said in between; no
    gradient is kept for them, as none of their weights asks for one.

    Raises:
        AcinusError: one of `trained` is no layer of the model.
    """
    modules = dict(model.named_modules())
    absent = [name for name in trained if name not in modules]
    if absent or not trained:
        raise AcinusError(
            f"train.freeze: the network has no classifier layer of its own ({', '.join(absent) or 'none named'}); "
            "set train.head_units or another train.model"
        )
    for name, weight in model.named_parameters():
        weight.requires_grad_(name.startswith(tuple(f"{layer}." for layer in trained)))
    frozen = [name for name in modules if name and not any(_related(name, layer) for layer in trained)]
    model.register_forward_pre_hook(partial(_hold, frozen))


def _related(one: str, other: str) -> bool:
    """Return whether one of two layers is the other or holds it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _hold(frozen: list[str], model: nn.Module, _inputs: Any) -> None:
    """Put the frozen layers into evaluation mode, just before a pass.

    By name, so that a copy of the model holds its own layers; before each pass and not once, because
    whoever trains calls `train()` on the whole network.
    """
    for name in frozen:
        model.get_submodule(name).training = False
