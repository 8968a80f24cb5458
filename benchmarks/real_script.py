"""The plain script that the pipeline is held against: what a person writes in an afternoon, in about 60 lines.

An smp U-Net on EfficientNet-Lite0 (packaged ImageNet weights), 300 steps of 12 random 256-px crops, AdamW under a
one-cycle rate, BCE + Dice; a slide is predicted in whole pictures, and a px is tumour from 0.5 on.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from acinus.learning import torchvision_hook
from acinus.learning.weights import package_tensors
from benchmarks.real_cohort import Picture

STEPS, BATCH, CROP_PX, LR = 300, 12, 256, 1e-3
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # what these weights were trained with


def build() -> nn.Module:
    """Return the network with the encoder's ImageNet weights."""
    torchvision_hook.install()
    import segmentation_models_pytorch as smp

    model: Any = smp.Unet("tu-tf_efficientnet_lite0", encoder_weights=None, classes=1)
    state, own = package_tensors("tf_efficientnet_lite0", "train.encoder"), model.encoder.model.state_dict()
    model.encoder.model.load_state_dict({key: state[key] for key in own})
    return model


def train(pictures: Sequence[Picture], seed: int, steps: int = STEPS, device: str = "cpu") -> tuple[nn.Module, float]:
    """Return the trained network and the seconds that its steps took."""
    torchvision_hook.install()
    import segmentation_models_pytorch as smp

    torch.manual_seed(seed)
    draw, model = np.random.default_rng(seed), build()
    model.to(device, memory_format=torch.channels_last)
    bce, dice = nn.BCEWithLogitsLoss(), smp.losses.DiceLoss("binary")
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LR, total_steps=steps)
    model.train()
    start = time.perf_counter()
    for _ in range(steps):
        images, masks = [], []
        for number in draw.integers(len(pictures), size=BATCH):
            picture = pictures[number]
            height, width = picture.mask.shape
            y, x = draw.integers(height - CROP_PX + 1), draw.integers(width - CROP_PX + 1)
            images.append(picture.image[y : y + CROP_PX, x : x + CROP_PX])
            masks.append(picture.mask[y : y + CROP_PX, x : x + CROP_PX])
        logits = model(_input(np.stack(images)).to(device))
        target = torch.from_numpy(np.stack(masks))[:, None].to(device).float()
        loss = bce(logits, target) + dice(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval(), time.perf_counter() - start


def predict(model: nn.Module, picture: Picture) -> np.ndarray:
    """Return where a picture is tumour: bool (h, w)."""
    height, width = picture.mask.shape
    padded = np.pad(picture.image, ((0, -height % 32), (0, -width % 32), (0, 0)), mode="reflect")
    with torch.inference_mode():
        shown = _input(padded[None]).to(next(model.parameters()).device)
        probs: Tensor = model(shown).sigmoid()[0, 0, :height, :width]
    return probs.cpu().numpy() >= 0.5


def _input(images: np.ndarray) -> Tensor:
    values = (images.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
