"""Networks and encoders of plug-ins: what their functions give, checked, as the rest of `learning` takes it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from acinus.errors import AcinusError, brief
from acinus.learning.weights import timm
from acinus.plugins import Kind, finding, loading
from acinus.plugins.loading import Loaded

STRIDES = (2, 4, 8, 16, 32)
"""Of the maps that an encoder gives."""


def network(name: str, classes: int) -> nn.Module | None:
    """Return the plug-in network of a name, with random weights; None where there is none.

    Raises:
        AcinusError: a name that timm has too, or a function that gives no module.
    """
    plugin = _named("network", name)
    return None if plugin is None else _module(plugin, plugin.function(classes))


def is_checked(name: str, classes: int, px: int, batch_size: int) -> bool:
    """Return whether a plug-in is the classifier of this name; refuse what it cannot take, computing nothing.

    AcinusError: it fails on patches of this edge, or its answer is no (n, classes).
    """
    plugin = _named("network", name)
    if plugin is None:
        return False
    patches = min(batch_size, 2)
    with torch.device("meta"):
        try:
            answer = _module(plugin, plugin.function(classes)).train()(torch.empty(patches, 3, px, px))
        except loading.FAULTS as error:
            raise AcinusError(
                f"{plugin.plugin.place}: network {name!r} cannot train on batches of {batch_size} with {px} px "
                f"({type(error).__name__}: {brief(error)})"
            ) from error
    if tuple(answer.shape) != (patches, classes):
        raise AcinusError(
            f"{plugin.plugin.place}: network {name!r} gave {tuple(answer.shape)} for {patches} patches; expected "
            f"logits of {(patches, classes)}"
        )
    return True


def encoder_maker(name: str) -> "Callable[..., Encoder] | None":
    """Return what makes the plug-in encoder of a name, with random weights, for smp; None where there is none.

    AcinusError: a name that timm has too.
    """
    plugin = _named("encoder", name)
    return None if plugin is None else partial(Encoder, plugin)


def has(name: str) -> bool:
    """Return whether a plug-in is a network or an encoder of this name."""
    return name in finding.found("network") or name in finding.found("encoder")


class Encoder(nn.Module):
    """A plug-in encoder as smp takes one: (n, 3, h, w) -> its input, then the first `depth` maps of STRIDES."""

    def __init__(self, plugin: Loaded, depth: int, output_stride: int) -> None:
        """Take the plug-in. AcinusError: it does not make an encoder."""
        super().__init__()
        self.model: Any = _module(plugin, plugin.function())
        channels, self._place = getattr(self.model, "channels", None), plugin.plugin.place
        if not isinstance(channels, tuple | list) or [type(number) for number in channels] != [int] * len(STRIDES):
            raise AcinusError(
                f"{self._place}: encoder {plugin.plugin.name!r} has channels = {channels!r}; expected five whole "
                f"numbers, of the maps with strides {', '.join(map(str, STRIDES))}"
            )
        if output_stride != STRIDES[-1]:
            raise ValueError("an encoder of a plug-in cannot be dilated")
        self.strides, self.output_stride = STRIDES[:depth], 2**depth
        self.out_channels = [3, *channels[:depth]]

    def set_in_channels(self, number: int, pretrained: bool) -> None:
        """Take 3 channels, as every network here; smp asks."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the input and its maps. AcinusError: maps of other shapes than the encoder says."""
        maps = list(self.model(x))[: len(self.strides)]
        height, width = x.shape[-2:]
        wanted = [
            (channels, height // stride, width // stride)
            for channels, stride in zip(self.out_channels[1:], self.strides, strict=True)
        ]
        shapes = [tuple(one.shape[1:]) for one in maps]
        if shapes != wanted:
            raise AcinusError(f"{self._place}: gave maps of {shapes} for {height} x {width} px; expected {wanted}")
        return [x, *maps]


def _named(kind: Kind, name: str) -> Loaded | None:
    plugin = loading.named(kind, name)
    if plugin is not None and timm().is_model(name):
        raise AcinusError(
            f"{plugin.plugin.place}: {kind} {name!r} is one of timm's own ({timm().__file__}); give it another name"
        )
    return plugin


def _module(plugin: Loaded, made: Any) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise AcinusError(f"{plugin.plugin.place}: gave {type(made).__name__}; expected a torch.nn.Module")
    return made
