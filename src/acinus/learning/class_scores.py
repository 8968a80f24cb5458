"""Probabilities of all classes on patches whose truth is known: what calibration is measured on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from acinus.learning.card import Card
from acinus.learning.dataset import IGNORE, Reader
from acinus.learning.predict import predict_probs
from acinus.seeds import derive

PX_PER_PATCH = 64
"""So many px of a segmentation's patch are drawn; its neighbours would say nothing new."""

WHOLE = -1
"""The `px` of a patch that has one answer as a whole."""


def class_scores(
    model: nn.Module,
    card: Card,
    rows: pd.DataFrame,
    stores: tuple[Reader, Reader | None],
    keys: Sequence[str],
    machine: tuple[str, int],
    seed: int,
) -> list[dict[str, Any]]:
    """Return rows of records.CLASS_SCORES of the patches `rows` (records.SAMPLE) under their `keys`.

    stores: images, and masks of a segmentation. machine: device, and how many patches it takes at once. Patches and
    px of unknown truth give nothing; the px of a patch are drawn by `seed` and its key alone.
    """
    images, masks = stores
    device, size = machine
    result: list[dict[str, Any]] = []
    places = list(rows[["slide_id", "x0", "y0", "label"]].itertuples(index=False, name=None))
    for number, (key, (slide_id, x0, y0, label)) in enumerate(zip(keys, places, strict=True)):
        if number % size == 0:
            batch = np.stack([images.read(one) for one in keys[number : number + size]])
            every = predict_probs(model, batch, card, device)
        if masks is None and label < 0:
            continue
        probs = every[number % size]
        common = {"slide_id": slide_id, "x0": int(x0), "y0": int(y0)}
        if masks is None:
            result.append({**common, "px": WHOLE, "label": int(label), "probs": probs.astype(np.float64).tolist()})
            continue
        truth = masks.read(key).ravel()
        for px in _drawn(truth, derive(seed, key)):
            values = probs.reshape(len(card.classes), -1)[:, px].astype(np.float64).tolist()
            result.append({**common, "px": int(px), "label": int(truth[px]), "probs": values})
    return result


def _drawn(truth: np.ndarray, seed: int) -> np.ndarray:
    """Return the positions of at most PX_PER_PATCH px of known truth, in order."""
    known = np.flatnonzero(truth != IGNORE)
    if len(known) <= PX_PER_PATCH:
        return known
    return np.sort(np.random.default_rng(seed).choice(known, PX_PER_PATCH, replace=False))
