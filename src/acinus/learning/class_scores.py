"""Probabilities of all classes on patches whose truth is known: what calibration is measured on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from acinus.learning.card import Card
from acinus.learning.dataset import Reader
from acinus.learning.predict import predictor
from acinus.scoring.confusion import IGNORE
from acinus.seeds import derive
from acinus.threads import mapped_ahead

PX_PER_PATCH = 64
"""So many px of a segmentation's patch are drawn; its neighbours would say nothing new."""

WHOLE = -1
"""The `px` of a patch that has one answer as a whole: the last of its one."""


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
    starts = range(0, len(keys), machine.batch_size)
    batches = (images.read_many(keys[start : start + machine.batch_size]) for start in starts)
    answers = mapped_ahead(predictor(model, card, machine.device), batches, machine.at_once, per_thread=1)
    every_probs = (probs for batch in answers for probs in batch)
    places = rows[["slide_id", "x0", "y0", "label"]].itertuples(index=False, name=None)
    result: list[dict[str, Any]] = []
    for key, (slide_id, x0, y0, label), probs in zip(keys, places, every_probs, strict=True):
        if masks is None:
            labels = {WHOLE: label} if label >= 0 else {}
        else:
            truth = masks.read(key).ravel()
            labels = {int(px): truth[px] for px in _drawn(truth, derive(seed, key))}
        by_px = probs.reshape(len(card.classes), -1)
        for px, true_class in labels.items():
            values = by_px[:, px].astype(np.float64).tolist()
            place = {"slide_id": slide_id, "x0": int(x0), "y0": int(y0)}
            result.append({**place, "px": px, "label": int(true_class), "probs": values})
    return result


def _drawn(truth: np.ndarray, seed: int) -> np.ndarray:
    """Return the positions of at most PX_PER_PATCH px of known truth, in order."""
    known = np.flatnonzero(truth != IGNORE)
    if len(known) <= PX_PER_PATCH:
        return known
    return np.sort(np.random.default_rng(seed).choice(known, PX_PER_PATCH, replace=False))
