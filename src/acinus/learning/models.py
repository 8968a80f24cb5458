"""Networks by name: a timm classifier, or an smp segmentation network, as a `ModelSpec` says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from acinus.errors import AcinusError
from acinus.learning import heads, segmenters
from acinus.learning.ensemble import Ensemble
from acinus.learning.spec import ModelSpec
from acinus.learning.weights import (
    check_name,
    check_source,
    classifier_layers,
    fill,
    hub_failure,
    keep_misfits,
    package_tensors,
    read_tensors,
    timm,
)

Rgb = tuple[float, float, float]


def build_model(spec: ModelSpec) -> nn.Module:
    """Return the network of `spec`: logits (n, classes), or (n, classes, h, w) of a segmentation.

    What no weights are given for is drawn from torch's generator: seed it first. Layers that the
    weights do not fit because the number of classes differs are drawn too.

    Raises:
        AcinusError: unknown name, or weights that cannot be had or do not fit.
    """
    check_source(spec.weights)
    if spec.members > 1:
        return Ensemble([build_model(replace(spec, members=1)) for _ in range(spec.members)])
    return segmenters.build(spec) if spec.task == "segmentation" else _classifier(spec)


def normalisation(spec: ModelSpec) -> tuple[Rgb, Rgb]:
    """Return (mean, std) of RGB in [0, 1] that the pretrained weights of the backbone were trained with."""
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


def _classifier(spec: ModelSpec) -> nn.Module:
    """Return the timm network, with its own classifier or with a hidden layer before the last."""
    check_name(spec.name)
    if spec.freeze and spec.dropout and spec.head_units is None:
        raise AcinusError(
            "train.freeze stops the dropout inside the network: set train.head_units, or train.dropout: 0"
        )
    net = _network(spec)
    layers = classifier_layers(spec.name)
    if spec.head_units is None:
        model = net
    else:
        model, layers = heads.with_head(net, spec.head_units, spec.dropout, spec.classes), (heads.HEAD,)
    if spec.weights.endswith(".safetensors"):
        _fill_from_file(model, spec, layers)
    if spec.freeze:
        heads.freeze(model, layers)
    return model


def _network(spec: ModelSpec) -> nn.Module:
    """Return the timm network, without a classifier where a head follows; a file's weights come later."""
    classes = spec.classes if spec.head_units is None else 0
    options = {"drop_rate": spec.dropout} if spec.dropout and spec.head_units is None else {}
    create = timm().create_model
    try:
        if spec.weights == "imagenet":
            return create(spec.name, pretrained=True, num_classes=classes, **options)
        if spec.weights == "package":
            state = package_tensors(spec.name, "train.model")
            model: Any = create(spec.name, **options)
            model.load_state_dict(state)
            model.reset_classifier(classes)
            return model
        return create(spec.name, num_classes=classes, **options)
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
    headed = any(key.startswith(f"{heads.BACKBONE}.") for key in state)
    own_layers = classifier_layers(spec.name)
    if spec.head_units is None and headed:
        body = {key: value for key, value in state.items() if not key.startswith(f"{heads.HEAD}.")}
        state = {key.removeprefix(f"{heads.BACKBONE}."): value for key, value in body.items()}
    elif spec.head_units is not None and not headed:
        state = {f"{heads.BACKBONE}.{key}": value for key, value in state.items()}
        layers = (*layers, *(f"{heads.BACKBONE}.{layer}" for layer in own_layers))
    own: dict[str, Tensor] = model.state_dict()
    fill(model, keep_misfits(state, own, layers), path)
