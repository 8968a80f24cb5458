"""Networks by name: a timm classifier, or an smp segmentation network, as a `ModelSpec` says; several as one.

A classifier may have a hidden layer before the last one, and a backbone that stays as it was loaded.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acinus.errors import AcinusError
from acinus.learning import plugged, segmenters
from acinus.learning.inputs import Rgb
from acinus.learning.weights import (
    ModelSpec,
    check_name,
    classifier_layers,
    fill,
    hub_failure,
    keep_misfits,
    package_tensors,
    read_tensors,
    timm,
)
from acinus.params.faults import source_fault

BACKBONE, HEAD = "backbone", "head"
"""The names of the two parts of a network made by `with_head`, and so the first word of its tensors' names."""


class Ensemble(nn.Module):
    """Networks of the same input and output; answers log of their mean probability, which are logits of that mean."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        """Take the networks, at least one."""
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 (n, classes, ...)."""
        each = torch.stack([member(x).float().log_softmax(dim=1) for member in self.members])
        return torch.logsumexp(each, dim=0) - math.log(len(self.members))


def build_model(spec: ModelSpec) -> nn.Module:
    """Return the network of `spec`: logits (n, classes), or (n, classes, h, w) of a segmentation.

    What no weights are given for is drawn from torch's generator: seed it first. Layers that the
    weights do not fit because the number of classes differs are drawn too.

    Raises:
        AcinusError: unknown name, or weights that cannot be had or do not fit.
    """
    if (fault := source_fault(spec.weights)) is not None:
        raise AcinusError(fault)
    if spec.members > 1:
        return Ensemble([build_model(replace(spec, members=1)) for _ in range(spec.members)])
    return segmenters.build(spec) if spec.task == "segmentation" else _classifier(spec)


def normalisation(spec: ModelSpec) -> tuple[Rgb, Rgb]:
    """Return (mean, std) of RGB in [0, 1] that the pretrained weights of the backbone were trained with."""
    if not plugged.has(spec.backbone):
        check_name(spec.backbone, spec.backbone_key)
    config = timm().get_pretrained_cfg(spec.backbone, allow_unregistered=True)
    mean, std = (config.mean, config.std) if config else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def check_input(spec: ModelSpec, px: int, batch_size: int = 2) -> None:
    """Refuse an input edge, or a training batch, that the network cannot take.

    Raises:
        AcinusError: the network takes one size only, nothing that small, or more patches at once.
    """
    if spec.task == "segmentation":
        segmenters.check(spec, px, batch_size)
        return
    if plugged.is_checked(spec.name, spec.classes, px, batch_size):
        return
    check_name(spec.name)
    config = timm().get_pretrained_cfg(spec.name, allow_unregistered=True)
    if config is None:
        return
    if config.fixed_input_size and config.input_size[-1] != px:
        raise AcinusError(
            f"train.model = {spec.name!r} takes patches of {config.input_size[-1]} px only, found {px}; "
            f"set train.input_px: {config.input_size[-1]}"
        )
    if config.min_input_size and px < config.min_input_size[-1]:
        raise AcinusError(
            f"train.model = {spec.name!r} needs at least {config.min_input_size[-1]} px, found {px}; "
            f"set train.input_px: {config.min_input_size[-1]} or more"
        )


def with_head(backbone: Any, units: int, dropout: float, classes: int) -> nn.Module:
    """Return `backbone` (timm, no classifier: pooled features) below Linear, ReLU, Dropout and Linear.

    AcinusError: no unit at all.
    """
    if units < 1:
        raise AcinusError(f"train.head_units = {units}: a hidden layer has at least 1; leave it out for none")
    features = int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)
    head = nn.Sequential(nn.Linear(features, units), nn.ReLU(), nn.Dropout(dropout), nn.Linear(units, classes))
    return nn.Sequential(OrderedDict([(BACKBONE, backbone), (HEAD, head)]))


