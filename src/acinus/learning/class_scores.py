"""Probabilities of all classes on patches whose truth is known: what calibration is measured on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from acinus.learning.card import Card
from acinus.learning.dataset import Reader
from acinus.learning.predict import Predict, predictor
from acinus.scoring.confusion import IGNORE
from acinus.seeds import derive
from acinus.threads import mapped_ahead

PX_PER_PATCH = 64
"""So many px of a segmentation's patch are drawn; its neighbours would say nothing new."""

WHOLE = -1
"""The `px` of a patch that has one answer as a whole."""


@dataclass(frozen=True)
class ScoringMachine:
    """Where patches are scored: the device, how many it takes as a batch, and how many batches at once.

    at_once: threads, each with torch's own threads beside it: worth it on a CPU whose cores one batch does not fill.
    No bit depends on it.
    """

    device: str
    batch_size: int
    at_once: int = 1


def class_scores(
    model: nn.Module,
    card: Card,
    rows: pd.DataFrame,
    stores: tuple[Reader, Reader | None],
    keys: Sequence[str],
    machine: ScoringMachine,
    seed: int,
) -> list[dict[str, Any]]:
    """Return rows of records.CLASS_SCORES of the patches `rows` (records.SAMPLE) under their `keys`.

    stores: images, and masks of a segmentation. Patches and px of unknown truth give nothing; the px of a patch are
    drawn by `seed` and its key alone.
    """
    images, masks = stores
    result: list[dict[str, Any]] = []
    places = list(rows[["slide_id", "x0", "y0", "label"]].itertuples(index=False, name=None))
    batches = _answers(predictor(model, card, machine.device), images, keys, machine)
    for number, (key, (slide_id, x0, y0, label)) in enumerate(zip(keys, places, strict=True)):
        if number % machine.batch_size == 0:
            every = next(batches)
        if masks is None and label < 0:
            continue
        probs = every[number % machine.batch_size]
        common = {"slide_id": slide_id, "x0": int(x0), "y0": int(y0)}
        if masks is None:
            result.append({**common, "px": WHOLE, "label": int(label), "probs": probs.astype(np.float64).tolist()})
            continue
        truth = masks.read(key).ravel()
        for px in _drawn(truth, derive(seed, key)):
            values = probs.reshape(len(card.classes), -1)[:, px].astype(np.float64).tolist()
            result.append({**common, "px": int(px), "label": int(truth[px]), "probs": values})
    return result


def _answers(predict: Predict, images: Reader, keys: Sequence[str], machine: ScoringMachine) -> Iterator[np.ndarray]:
    """Yield the probabilities of batch after batch, at_once of them being computed by threads."""
    starts = range(0, len(keys), machine.batch_size)
    batches = (images.read_many(keys[start : start + machine.batch_size]) for start in starts)
    return mapped_ahead(predict, batches, machine.at_once, per_thread=1)


def _drawn(truth: np.ndarray, seed: int) -> np.ndarray:
    """Return the positions of at most PX_PER_PATCH px of known truth, in order."""
    known = np.flatnonzero(truth != IGNORE)
    if len(known) <= PX_PER_PATCH:
        return known
    return np.sort(np.random.default_rng(seed).choice(known, PX_PER_PATCH, replace=False))
