"""Test-time augmentation: a network's probabilities averaged over the symmetries of the square."""

from collections.abc import Callable

import torch
from torch import Tensor

PASSES: dict[str, tuple[int, ...]] = {"none": (0,), "flips": (0, 2, 4, 6), "d4": tuple(range(8))}
"""infer.tta -> the symmetries that are averaged, as `augmentation.transform` numbers them; as many times the work."""


def averaged(probs_of: Callable[[Tensor], Tensor], inputs: Tensor, tta: str) -> Tensor:
    """Return the mean of `probs_of` over (n, 3, px, px) inputs under each symmetry of PASSES[tta].

    Probabilities per px, (n, classes, px, px), are turned back before; those of whole patches are (n, classes).
    """
    total: Tensor | None = None
    for symmetry in PASSES[tta]:
        turned = _turned(inputs, symmetry)
        layout = torch.channels_last if inputs.is_contiguous(memory_format=torch.channels_last) else None
        probs = probs_of(turned.contiguous(memory_format=layout or torch.contiguous_format))
        probs = _turned_back(probs, symmetry) if probs.ndim == 4 else probs
        total = probs if total is None else total + probs
    assert total is not None, "PASSES has no empty entry"
    return total / len(PASSES[tta])


def _turned(values: Tensor, symmetry: int) -> Tensor:
    turned = torch.rot90(values, symmetry % 4, (-2, -1))
    return turned.flip(-1) if symmetry >= 4 else turned


def _turned_back(values: Tensor, symmetry: int) -> Tensor:
    unflipped = values.flip(-1) if symmetry >= 4 else values
    return torch.rot90(unflipped, -(symmetry % 4), (-2, -1))
