"""Encoders, from what a recipe says of them to a network and its features: made once, found again by checksum."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from acinus import params
from acinus.encoders import hub, tensors
from acinus.encoders.networks import Pooled, create, filled, pooled, width
from acinus.encoders.settings import Defaults, Settings, settled
from acinus.encoders.source import CONFIG, Config, Source, located, read_config, source, weights_in
from acinus.encoders.spec import ENCODER_FILE, OWN, EncoderSpec, Place
from acinus.errors import AcinusError
from acinus.files import atomic_path, sha256
from acinus.learning.card import WEIGHTS_FILE, load_model, read_card
from acinus.learning.device import FORMATS, mixed, pick, place
from acinus.learning.inputs import InputSpec, to_input, to_tensor
from acinus.learning.models import build_model, normalisation
from acinus.learning.weights import ModelSpec, check_name, fill, hub_failure, package_tensors, read_tensors, timm
from acinus.params.faults import package_fault

BATCH = 16
"""Patches per pass where nothing else is asked for; part of the result's bits."""
NO_MORE = params.Embed()
"""What a recipe says that names an encoder and no more."""


def own_encoder(model: Path) -> EncoderSpec:
    """Return the encoder of the trained network in the folder `model`."""
    card = read_card(model)
    return EncoderSpec(
        name=OWN, weights_sha256=sha256(model / WEIGHTS_FILE), px=card.input_px, mean=card.mean, std=card.std
    )


