"""What a grader sees of a patch: the pooled features of an encoder, the trained network's own or timm's."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from acinus.encoders.spec import OWN, EncoderSpec
from acinus.errors import AcinusError
from acinus.files import atomic_path, sha256
from acinus.learning.card import WEIGHTS_FILE, load_model, read_card
from acinus.learning.device import pick, place
from acinus.learning.inputs import InputSpec, to_input, to_tensor
from acinus.learning.models import BACKBONE, Ensemble, build_model, normalisation
from acinus.learning.segmenters import Padded
from acinus.learning.weights import ModelSpec, check_name, fill, read_tensors, timm
from acinus.params.faults import package_fault

ENCODER_FILE = "encoder.safetensors"
BATCH = 16
"""Patches per pass; part of the result's bits, so no setting."""


def own_encoder(model: Path) -> EncoderSpec:
    """Return the encoder of the trained network in the folder `model`."""
    card = read_card(model)
    return EncoderSpec(
        name=OWN, weights_sha256=sha256(model / WEIGHTS_FILE), px=card.input_px, mean=card.mean, std=card.std
    )


def make_encoder(name: str, weights: str, patch_px: int, folder: Path, seed: int) -> EncoderSpec:
    """Build the timm network `name`, write its weights into `folder` and return what it is.

    Raises:
        AcinusError: unknown name, or weights that cannot be had.
    """
    check_name(name, "embed.encoder")
    if weights == "package" and (fault := package_fault(name, "embed.encoder", "embed")) is not None:
        raise AcinusError(fault)
    spec = ModelSpec(task="patch_classification", name=name, classes=2, weights=weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            net = build_model(spec)
        except AcinusError as error:
            raise AcinusError(f"embed.encoder = {name!r} with embed.weights = {weights!r}: {error}") from error
    save_tensors(net, folder / ENCODER_FILE)
    config = timm().get_pretrained_cfg(name, allow_unregistered=True)
    px = config.input_size[-1] if config and config.fixed_input_size else patch_px
    mean, std = normalisation(spec)
    return EncoderSpec(name=name, weights_sha256=sha256(folder / ENCODER_FILE), px=px, mean=mean, std=std)


def load_encoder(spec: EncoderSpec, model: Path, folder: Path) -> nn.Module:
    """Return the encoder of `spec` as a network (n, 3, px, px) -> (n, d), in evaluation mode on the CPU.

    model: folder of the trained network; folder: the grader's.

    Raises:
        AcinusError: the weights are missing, or not those that the grader was trained on.
    """
    path = model / WEIGHTS_FILE if spec.name == OWN else folder / ENCODER_FILE
    if not path.is_file():
        raise AcinusError(f"{path}: not found; the grader needs these weights, run the stages train and grade again")
    if sha256(path) != spec.weights_sha256:
        raise AcinusError(f"{path}: not the weights that the grader was trained on; run the stage grade again")
    if spec.name == OWN:
        return Pooled(load_model(model)[0]).eval()
    net = build_model(ModelSpec(task="patch_classification", name=spec.name, classes=2))
    fill(net, read_tensors(path), path)
    return Pooled(net).eval()


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


def patch_features(encoder: nn.Module, patches: np.ndarray, spec: EncoderSpec, device: str) -> np.ndarray:
    """Return float32 (n, d) features of uint8 (n, h, w, 3) patches, n at least 1.

    Bits repeat for the same patches on the same device, build and thread count (`device.reproducible`).
    """
    where, inputs = pick(device), InputSpec(spec.mean, spec.std, spec.px)
    place(encoder, where)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(patches), BATCH):
            batch = to_tensor(patches[start : start + BATCH]).to(where)
            parts.append(encoder(to_input(batch, inputs)).float().cpu())
    return torch.cat(parts).numpy()


def save_tensors(net: nn.Module, path: Path) -> None:
    """Write a network's weights, whole or not at all; the same weights give the same bytes."""
    from safetensors.torch import save

    state = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    with atomic_path(path) as part:
        part.write_bytes(save(state))