def freeze(model: nn.Module, trained: tuple[str, ...]) -> None:
    """Keep everything of `model` but the layers `trained` as it is: weights, batch statistics, no dropout.

    The frozen layers go into evaluation mode at each pass, whatever `model.train()` said in between; no
    gradient is kept for them, as none of their weights asks for one.
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

    def with_trained(name: str) -> bool:
        """Return whether a layer is a trained one, holds one or lies in one."""
        return any(f"{name}.".startswith(f"{layer}.") or f"{layer}.".startswith(f"{name}.") for layer in trained)

    frozen = [name for name in modules if name and not with_trained(name)]
    model.register_forward_pre_hook(partial(_hold, frozen))


def _hold(frozen: list[str], model: nn.Module, _inputs: Any) -> None:
    """Put the frozen layers into evaluation mode, just before a pass.

    By name, so that a copy of the model holds its own layers; before each pass and not once, because
    whoever trains calls `train()` on the whole network.
    """
    for name in frozen:
        model.get_submodule(name).training = False


def _classifier(spec: ModelSpec) -> nn.Module:
    """Return the timm network, with its own classifier or with a hidden layer before the last; or a plug-in's."""
    own = plugged.network(spec.name, spec.classes)
    if own is not None:
        if spec.weights.endswith(".safetensors"):
            fill(own, read_tensors(Path(spec.weights)), Path(spec.weights))
        return own
    check_name(spec.name)
    if spec.freeze and spec.dropout and spec.head_units is None:
        raise AcinusError(
            "train.freeze stops the dropout inside the network: set train.head_units, or train.dropout: 0"
        )
    model, layers = _network(spec), classifier_layers(spec.name)
    if spec.head_units is not None:
        model, layers = with_head(model, spec.head_units, spec.dropout, spec.classes), (HEAD,)
    if spec.weights.endswith(".safetensors"):
        _fill_from_file(model, spec, layers)
    if spec.freeze:
        freeze(model, layers)
    return model


def _network(spec: ModelSpec) -> nn.Module:
    """Return the timm network, without a classifier where a head follows; a file's weights come later."""
    classes = spec.classes if spec.head_units is None else 0
    options = {"drop_rate": spec.dropout} if spec.dropout and spec.head_units is None else {}
    create = timm().create_model
    try:
        if spec.weights == "package":
            state = package_tensors(spec.name, "train.model")
            model: Any = create(spec.name, **options)
            model.load_state_dict(state)
            model.reset_classifier(classes)
            return model
        return create(spec.name, pretrained=spec.weights == "imagenet", num_classes=classes, **options)
    except TypeError as error:
        if not options:
            raise
        raise AcinusError(
            f"train.dropout = {spec.dropout}: {spec.name} has no dropout; set it to 0, or train.head_units"
        ) from error
    except (OSError, RuntimeError) as error:  # offline, not on the hub; timm raises RuntimeError without any
        if spec.weights != "imagenet":
            raise
        raise hub_failure(spec.name, "train.model", error) from error


def _fill_from_file(model: nn.Module, spec: ModelSpec, layers: tuple[str, ...]) -> None:
    """Load a file's weights, of the bare network or of one with a head; a head of another size stays as drawn."""
    path = Path(spec.weights)
    state = read_tensors(path)
    headed = any(key.startswith(f"{BACKBONE}.") for key in state)
    if spec.head_units is None and headed:
        body = {key: value for key, value in state.items() if not key.startswith(f"{HEAD}.")}
        state = {key.removeprefix(f"{BACKBONE}."): value for key, value in body.items()}
    elif spec.head_units is not None and not headed:
        state = {f"{BACKBONE}.{key}": value for key, value in state.items()}
        layers = (*layers, *(f"{BACKBONE}.{layer}" for layer in classifier_layers(spec.name)))
    fill(model, keep_misfits(state, model.state_dict(), layers), path)
