"""Class probabilities of patches, prepared exactly as in training; and of patches whose truth is known, in a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acinus.errors import AcinusError
from acinus.learning.card import Card
from acinus.learning.device import AS_IS, Running, network, pick
from acinus.learning.inputs import InputSpec, to_device, to_input
from acinus.params.recipe import Task
from acinus.scoring.confusion import IGNORE
from acinus.scoring.scaling import AS_TRAINED, Scaling
from acinus.seeds import derive
from acinus.threads import mapped_ahead

if TYPE_CHECKING:
    from acinus.patches.store import Store  # with every backend, which only a training needs

Predict = Callable[[np.ndarray], np.ndarray]
"""uint8 (n, h, w, 3) patches -> float32 probabilities, (n, classes) or (n, classes, h, w)."""

PASSES: dict[str, tuple[int, ...]] = {"none": (0,), "flips": (0, 2, 4, 6), "d4": tuple(range(8))}
"""infer.tta -> the symmetries that are averaged, as `augmentation.transform` numbers them; as many times the work."""

PX_PER_PATCH = 64
"""So many px of a segmentation's patch are drawn; its neighbours would say nothing new."""

WHOLE = -1
"""The `px` of a patch that has one answer as a whole: the last of its one."""


def predictor(
    model: nn.Module, card: Card, device: str, scaling: Scaling = AS_TRAINED, how: Running = AS_IS
) -> Predict:
    """Return the function from uint8 (n, h, w, 3) patches to float32 softmax probabilities, one batch per call.

    (n, classes), or (n, classes, h, w) of a segmentation: every px of the patch, whatever the size that
    the network saw it in; over the classes they sum to 1 within 1e-5. The logits are divided by the scaling's
    temperature, then its offsets are added; of several passes (how.tta) the probabilities are averaged. The model is
    put on `device` and into evaluation mode once, here; whoever moves or trains it afterwards asks for another
    function. Bits repeat for the same batch on the same device, build and thread count (`device.reproducible`).

    Raises:
        AcinusError: no such device, or one that cannot run the model as `how` says.
    """
    run = network_predictor(model, card.inputs(), card.task, device, scaling, how)

    def predict(patches: np.ndarray) -> np.ndarray:
        if len(patches):
            return run(patches)
        place_px = patches.shape[1:3] if card.task == "segmentation" else ()
        return np.zeros((0, len(card.classes), *place_px), dtype=np.float32)

    return predict


def network_predictor(
    model: nn.Module,
    inputs: InputSpec,
    task: Task,
    device: str,
    scaling: Scaling = AS_TRAINED,
    how: Running = AS_IS,
) -> Predict:
    """Return what `predictor` does, for a network that has no card yet; at least one patch at a time."""
    where = pick(device)
    run = network(model, where, inputs.px, how)
    layout = how.channels_last and how.engine == "torch"

    def probs_of(batch: Tensor) -> Tensor:
        return torch.softmax(scaled_logits(run(batch), scaling), dim=1)

    def predict(patches: np.ndarray) -> np.ndarray:
        height, width = patches.shape[1:3]
        with torch.inference_mode():
            batch = to_input(to_device(patches, where), inputs, channels_last=layout)
            probs = probs_of(batch) if how.tta == "none" else averaged(probs_of, batch, how.tta)
            if task == "segmentation" and probs.shape[-2:] != (height, width):
                shrinks = height < probs.shape[-2] or width < probs.shape[-1]  # then px are averaged
                probs = F.interpolate(probs, size=(height, width), mode="bilinear", antialias=shrinks).clamp_(0.0, 1.0)
            return probs.cpu().contiguous().numpy()  # channels last within, if the network computes so

    return predict


def predict_probs(
    model: nn.Module, patches: np.ndarray, card: Card, device: str, scaling: Scaling = AS_TRAINED
) -> np.ndarray:
    """Return what `predictor` gives for one batch; for many, make the function once."""
    return predictor(model, card, device, scaling)(patches)


def scaled_logits(logits: Tensor, scaling: Scaling) -> Tensor:
    """Return float32 logits / temperature + bias; the classes are axis 1. AcinusError: offsets not one per class."""
    cooled = logits.float() / scaling.temperature
    if not scaling.bias:
        return cooled
    if len(scaling.bias) != logits.shape[1]:
        raise AcinusError(
            f"operating point: {len(scaling.bias)} offsets (bias) for a model of {logits.shape[1]} classes; run the "
            "calibrate stage again"
        )
    return cooled + cooled.new_tensor(scaling.bias).view(-1, *[1] * (logits.ndim - 2))


def map_channels(probs: np.ndarray, card: Card) -> np.ndarray:
    """Return the channels of (n, classes, ...) probabilities that a map stores: (n, channels, ...), a view.

    Of two classes the second alone, since the first is what is missing to 1; of more all of them.
    """
    return probs[:, 1:2] if len(card.classes) == 2 else probs


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
    stores: "tuple[Store, Store | None]",
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
    known_px = np.flatnonzero(truth != IGNORE)
    if len(known_px) <= PX_PER_PATCH:
        return known_px
    return np.sort(np.random.default_rng(seed).choice(known_px, PX_PER_PATCH, replace=False))
