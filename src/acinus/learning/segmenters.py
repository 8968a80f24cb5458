"""Segmentation networks: an smp architecture by name on a timm encoder by name.

The encoder is always timm's, whatever smp has of the same name: one list of names, one place that
weights and normalisation come from. (smp's own ResNets differ from timm's in the names of tensors only.)
"""

import difflib
import math
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acinus.errors import AcinusError, brief
from acinus.learning import plugged, torchvision_hook
from acinus.learning.weights import (
    ModelSpec,
    check_name,
    fill,
    hub_failure,
    keep_misfits,
    package_tensors,
    read_tensors,
)
from acinus.plugins import finding

_UNFIT = (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, LookupError, UserWarning)
"""What smp and timm raise for an encoder without the stages or strides that an architecture needs."""


class Padded(nn.Module):
    """A network that needs edges divisible by `multiple`, for any edges: padded by reflection, cropped back."""

    def __init__(self, net: nn.Module, multiple: int) -> None:
        """Take the network, whose output has the size of its input."""
        super().__init__()
        self.net: Any = net  # smp: has an encoder
        self.multiple = multiple

    def forward(self, x: Tensor) -> Tensor:
        """Return float (n, classes, h, w) logits of (n, 3, h, w) input."""
        height, width = x.shape[-2:]
        down, right = -height % self.multiple, -width % self.multiple
        if down or right:  # on the right and below, so that px (0, 0) stays where it is
            mode = "reflect" if down < height and right < width else "replicate"
            x = F.pad(x, (0, right, 0, down), mode=mode)
        return self.net(x)[..., :height, :width]


def build(spec: ModelSpec) -> nn.Module:
    """Return the segmentation network of `spec`: logits (n, classes, h, w) at the size of the input.

    Weights go into the encoder; a file may also hold a whole network of this kind.

    Raises:
        AcinusError: unknown architecture or encoder, one that does not suit the other, or weights that
        cannot be had or do not fit.
    """
    _check_spec(spec)
    if spec.weights == "imagenet":  # whatever fails after this trial is the hub
        with torch.device("meta"):
            _network(spec)
    model = _network(spec, pretrained=spec.weights == "imagenet")
    encoder: Any = model.net.encoder.model
    if spec.weights == "package":
        state = package_tensors(spec.backbone, spec.backbone_key)
        encoder.load_state_dict({key: state[key] for key in encoder.state_dict()})
    elif spec.weights.endswith(".safetensors"):
        _fill_from_file(model, Path(spec.weights), whole=spec.encoder is None)
    return model


def check(spec: ModelSpec, px: int, batch_size: int) -> None:
    """Refuse an input edge or a batch that the network cannot train on: tried, without computing anything.

    Raises:
        AcinusError: it fails, or does not answer every px.
    """
    _check_spec(spec)
    patches = min(batch_size, 2)
    where = f"train.model = {spec.name!r} on train.encoder = {spec.encoder!r}"
    with torch.device("meta"):
        model = _network(spec).train()
        try:
            answer = tuple(model(torch.empty(patches, 3, px, px)).shape[-2:])
        except _UNFIT as error:
            remedy = "another train.input_px" if batch_size > 1 else "a larger train.batch_size"
            raise AcinusError(
                f"{where}: cannot train on batches of {batch_size} with {px} px ({brief(error)}); "
                f"set {remedy}, or another train.model"
            ) from error
    if answer != (px, px):
        raise AcinusError(
            f"{where}: answers {answer[0]} x {answer[1]} of {px} x {px} px, as this encoder does not keep to the grid; "
            "set another train.encoder"
        )


def check_architecture(name: str) -> None:
    """Refuse a name that smp does not know: an AcinusError with those that it does."""
    names = sorted(_smp().MODEL_ARCHITECTURES_MAPPING)
    if name not in names:
        close = difflib.get_close_matches(name.lower(), names, n=1)
        hint = f"; close to it: {close[0]}" if close else ""
        added = ", ".join(finding.found("network")) or "none"
        raise AcinusError(
            f"train.model = {name!r}: no such architecture; known are {', '.join(names)}{hint}; plug-ins: {added}"
        )


def _check_spec(spec: ModelSpec) -> None:
    """Refuse unknown names, and settings that belong to a classifier."""
    if spec.encoder is None and plugged.has(spec.name):
        return
    check_architecture(spec.name)
    if spec.encoder is None:
        raise AcinusError(f"train.encoder: missing; name a timm network for train.model = {spec.name!r} to stand on")
    if not plugged.has(spec.encoder):
        check_name(spec.encoder, "train.encoder")
    if spec.head_units is not None or spec.freeze or spec.dropout:
        raise AcinusError(
            "train.head_units, train.freeze and train.dropout are for task patch_classification; leave them out"
        )


def _network(spec: ModelSpec, *, pretrained: bool = False) -> Padded:
    """Return smp's network in its wrapper, the encoder with timm's pretrained weights or drawn; or a plug-in's."""
    if spec.encoder is None and (own := plugged.network(spec.name, spec.classes)) is not None:
        return Padded(own, max(plugged.STRIDES))
    encoder, maker = f"tu-{spec.encoder}", plugged.encoder_maker(spec.encoder or "")
    if maker is not None:
        encoder = f"plug-in {spec.encoder}"
        _smp().encoders.encoders[encoder] = {"encoder": maker, "params": {}, "pretrained_settings": {}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # smp warns of encoders that then fail
            net = _smp().create_model(
                spec.name,
                encoder_name=encoder,
                encoder_weights=True if pretrained else None,  # smp: True is timm's own for this encoder
                classes=spec.classes,
            )
    except (OSError, *_UNFIT) as error:
        if pretrained:
            raise hub_failure(spec.backbone, spec.backbone_key, error) from error
        raise AcinusError(
            f"train.encoder = {spec.encoder!r} does not suit train.model = {spec.name!r} ({brief(error)}); "
            "set another of the two (resnet18, resnet50 and tf_efficientnet_lite0 suit all but dpt)"
        ) from error
    return Padded(net, math.lcm(32, net.encoder.output_stride))  # 32: what the coarsest decoders halve down to


def _fill_from_file(model: Padded, path: Path, whole: bool) -> None:
    """Load a file's weights: of a whole network like this, or of the bare encoder, with or without classifier.

    whole: the network is a plug-in's, of which a file holds all, with or without the wrapper.

    timm names a stage `stages_0` in an encoder and `stages.0` in a classifier: both are read as one.
    """
    state = read_tensors(path)
    if whole:
        fill(model.net, {key.removeprefix("net."): value for key, value in state.items()}, path)
        return
    if any(key.startswith("net.encoder.") for key in state):
        fill(model, keep_misfits(state, model.state_dict(), ("net.segmentation_head",)), path)
        return
    encoder: Any = model.net.encoder.model
    names = {key.replace(".", "_"): key for key in encoder.state_dict()}
    body = {names[name]: value for key, value in state.items() if (name := key.replace(".", "_")) in names}
    fill(encoder, body or state, path)  # what is left over is the classifier, unless nothing fits at all


def _smp() -> Any:
    """Return segmentation_models_pytorch, imported where it is used: it imports timm and torchvision."""
    torchvision_hook.install()
    import segmentation_models_pytorch

    return segmentation_models_pytorch
