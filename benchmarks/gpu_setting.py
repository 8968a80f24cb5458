"""What `benchmarks.gpu` measures with: the network, and the patches that are drawn for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from acinus.learning.card import Card
from acinus.learning.device import Running
from acinus.learning.inputs import InputSpec
from acinus.learning.models import build_model, normalisation
from acinus.learning.weights import ModelSpec
from acinus.patches.keys import patch_key
from acinus.patches.store import MASKS, StoreFormat
from acinus.patches.writer import StoreWriter

CLASSES = ("normal", "tumor")
HELD = 4
"""Different batches that the bare network is given in turn."""
MPP = 0.5


@dataclass(frozen=True)
class Setting:
    """What is measured: the network, how it runs, and how much it is given."""

    spec: ModelSpec
    device: torch.device
    px: int
    batch: int
    batches: int
    workers: int
    decode_threads: int
    threads: int
    how: Running

    @property
    def patches(self) -> int:
        """Return how many patches a measurement is made on."""
        return self.batch * self.batches

    def inputs(self) -> InputSpec:
        """Return how patches become the network's input."""
        return InputSpec(*normalisation(self.spec), self.px)

    def card(self) -> Card:
        """Return the card of the network with its drawn weights."""
        mean, std = normalisation(self.spec)
        return Card(
            version="0", task=self.spec.task, architecture=self.spec.name, encoder=self.spec.encoder, weights="none",
            classes=CLASSES, positive=CLASSES[1:], patch_px=self.px, input_px=self.px, level=0, mpp=None, mpp_mean=MPP,
            mean=mean, std=std, index={}, recipe_hash="benchmark", data_hashes={}, epochs=0, best_epoch=1, seed=0,
        )  # fmt: skip


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """Return uint8 (height, width, 3): pink and violet clouds of several sizes, which JPEG finds as hard as tissue."""
    rng = np.random.default_rng(seed)
    clouds = np.zeros((height, width), dtype=np.float32)
    for cell in (64, 16, 4):
        coarse = torch.from_numpy(rng.normal(size=(1, 1, height // cell + 2, width // cell + 2)).astype(np.float32))
        clouds += F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)[0, 0].numpy()
    share = 1 / (1 + np.exp(-clouds))[..., None]
    return np.round(share * (232, 170, 205) + (1 - share) * (120, 70, 150)).astype(np.uint8)


def fresh(setting: Setting) -> torch.nn.Module:
    """Return the network as drawn: the same one for every measurement."""
    torch.manual_seed(0)
    return build_model(setting.spec)


def normalised(setting: Setting) -> list[torch.Tensor]:
    """Return batches as the network takes them, on the device."""
    layout = torch.channels_last if setting.how.channels_last else torch.contiguous_format
    shape = (setting.batch, 3, setting.px, setting.px)
    return [torch.randn(shape, device=setting.device).contiguous(memory_format=layout) for _ in range(HELD)]


def write_store(setting: Setting, folder: Path) -> list[str]:
    """Write as many patches as are measured on, and masks for a segmentation, into one store; return their keys."""
    keys = [patch_key("slide", number * setting.px, 0) for number in range(setting.patches)]
    kinds: list[tuple[Path, Any]] = [(folder / "store", "jpeg")]
    if setting.spec.task == "segmentation":
        kinds.append((folder / "store" / MASKS, "mask"))

    def patches(codec: str) -> Iterator[tuple[str, str, np.ndarray]]:
        for number, key in enumerate(keys):
            pixels = texture(setting.px, setting.px, number)
            yield key, CLASSES[number % 2], pixels if codec == "jpeg" else (pixels[..., 0] > 180).astype(np.uint8)

    for store, codec in kinds:
        writer = StoreWriter(store, folder / f"ledger-{codec}", StoreFormat("lmdb", codec, 90, setting.px))
        writer.finish([writer.write_shard("slide", "benchmark", patches(codec))])
    return keys