def make_encoder(
    name: str, weights: str, patch_px: int, folder: Path, seed: int, embed: params.Embed = NO_MORE, root: Path = Path()
) -> EncoderSpec:
    """Build the encoder that `embed.encoder` and `embed.weights` name and return what it is.

    Weights without a place of their own (timm's, the package's, drawn ones) are written into `folder`. patch_px: edge
    of the patches that it will get; embed: the recipe's further settings; root: of the project, for relative paths.

    Raises:
        AcinusError: unknown name, weights that cannot be had or do not fit, or settings that contradict the encoder.
    """
    origin = source(name, weights, root)
    if origin.kind != "timm":
        return _referenced(name, origin, patch_px, embed, root)
    check_name(name, "embed.encoder")
    if weights == "package" and (fault := package_fault(name, "embed.encoder", "embed")) is not None:
        raise AcinusError(fault)
    settings = settled(Config(name), None, embed, patch_px, _defaults(name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _of_timm(name, weights, settings)
    features = width(pooled(net, settings.pooling), settings.px)
    save_tensors(net, folder / ENCODER_FILE)
    return _spec(name, settings, _agreed(folder / ENCODER_FILE, embed), features)


def load_encoder(spec: EncoderSpec, model: Path, folder: Path, root: Path = Path()) -> nn.Module:
    """Return the encoder of `spec` as a network (n, 3, px, px) -> (n, d), in evaluation mode on the CPU.

    model: folder of the trained network; folder: that of the features or of the grader; root: of the project.

    Raises:
        AcinusError: the weights are missing, or not those that the spec was made with.
    """
    path = _weights_path(spec, model, folder, root)
    if _checksum(path, path.stat().st_size, path.stat().st_mtime_ns) != spec.weights_sha256:
        raise AcinusError(
            f"{path}: not the weights that the grader was trained on; put those back (SHA-256 "
            f"{spec.weights_sha256[:12]}...), or run the stages embed and grade again"
        )
    if spec.name == OWN:
        return Pooled(load_model(model)[0]).eval()
    if spec.place is None and not spec.arguments and spec.pooling is None:
        net = build_model(ModelSpec(task="patch_classification", name=spec.name, classes=2))
        fill(net, read_tensors(path), path)
        return Pooled(net).eval()
    return pooled(filled(spec.architecture or spec.name, spec.arguments, tensors.read(path), str(path)), spec.pooling)


def patch_features(
    encoder: nn.Module,
    patches: np.ndarray,
    spec: EncoderSpec,
    device: str,
    batch_size: int = BATCH,
    precision: str = "32-true",
) -> np.ndarray:
    """Return float32 (n, d) features of uint8 (n, h, w, 3) patches, n at least 1.

    Bits repeat for the same patches and batch size on the same device, build and thread count
    (`device.reproducible`). precision: 32-true, or bf16-mixed or 16-mixed for autocast on a GPU.

    Raises:
        AcinusError: features of another width than the spec's.
    """
    where, inputs = pick(device), InputSpec(spec.mean, spec.std, spec.px)
    place(encoder, where)
    run = mixed(encoder, where, FORMATS[precision]) if precision in FORMATS else encoder
    parts = []
    with torch.inference_mode():
        for start in range(0, len(patches), batch_size):
            batch = to_tensor(patches[start : start + batch_size]).to(where)
            parts.append(run(to_input(batch, inputs)).float().cpu())
    features = torch.cat(parts).numpy()
    if spec.width is not None and features.shape[1] != spec.width:
        raise AcinusError(
            f"encoder {spec.name}: gives {features.shape[1]} features per patch, {spec.width} were noted when it was "
            "first used; run the stage embed again"
        )
    return features


def save_tensors(net: nn.Module, path: Path) -> None:
    """Write a network's weights, whole or not at all; the same weights give the same bytes."""
    from safetensors.torch import save

    state = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    with atomic_path(path) as part:
        part.write_bytes(save(state))


def _is_plain(settings: Settings) -> bool:
    """Return whether it is a network of timm as it comes, which keeps its classifier's place."""
    return not settings.arguments and settings.pooling is None


def _of_timm(name: str, weights: str, settings: Settings) -> nn.Module:
    """Return a network of timm with its own weights, the package's or drawn ones. AcinusError: they cannot be had."""
    if weights == "package" and not _is_plain(settings):
        return filled(name, settings.arguments, package_tensors(name, "embed.encoder"), "the package's weights")
    try:
        if _is_plain(settings):
            return build_model(ModelSpec(task="patch_classification", name=name, classes=2, weights=weights))
        return create(name, settings.arguments, pretrained=weights == "imagenet").eval()
    except (OSError, RuntimeError) as error:
        raise hub_failure(name, "embed.encoder", error) from error
    except AcinusError as error:
        if isinstance(error.__cause__, OSError | RuntimeError):  # the same, of a network in training
            raise hub_failure(name, "embed.encoder", error.__cause__) from error
        raise AcinusError(f"embed.encoder = {name!r} with embed.weights = {weights!r}: {error}") from error


def _referenced(name: str, origin: Source, patch_px: int, embed: params.Embed, root: Path) -> EncoderSpec:
    """Return the encoder whose weights stay where they are."""
    path, where, config = _brought(origin, root)
    known, own = origin.known, origin.architecture
    if own is not None and config.architecture != own:
        raise AcinusError(
            f"embed.encoder = {name!r} is a {own}, the {CONFIG} of its weights says {config.architecture}; these are "
            "weights of another encoder"
        )
    check_name(config.architecture, "embed.encoder" if own is not None else f"{path.parent / CONFIG}: architecture")
    settings = settled(config, known, embed, patch_px, _defaults(config.architecture))
    checksum = _agreed(path, embed)
    net = pooled(filled(config.architecture, settings.arguments, tensors.read(path), str(path)), settings.pooling)
    features = width(net, settings.px)
    if known is not None and settings.pooling == known.pooling and features != known.width:
        raise AcinusError(f"{path}: gives {features} features per patch, {known.name} has {known.width}")
    return _spec(name, settings, checksum, features, where)


def _brought(origin: Source, root: Path) -> tuple[Path, Place, Config]:
    """Return the file of weights, how to find it again, and what comes with it; a known encoder needs no config.json.

    Raises:
        AcinusError: what is missing or damaged.
    """
    if origin.hub is not None:
        try:
            config_file = hub.fetch(origin.hub, CONFIG)
        except FileNotFoundError:
            config_file = None
        path = hub.weights(origin.hub)
        where = Place(file=path.name, hub=origin.hub.partition("@")[0], revision=hub.commit(path))
    else:
        folder = located(str(origin.path), root)
        file = Path(str(origin.path)) / (weights_in(folder) if origin.kind == "folder" else "")
        path, where = located(str(file), root), Place(file=file.as_posix())
        config_file = folder / CONFIG if origin.kind == "folder" else None
    if origin.architecture is not None and (config_file is None or not config_file.exists()):
        return path, where, Config(origin.architecture)
    return path, where, read_config(config_file or path.parent / CONFIG)


def _spec(
    name: str, settings: Settings, checksum: str, features: int | None, where: Place | None = None
) -> EncoderSpec:
    return EncoderSpec(
        name=name,
        weights_sha256=checksum,
        px=settings.px,
        mean=settings.mean,
        std=settings.std,
        architecture=None if settings.architecture == name else settings.architecture,
        arguments=settings.arguments,
        pooling=settings.pooling,
        width=features,
        mpp=settings.mpp,
        place=where,
    )


def _agreed(path: Path, embed: params.Embed) -> str:
    """Return the checksum of a file of weights. AcinusError: the recipe asks for another."""
    checksum = sha256(path)
    if embed.weights_sha256 not in {None, checksum}:
        raise AcinusError(
            f"embed.weights_sha256: {path} has {checksum}, the recipe asks for {embed.weights_sha256}; these are other "
            "weights: bring the right ones, or write theirs"
        )
    return checksum


def _defaults(architecture: str) -> Defaults:
    mean, std = normalisation(ModelSpec(task="patch_classification", name=architecture, classes=2))
    config = timm().get_pretrained_cfg(architecture, allow_unregistered=True)
    return Defaults(mean, std, config.input_size[-1] if config and config.fixed_input_size else None)


def _weights_path(spec: EncoderSpec, model: Path, folder: Path, root: Path) -> Path:
    """Return the file of an encoder's weights. AcinusError: it is not there."""
    if spec.place is not None and spec.place.hub is not None:
        revision = f"@{spec.place.revision}" if spec.place.revision else ""
        return hub.fetch(f"{spec.place.hub}{revision}", spec.place.file)
    if spec.place is not None:
        path, why = located(spec.place.file, root), "put them back there"
    else:
        path = model / WEIGHTS_FILE if spec.name == OWN else folder / ENCODER_FILE
        why = "run the stages that write it again"
    if not path.is_file():
        raise AcinusError(f"{path}: not found; these are the weights of the encoder {spec.name}: {why}")
    return path


@lru_cache(maxsize=16)
def _checksum(path: Path, size: int, modified: int) -> str:
    """Return a file's SHA-256; a file of the same size and time is not read twice by one process."""
    return sha256(path)
