"""One small training for the fit tests, also run as a script that is killed on the way."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from acinus import params
from acinus.learning import torchvision_hook
from acinus.learning.augmentation import Augmentation
from acinus.learning.dataset import PatchDataset
from acinus.learning.device import Machine
from acinus.learning.fit import FitJob
from acinus.learning.inputs import InputSpec

EPOCHS = 5


class FakeStore:
    """What a training asks of a patch store, from `read` alone: the uint8 (h, w, 3) patch of a key, or (h, w) mask."""

    def read(self, key: str) -> np.ndarray:
        raise NotImplementedError

    def read_many(self, keys: Sequence[str]) -> np.ndarray:
        return np.stack([self.read(key) for key in keys])

    def visit(self, keys: Sequence[str]) -> Iterator[tuple[int, np.ndarray]]:
        for at, key in enumerate(keys):
            yield at, self.read(key)


class StripeStore(FakeStore):
    """32-px patches of noise with stripes: lying ones are normal, standing ones tumour (turning would mix them)."""

    def read(self, key: str) -> np.ndarray:
        split, number, label = key.split("/")
        rng = np.random.default_rng([int(number), split == "val"])
        wave = 60 * np.sin(np.arange(32) * 1.3 + rng.uniform(0, 6))
        wave = wave[None, :, None] if label == "1" else wave[:, None, None]
        return np.clip(128 + wave + rng.normal(0, 60, (32, 32, 3)), 0, 255).astype(np.uint8)


def dataset(split: str, count: int, augmentation: Augmentation) -> PatchDataset:
    labels = [int(number % 3 == 0) for number in range(count)]
    keys = [f"{split}/{number}/{label}" for number, label in enumerate(labels)]
    return PatchDataset(StripeStore(), keys, labels, 32, augmentation)


def job(
    folder: Path, on_epoch: Callable[[int, dict[str, float]], None] = lambda e, m: None, **settings: object
) -> FitJob:
    """A training with everything random in it: order, turned copies, dropout and drop path."""
    torchvision_hook.install()
    import timm

    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=2, drop_rate=0.2, drop_path_rate=0.2)
    values = {
        "model": "test_resnet", "weights": "none", "batch_size": 8, "max_epochs": EPOCHS, "lr": 2e-3,
        "plateau_patience": 0, "plateau_factor": 0.5, "stop_patience": 100, "checkpoint_every": 2,
    }  # fmt: skip
    return FitJob(
        model=model,
        settings=params.Train.model_validate({**values, **settings}),
        classes=("normal", "tumor"),
        train=dataset("train", 43, Augmentation(copies=1, seed=3)),
        val=dataset("val", 18, Augmentation()),
        inputs=InputSpec((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 32),
        seed=3,
        checkpoints=folder / "checkpoints",
        key="key-1",
        log=folder / "log.csv",
        machine=Machine("cpu", threads=1, workers=0),
        on_epoch=on_epoch,
    )


CLASSES = ("background", "tumor", "stroma")


class SpotStore(FakeStore):
    """16-px patches of noise with a red and a blue spot, or their masks: 0, 1 red, 2 blue, 255 in the first row.

    Keys ending in /0 are patches without a red spot.
    """

    def __init__(self, masks: bool) -> None:
        self._masks = masks

    def read(self, key: str) -> np.ndarray:
        split, number, label = key.split("/")
        rng = np.random.default_rng([int(number), split == "val"])
        corners = rng.integers(1, 9, (2, 2))
        mask = np.zeros((16, 16), np.uint8)
        for value, (y, x) in zip((2, 1), corners, strict=True):
            if value == 2 or label == "1":
                mask[y : y + 6, x : x + 6] = value
        if self._masks:
            mask[0] = 255
            return mask
        pixels = rng.normal(110, 50, (16, 16, 3))
        pixels[mask == 1, 0] += 60
        pixels[mask == 2, 2] += 60
        return np.clip(pixels, 0, 255).astype(np.uint8)


def masked(split: str, count: int, augmentation: Augmentation) -> PatchDataset:
    labels = [int(number % 3 > 0) for number in range(count)]
    keys = [f"{split}/{number}/{label}" for number, label in enumerate(labels)]
    return PatchDataset(SpotStore(False), keys, labels, 16, augmentation, SpotStore(True))


def segmentation_job(
    folder: Path, on_epoch: Callable[[int, dict[str, float]], None] = lambda e, m: None, **settings: object
) -> FitJob:
    """A segmenter's training with everything random in it: order, symmetries, colours, dropout."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.1), nn.Conv2d(8, 3, 3, padding=1)
    )
    values = {
        "model": "unet", "encoder": "tiny", "weights": "none", "batch_size": 8, "max_epochs": EPOCHS, "lr": 0.05,
        "momentum": 0.9, "optimizer": "sgd", "schedule": "poly", "stop_patience": None, "checkpoint_every": 2,
        "positive_augmentation": False, "loss": {"terms": {"cross_entropy": 1.0, "dice": 1.0}},
    }  # fmt: skip
    colours = params.Photometric(brightness=0.1, hue=0.02)
    return FitJob(
        model=model,
        settings=params.Train.model_validate({**values, **settings}),
        classes=CLASSES,
        train=masked("train", 43, Augmentation(everything=True, seed=3, photometric=colours)),
        val=masked("val", 18, Augmentation()),
        inputs=InputSpec((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 16),
        seed=3,
        checkpoints=folder / "checkpoints",
        key="key-1",
        log=folder / "log.csv",
        machine=Machine("cpu", threads=1, workers=0),
        on_epoch=on_epoch,
        task="segmentation",
    )


if __name__ == "__main__":
    from acinus.learning.fit import fit

    def die(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

    fit(job(Path(sys.argv[1]), die))
