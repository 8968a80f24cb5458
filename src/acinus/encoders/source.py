"""What `embed.encoder` and `embed.weights` mean together: a network of timm, the hub, a folder or a file of weights.

No torch here: `preflight` asks the same before any work.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from acinus.encoders.arguments import checked
from acinus.encoders.known import HUB, KNOWN, KnownEncoder, find
from acinus.encoders.spec import Rgb, Value
from acinus.errors import AcinusError, brief
from acinus.params.faults import PACKAGED

LOCAL = "local-dir:"
"""What timm puts before the path of a folder; it may be left out where the path exists."""
CONFIG = "config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of weights in the hub's layout, the first that is there counts."""
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
LARGEST_CONFIG = 1 << 20
"""Bytes of a config.json; real ones have a few hundred."""
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}(@[\w./-]{1,100})?")


@dataclass(frozen=True)
class Source:
    """Where an encoder comes from.

    hub: org/name@revision. path: the folder or file of its weights, as the recipe has it. architecture: timm's name
    where it is not for a config.json to say. known: what the table knows of it.
    """

    kind: Literal["timm", "hub", "folder", "file"]
    architecture: str | None = None
    hub: str | None = None
    path: str | None = None
    known: KnownEncoder | None = None


@dataclass(frozen=True)
class Config:
    """What a config.json in timm's format says of a model; None: nothing."""

    architecture: str
    arguments: Mapping[str, Value] = field(default_factory=dict)
    px: int | None = None
    mean: Rgb | None = None
    std: Rgb | None = None


def is_weights(weights: str) -> bool:
    """Return whether `embed.weights` names a file or folder rather than a word."""
    return weights.endswith(SUFFIXES) or "/" in weights or "\\" in weights


def source(encoder: str, weights: str, root: Path = Path()) -> Source:
    """Return where the encoder of a recipe comes from; relative paths are meant from the project at `root`.

    Raises:
        AcinusError: an encoder that cannot be read here, weights that do not go with it, a path that is not there.
    """
    known = find(encoder)
    if known is not None and known.needs is not None:
        raise AcinusError(
            f"embed.encoder = {encoder!r}: the weights of {known.name} are in the format of {known.needs}, which is "
            f"not read; {known.note or 'choose another encoder (acinus encoders lists them)'}"
        )
    if encoder.startswith(HUB) or (known is not None and known.hub is not None):
        return _from_hub(encoder, weights, known, root)
    if encoder.startswith((LOCAL, "~", ".", "/")) or (root / encoder / CONFIG).is_file():
        return _from_folder(encoder.removeprefix(LOCAL), weights, root)
    if "/" in encoder or encoder.endswith(SUFFIXES):
        hint = f"write {HUB}{encoder} for a model of the hub" if HUB_NAME.fullmatch(encoder) else "see acinus encoders"
        raise AcinusError(
            f"embed.encoder = {encoder!r}: no folder of that name with {CONFIG}, no network of timm; {hint}"
        )
    if is_weights(weights):
        kind = _kind(_existing(weights, "embed.weights", root))
        return Source(kind, architecture=encoder.partition(".")[0], path=weights)
    if weights == "hub":
        raise AcinusError(
            f"embed.weights = 'hub': timm's own weights of {encoder} are called imagenet; or write embed.encoder: "
            f"{HUB}org/name"
        )
    if weights not in {"none", "imagenet", "package"}:
        raise AcinusError(
            f"embed.weights = {weights!r}: unknown; use none (drawn), imagenet, package ({PACKAGED}) or the path of a "
            f"file of weights ({', '.join(SUFFIXES)})"
        )
    return Source("timm", architecture=encoder)


def _from_hub(encoder: str, weights: str, known: KnownEncoder | None, root: Path) -> Source:
    name = encoder.removeprefix(HUB) if encoder.startswith(HUB) else str(known.hub if known else "")
    if not HUB_NAME.fullmatch(name):
        raise AcinusError(
            f"embed.encoder = {encoder!r}: a model of the hub is {HUB}org/name, or {HUB}org/name@revision"
        )
    architecture = known.architecture if known else None
    if is_weights(weights):
        path = _existing(weights, "embed.weights", root)
        if path.is_file() and architecture is None:
            raise AcinusError(
                f"embed.weights = {weights!r}: a file does not say the network that it belongs to; set embed.encoder "
                f"to timm's name of it, or embed.weights to a folder with {CONFIG} beside the weights"
            )
        return Source(_kind(path), architecture=architecture, path=weights, known=known)
    if weights not in {"imagenet", "hub"}:
        raise AcinusError(
            f"embed.weights = {weights!r}: {encoder} comes with weights of its own; leave embed.weights out, or give "
            "the path of a copy"
        )
    return Source("hub", architecture=architecture, hub=name, known=known)


