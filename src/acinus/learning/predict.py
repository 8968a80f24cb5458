"""Class probabilities of patches, prepared exactly as in training."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from acinus.learning.card import Card
from acinus.learning.dataset import Reader
from acinus.learning.device import pick, place
from acinus.learning.inputs import to_input, to_tensor


def predict_probs(model: nn.Module, patches: np.ndarray, card: Card, device: str) -> np.ndarray:
    """Return float32 (n, classes) softmax probabilities of uint8 (n, h, w, 3) patches, as one batch.

    The model is put on `device` and into evaluation mode. Bits repeat for the same batch on the same
    device, build and thread count (`device.reproducible`).
    """
    if len(patches) == 0:
        return np.zeros((0, len(card.classes)), dtype=np.float32)
    where = pick(device)
    place(model, where)
    model.eval()
    with torch.inference_mode():
        logits = model(to_input(to_tensor(patches).to(where), card.inputs()))
        return torch.softmax(logits.float(), dim=1).cpu().numpy()


def predict_keys(
    model: nn.Module, store: Reader, keys: Sequence[str], card: Card, device: str, *, batch_size: int
) -> np.ndarray:
    """Return float32 (n, classes) probabilities of the patches of `keys`, read from a store."""
    batches = [
        predict_probs(model, np.stack([store.read(key) for key in keys[start : start + batch_size]]), card, device)
        for start in range(0, len(keys), batch_size)
    ]
    return np.concatenate([np.zeros((0, len(card.classes)), dtype=np.float32), *batches])
