"""What cannot be done, each in the one text that whoever finds it says: settings against each other or the machine.

The recipe's reader finds what its file tells, `preflight` what the machine tells, both before any work; what only a
slide or a library tells is found where it is met. A function returns the fault, or None where there is none.
"""

import math
from collections.abc import Iterable
from pathlib import Path

from acinus.errors import install_extra

PACKAGED = "tf_efficientnet_lite0"
"""The network whose weights come as a Python package, by timm's name."""
SOURCES = "none (from scratch), imagenet (from the hub), package (tf_efficientnet_lite0) or a .safetensors file"
IMAGE_CODECS = ("jpeg", "png", "source")
"""Codecs of patches that make image files."""

CELL_TOLERANCE = 0.01
"""The share by which cells may differ from a map's px: pyramids round their sizes (slides.geometry.MPP_TOLERANCE)."""


def no_image_files(codec: str, backend: str, able: Iterable[str] = IMAGE_CODECS) -> str:
    """Return that a codec is none of those `able` to make the image files which a backend keeps."""
    return (
        f"extract.codec = {codec!r} makes no image files, which extract.backend = {backend!r} keeps; "
        f"choose a codec of {', '.join(able)}, or another backend"
    )


def source_fault(weights: str) -> str | None:
    """Return why weights are none of `SOURCES`."""
    if weights in {"none", "imagenet", "package"} or weights.endswith(".safetensors"):
        return None
    return f"train.weights = {weights!r}: unknown; use {SOURCES}"


def package_fault(name: str, key: str, section: str = "train") -> str | None:
    """Return why the weights of the package are not those of the network `name`, which the recipe's `key` names."""
    if name == PACKAGED:
        return None
    others = "none, imagenet or a .safetensors file" if section == "train" else "none or imagenet"
    return (
        f"{section}.weights = 'package' holds {PACKAGED} only, found {key} = {name!r}; "
        f"set {key}: {PACKAGED}, or {section}.weights to {others}"
    )


def weights_file_fault(root: Path, weights: str) -> str | None:
    """Return why there is no file where `train.weights` says; a relative path is meant from the project at `root`."""
    try:
        if (root / Path(weights).expanduser()).is_file():
            return None
    except RuntimeError as error:
        return f"train.weights = {weights!r}: no such user's home ({error}); write ~/ or the whole path"
    return f"train.weights = {weights!r}: no such file; put it there or name another"


def map_fault(map_downsample: float, edge0: float) -> str | None:
    """Return why a map has no px of `map_downsample` level-0 px under windows of `edge0` level-0 px."""
    largest = math.ceil(edge0 - 1e-6)
    if map_downsample <= largest:
        return None
    return (
        f"map downsample {map_downsample:g} is larger than a window of {largest} level-0 px; "
        f"lower infer.map_downsample to at most {largest}"
    )


def cell_fault(map_downsample: float, cell_px: int, edge0: float) -> str | None:
    """Return why a map's px is not a cell of `cell_px`, which is `edge0` level-0 px."""
    if abs(map_downsample / edge0 - 1.0) <= CELL_TOLERANCE:
        return None
    return (
        f"infer.map_downsample = {map_downsample:g}, but a cell of {cell_px} px is {edge0:g} level-0 px; "
        "write that, so that the map has one value per cell"
    )


def running_fault(precision: str, engine: str, compiled: bool, device: str, section: str = "infer") -> str | None:
    """Return why a trained network cannot be run so on `device`: cpu, cuda, ... or auto, which may be either.

    section: of the recipe, that says the precision. Autocast is for GPUs: on a CPU without its own bf16 units
    ResNet-18 runs 6 to 8 times slower than in float32.
    """
    if engine == "openvino" and device not in {"cpu", "auto"}:
        return (
            f"infer.engine = 'openvino' runs on a CPU only, found device {device}; set infer.engine: torch, "
            "or compute.device: cpu"
        )
    if engine == "openvino" and compiled:
        return "infer.engine = 'openvino' with compute.compile: true; OpenVINO compiles by itself, set one of the two"
    if precision != "32-true" and device == "cpu":
        return (
            f"{section}.precision = {precision!r} runs on a GPU only, found device cpu (where it is several times "
            f"slower); set {section}.precision: 32-true, or compute.device: cuda"
        )
    return None


def training_fault(precision: str, device: str) -> str | None:
    """Return why a network cannot be trained so on `device`; bf16 a CPU can do, in place of fp16 it would take that."""
    if precision == "16-mixed" and device == "cpu":
        return (
            "train.precision = '16-mixed' trains on a GPU only, found device cpu; set train.precision: 32-true, "
            "or compute.device: cuda"
        )
    return None


def no_openvino(reason: str) -> str:
    """Return that openvino is asked for and cannot be imported."""
    return (
        f"infer.engine = 'openvino': the package cannot be imported ({reason}); {install_extra('openvino')}; "
        "or set infer.engine: torch"
    )


def no_package(reason: str, section: str = "train") -> str:
    """Return that the weights of the package are asked for and it cannot be imported."""
    return (
        f"{section}.weights = 'package': the package cannot be imported ({reason}); {install_extra('weights')}; "
        f"or set {section}.weights to none or imagenet"
    )
