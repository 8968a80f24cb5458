"""From stored patches to what a network eats: one function for training and prediction alike."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class InputSpec:
    """What a network expects: `mean` and `std` of RGB in [0, 1], and `px`, the edge of its input."""

    mean: Rgb
    std: Rgb
    px: int


def to_tensor(patches: np.ndarray) -> Tensor:
    """Return uint8 (n, h, w, 3) patches as a uint8 (n, 3, h, w) tensor.

    The patches are copied only where their memory is read-only or has negative strides.
    """
    if not patches.flags.writeable or any(stride < 0 for stride in patches.strides):
        patches = patches.copy()
    return torch.from_numpy(patches).permute(0, 3, 1, 2)


def to_device(patches: np.ndarray, device: torch.device) -> Tensor:
    """Return uint8 (n, h, w, 3) patches as a uint8 (n, 3, h, w) tensor on `device`.

    To a GPU they go from page-locked memory, without waiting; patches that lie in such memory already are not
    copied into it again. Whoever changes that memory waits for the GPU first.
    """
    batch = to_tensor(patches)
    if device.type != "cuda":
        return batch.to(device)
    rows = batch.permute(0, 2, 3, 1)  # as they lie in memory, so that they travel as one block
    rows = rows if rows.is_pinned() else rows.pin_memory()
    return rows.to(device, non_blocking=True).permute(0, 3, 1, 2)


def to_input(patches: Tensor, spec: InputSpec, *, channels_last: bool = True) -> Tensor:
    """Return uint8 (n, 3, h, w) patches as the network's float32 (n, 3, px, px) input, channels last or first.

    Resizing is bilinear with antialiasing, before the colours are normalised; a patch of the right
    size is not resampled at all.
    """
    values = patches.float().div_(255.0)
    if values.shape[-2:] != (spec.px, spec.px):
        values = F.interpolate(values, size=(spec.px, spec.px), mode="bilinear", antialias=True)
    _normalise(values, spec)
    return values.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _normalise(values: Tensor, spec: InputSpec) -> None:
    """Take the mean off float32 (n, 3, h, w) and divide by the standard deviation, in place.

    Where a pixel's three values lie side by side, whole rows are taken at a time: 0.1 ms instead of 0.4 ms for a
    patch of 256 px, the same bits.
    """
    mean, std = values.new_tensor(spec.mean), values.new_tensor(spec.std)
    rows = values.permute(0, 2, 3, 1)
    if rows.is_contiguous():
        width = values.shape[3]
        rows.view(*rows.shape[:2], 3 * width).sub_(mean.repeat(width)).div_(std.repeat(width))
    else:
        values.sub_(mean.view(1, 3, 1, 1)).div_(std.view(1, 3, 1, 1))


def to_target(masks: Tensor, px: int) -> Tensor:
    """Return uint8 (n, h, w) class indices as the int64 (n, px, px) target of a network's output.

    Each px takes the value that lies under its centre (the later of two on a border); nothing is mixed,
    so 255 (ignore) stays 255.
    """
    height, width = masks.shape[-2:]
    centres = 2 * torch.arange(px, device=masks.device) + 1  # in half px of the target
    rows, columns = centres * height // (2 * px), centres * width // (2 * px)
    return masks[:, rows[:, None], columns].long()
