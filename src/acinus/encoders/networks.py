"""Networks that turn a patch into features: of acinus or timm, filled with weights, pooled."""

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from acinus.encoders.arguments import to_timm
from acinus.encoders.misfits import misfit
from acinus.encoders.spec import Pooling, Value
from acinus.errors import AcinusError, brief
from acinus.learning.models import BACKBONE, Ensemble
from acinus.learning.segmenters import Padded
from acinus.learning.weights import classifier_layers, timm

BUILDING = (TypeError, ValueError, AssertionError, RuntimeError, AttributeError, KeyError, NotImplementedError)
"""What timm raises where arguments do not go together, or a network takes none such."""


class Pooled(nn.Module):
    """A network of acinus up to its last features, averaged over the patch: (n, 3, px, px) -> (n, d)."""

    def __init__(self, net: nn.Module) -> None:
        """Take a segmentation network (its encoder's last map), or a classifier (what its classifier sees).

        Of several networks as one it is the first.
        """
        super().__init__()
        whole: Any = net.members[0] if isinstance(net, Ensemble) else net
        self.segments = isinstance(whole, Padded)
        self.pools = BACKBONE in dict(whole.named_children())  # timm pools by itself where it has no classifier
        self.net: Any = whole.get_submodule(BACKBONE) if self.pools else whole
        if self.segments:
            self.net = Padded(_Last(whole.net.encoder), whole.multiple)

    def forward(self, x: Tensor) -> Tensor:
        """Return float (n, d)."""
        if self.segments:
            return self.net(x).mean(dim=(2, 3))
        if self.pools:
            return self.net(x)
        return self.net.forward_head(self.net.forward_features(x), pre_logits=True).flatten(1)


class _Last(nn.Module):
    """An smp encoder that answers with its coarsest feature map only."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)[-1]


class Tokens(nn.Module):
    """A transformer of timm, its tokens pooled: (n, 3, px, px) -> (n, d), or (n, 2 d) of cls+mean.

    The first token is the class's; register tokens stand between it and those of the patches, and count for nothing.
    """

    def __init__(self, net: Any, pooling: Pooling, key: str = "embed.pooling") -> None:
        """Take a transformer. AcinusError: it has no tokens, or none of the class."""
        super().__init__()
        if not isinstance(getattr(net, "num_prefix_tokens", None), int):
            raise AcinusError(f"{key} = {pooling!r}: the network has no tokens; leave it out")
        if pooling != "mean" and getattr(net, "cls_token", None) is None:
            raise AcinusError(f"{key} = {pooling!r}: the network has no class token; write mean")
        self.net: Any = net
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        """Return float (n, d) or (n, 2 d)."""
        tokens = self.net.forward_features(x)  # (n, class and registers and patches, d)
        norm = getattr(self.net, "fc_norm", None) or nn.Identity()  # of networks that are normalised after pooling
        parts = []
        if self.pooling != "mean":
            parts.append(norm(tokens[:, 0]))
        if self.pooling != "cls":
            parts.append(norm(tokens[:, self.net.num_prefix_tokens :].mean(dim=1)))
        return torch.cat(parts, dim=1)


def pooled(net: nn.Module, pooling: Pooling | None) -> nn.Module:
    """Return the network with its features pooled, None: by itself, in evaluation mode.

    Raises:
        AcinusError: it cannot be pooled so, or does not pool by itself.
    """
    if pooling is not None:
        return Tokens(net, pooling).eval()
    if getattr(net, "global_pool", None) == "":
        raise AcinusError("embed.pooling: the network gives all its tokens; say cls, mean or cls+mean")
    return Pooled(net).eval()


def create(name: str, arguments: Mapping[str, Value], *, pretrained: bool = False) -> nn.Module:
    """Return the network of timm without its classifier. AcinusError: it takes no such arguments."""
    try:
        net: nn.Module = timm().create_model(name, pretrained=pretrained, num_classes=0, **to_timm(arguments))
    except BUILDING as error:
        if pretrained and isinstance(error, RuntimeError):
            raise
        given = ", ".join(f"{key}: {value}" for key, value in arguments.items()) or "none"
        raise AcinusError(
            f"embed.arguments: timm's {name} cannot be built with them ({brief(error)}); given: {given}"
        ) from error
    return net


def filled(name: str, arguments: Mapping[str, Value], state: dict[str, Tensor], where: str) -> nn.Module:
    """Return timm's network with the weights `state`, in evaluation mode; `where` says whose they are.

    It is built without memory first, so that nothing larger than the weights is ever made. A classifier among the
    weights is left out; every other tensor must fit.

    Raises:
        AcinusError: arguments or tensors that do not fit, with what would explain them.
    """
    with torch.device("meta"):
        net = create(name, arguments)
    expected = net.state_dict()
    heads = tuple(f"{layer}." for layer in classifier_layers(name))
    kept = {key: value for key, value in state.items() if key in expected or not key.startswith(heads)}
    shapes = ({key: tuple(value.shape) for key, value in tensors.items()} for tensors in (kept, expected))
    if (fault := misfit(*shapes)) is not None:
        raise AcinusError(f"{where}: {fault} (network {name})")
    quantised = [key for key in kept if kept[key].is_floating_point() != expected[key].is_floating_point()]
    if quantised:
        raise AcinusError(f"{where}: {quantised[0]} is {kept[quantised[0]].dtype}; only weights in floats are read")
    net.load_state_dict(kept, assign=True)
    if any(tensor.is_meta for tensor in itertools.chain(net.parameters(), net.buffers())):  # buffers no file keeps
        net = create(name, arguments)
        net.load_state_dict(kept)
    return net.eval()


def width(net: nn.Module, px: int) -> int:
    """Return how many features a pooled network gives of a patch of `px`. AcinusError: it takes none such."""
    try:
        with torch.inference_mode():
            features = net(torch.zeros(1, 3, px, px))
    except BUILDING as error:
        raise AcinusError(
            f"embed.input_px = {px}: the network takes no patches of {px} px ({brief(error)}); set embed.input_px to "
            "its own size, or embed.arguments.dynamic_img_size: true"
        ) from error
    if features.ndim != 2 or not features.shape[1]:
        raise AcinusError(f"embed.pooling: the network gives {tuple(features.shape[1:])} per patch; say another")
    return int(features.shape[1])