def _kind(path: Path) -> Literal["folder", "file"]:
    return "folder" if path.is_dir() else "file"


def _from_folder(folder: str, weights: str, root: Path) -> Source:
    path = _existing(folder, "embed.encoder", root)
    if path.is_file():
        raise AcinusError(
            f"embed.encoder = {folder!r}: a file of weights does not say its network; set embed.encoder to timm's name "
            f"of it (or one of acinus encoders), and embed.weights: {folder}"
        )
    if is_weights(weights) or weights not in {"imagenet", "hub"}:
        raise AcinusError(f"embed.weights = {weights!r}: the folder {folder} has weights of its own; leave it out")
    return Source("folder", path=folder)


def located(path: str, root: Path) -> Path:
    """Return the place of a path of a recipe, which is meant from the project at `root`. AcinusError: no such home."""
    try:
        return root / Path(path).expanduser()
    except RuntimeError as error:
        raise AcinusError(f"{path}: no such user's home ({error}); write the whole path") from error


def _existing(path: str, key: str, root: Path) -> Path:
    place = located(path, root)
    if not place.exists():
        raise AcinusError(f"{key} = {path!r}: no such file or folder; put it there or name another")
    return place


def weights_in(folder: Path) -> str:
    """Return the name of the file of weights in a folder of the hub's layout. AcinusError: there is none."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return name
    raise AcinusError(f"{folder}: no {' or '.join(WEIGHT_FILES)} here; copy all files of the model into this folder")


def read_config(path: Path) -> Config:
    """Return what a config.json says. Outside text: bounded, and only what `arguments` knows goes on to timm.

    Raises:
        AcinusError: no file, no JSON, none of timm's format, or a value that no network can have.
    """
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise AcinusError(f"{path}: {path.stat().st_size} bytes are no {CONFIG} of a model; download it again")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AcinusError(
            f"{path}: not found; a folder in the hub's layout has {CONFIG} beside {' or '.join(WEIGHT_FILES)}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise AcinusError(f"{path}: not valid JSON ({brief(error, 80)}); download it again") from error
    if not isinstance(content, dict) or not isinstance(content.get("architecture"), str):
        other = isinstance(content, dict) and ("model_type" in content or "architectures" in content)
        why = "in the format of transformers, which is not read" if other else "without timm's key architecture"
        raise AcinusError(f"{path}: a config {why}; take the model in timm's format (acinus encoders lists some)")
    name = content["architecture"][:100]
    inner = content.get("pretrained_cfg", content)  # older files have one level
    inner = inner if isinstance(inner, dict) else {}
    arguments = content.get("model_args") or {}
    if not isinstance(arguments, dict):
        raise AcinusError(f"{path}: model_args is no object; download it again")
    return Config(
        architecture=name,
        arguments=checked(arguments, f"{path}: model_args"),
        px=_px(inner.get("input_size"), path),
        mean=_rgb(inner.get("mean"), f"{path}: mean"),
        std=_rgb(inner.get("std"), f"{path}: std", above=0.0),
    )


def _px(size: Any, path: Path) -> int | None:
    if size is None:
        return None
    edge = size[1] if isinstance(size, list) and len(size) == 3 and size[0] == 3 and size[1] == size[2] else None
    if type(edge) is int and 8 <= edge <= 4096:
        return edge
    raise AcinusError(f"{path}: input_size = {str(size)[:40]}; a patch is [3, edge, edge], edge from 8 to 4096")


def _rgb(values: Any, where: str, above: float = -1e-9) -> Rgb | None:
    if values is None:
        return None
    numbers = isinstance(values, list) and len(values) == 3 and all(type(value) in {int, float} for value in values)
    if numbers and all(math.isfinite(value) and above < value <= 1.0 for value in values):
        return float(values[0]), float(values[1]), float(values[2])
    raise AcinusError(f"{where} = {str(values)[:60]}; three numbers of RGB in [0, 1] are expected")


def names() -> str:
    """Return the names of the table, for an error's text."""
    return ", ".join(KNOWN)
