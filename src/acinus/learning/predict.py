"""Class probabilities of patches, prepared exactly as in training."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acinus.learning.card import Card
from acinus.learning.dataset import Reader
from acinus.learning.device import pick, place
from acinus.learning.inputs import to_input, to_tensor


def predict_probs(
    model: nn.Module, patches: np.ndarray, card: Card, device: str, temperature: float = 1.0
) -> np.ndarray:
    """Return float32 softmax probabilities of uint8 (n, h, w, 3) patches, as one batch.

    (n, classes), or (n, classes, h, w) of a segmentation: every px of the patch, whatever the size that
    the network saw it in; over the classes they sum to 1 within 1e-5. The logits are divided by `temperature`.
    The model is put on `device` and
    into evaluation mode. Bits repeat for the same batch on the same device, build and thread count
    (`device.reproducible`).
    """
    height, width = patches.shape[1:3]
    if len(patches) == 0:
        place_px = (height, width) if card.task == "segmentation" else ()
        return np.zeros((0, len(card.classes), *place_px), dtype=np.float32)
    where = pick(device)
    place(model, where)
    model.eval()
    with torch.inference_mode():
        logits = model(to_input(to_tensor(patches).to(where), card.inputs()))
        probs = torch.softmax(logits.float() / temperature, dim=1)
        if card.task == "segmentation":
            probs = _at_size(probs, height, width)
        return probs.cpu().contiguous().numpy()  # channels last within, if the network computes so


def predict_keys(
    model: nn.Module, store: Reader, keys: Sequence[str], card: Card, device: str, *, batch_size: int
) -> np.ndarray:
    """Return float32 probabilities of the patches of `keys`, read from a store, as `predict_probs` does."""
    batches = [
        predict_probs(model, np.stack([store.read(key) for key in keys[start : start + batch_size]]), card, device)
        for start in range(0, len(keys), batch_size)
    ]
    if not batches:
        none = np.zeros((0, card.patch_px, card.patch_px, 3), dtype=np.uint8)
        return predict_probs(model, none, card, device)
    return np.concatenate(batches)


def map_channels(probs: np.ndarray, card: Card) -> np.ndarray:
    """Return the channels of (n, classes, ...) probabilities that a map stores: (n, channels, ...), a view.

    Of two classes the second alone, since the first is what is missing to 1; of more all of them.
    """
    return probs[:, 1:2] if len(card.classes) == 2 else probs


def _at_size(probs: Tensor, height: int, width: int) -> Tensor:
    """Return (n, classes, h, w) probabilities resized to (height, width): bilinear, averaged when shrinking."""
    if probs.shape[-2:] == (height, width):
        return probs
    shrinks = height < probs.shape[-2] or width < probs.shape[-1]
    return F.interpolate(probs, size=(height, width), mode="bilinear", antialias=shrinks).clamp_(0.0, 1.0)
