"""Losses of the segmenter, each as sums over known pixels and a value of those sums.

A batch's loss is the value of its sums, an epoch's the value of its added sums: as if the epoch were
one batch. So the validation loss depends on how batches are cut by float32 rounding only, for Dice
and Jaccard too, whose mean over batches would not be that of the whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from acinus import params
from acinus.learning.losses import focus
from acinus.scoring.confusion import IGNORE

_EPS = 1e-7


@dataclass(frozen=True)
class Pixels:
    """A batch's pixels in a row: `log_p` float32 (n, classes), `target` int64 (n,), IGNORE where not known.

    `weights` float32 (classes,) are those of the classes.
    """

    log_p: Tensor
    target: Tensor
    weights: Tensor
    settings: params.Loss

    @cached_property
    def known(self) -> Tensor:
        """Where the class is known: bool (n,)."""
        return self.target != IGNORE

    @cached_property
    def unweighted(self) -> Tensor:
        """-log p of the true class, 0 where it is not known: (n,)."""
        # In a row, not as (n, h, w): on a GPU torch has no deterministic kernel for that.
        return F.nll_loss(self.log_p, self.target, ignore_index=IGNORE, reduction="none")

    @cached_property
    def weight(self) -> Tensor:
        """The weight of the true class, 0 where it is not known: (n,)."""
        return self.weights[self.target.where(self.known, 0)] * self.known


def pixels(logits: Tensor, target: Tensor, weights: Tensor, settings: params.Loss) -> Pixels:
    """Return the pixels of (n, classes, h, w) logits and an int64 (n, h, w) target, in float32."""
    classes = logits.shape[1]
    log_p = logits.float().log_softmax(dim=1).movedim(1, -1).reshape(-1, classes)
    return Pixels(log_p, target.reshape(-1), weights.to(logits.device), settings)


def cross_entropy_sums(batch: Pixels) -> Tensor:
    """Return [sum of w * -log p, sum of w]; of it 1 - s, and s of the classes' mean w * -log p, where smoothed."""
    losses, smoothing = batch.weight * batch.unweighted, batch.settings.label_smoothing
    if smoothing:
        everywhere = -(batch.log_p * batch.weights).mean(dim=1) * batch.known
        losses = (1 - smoothing) * losses + smoothing * everywhere
    return torch.stack([losses.sum(), batch.weight.sum()])


def focal_sums(batch: Pixels) -> Tensor:
    """Return [sum of w * (1 - p_t)^gamma * -log p_t, sum of w], p_t being the unweighted probability."""
    losses = batch.weight * focus(batch.unweighted, batch.settings.focal_gamma) * batch.unweighted
    return torch.stack([losses.sum(), batch.weight.sum()])


def overlap_sums(batch: Pixels) -> Tensor:
    """Return (3, classes) flat: the sums of p * t, of p and of t over known pixels, t being 0 or 1.

    Of two classes only class 1, the foreground, is summed.
    """
    first, classes = int(batch.log_p.shape[1] == 2), batch.log_p.shape[1]
    p = batch.log_p[:, first:].exp() * batch.known[:, None]
    t = (batch.target[:, None] == torch.arange(first, classes, device=p.device)).float()
    return torch.stack([(p * t).sum(dim=0), p.sum(dim=0), t.sum(dim=0)]).flatten()


def lovasz_sums(batch: Pixels) -> Tensor:
    """Return [loss * known px, known px] of the Lovasz softmax: the mean over the classes in the truth.

    It is the loss of a batch as a whole: an epoch's is the mean of its batches'. Source: Berman et al. 2018.
    """
    p, target = batch.log_p[batch.known].exp(), batch.target[batch.known]
    losses = []
    for number in range(p.shape[1]):
        true = target == number
        if not true.any():
            continue
        errors, order = torch.sort((true.float() - p[:, number]).abs(), descending=True, stable=True)
        losses.append(torch.dot(errors, _lovasz_steps(true[order])))
    value = torch.stack(losses).mean() if losses else batch.log_p.sum() * 0
    count = batch.known.sum().float()
    return torch.stack([value * count, count])


def _lovasz_steps(true: Tensor) -> Tensor:
    """Return what each px, the worst first, adds to 1 - IoU once it is wrong; `true` bool (n,). Counted in integers."""
    total, place = true.sum(), torch.arange(1, len(true) + 1, device=true.device)
    hit = true.long().cumsum(0)
    loss = 1 - (total - hit).float() / (total + place - hit).float()
    return torch.diff(loss, prepend=loss.new_zeros(1))


def weighted_mean(sums: Tensor, settings: params.Loss) -> Tensor:
    """Return sum of w * loss / sum of w, as torch's cross-entropy does; 0 without known pixels.

    Dividing by the weights (not by the pixels) keeps losses of different weightings comparable.
    """
    return sums[0] / sums[1].where(sums[1] > 0, 1.0)


def dice(sums: Tensor, settings: params.Loss) -> Tensor:
    """Return the mean over the classes of 1 - 2 sum(p t) / (sum(p) + sum(t)); a class without pixels adds 0.

    The mean is over all classes, absent ones too, as segmentation_models_pytorch has it.
    """
    both, guessed, true = sums.reshape(3, -1)
    return ((1 - 2 * both / (guessed + true).clamp_min(_EPS)) * (true > 0)).mean()


def jaccard(sums: Tensor, settings: params.Loss) -> Tensor:
    """Return the mean over the classes of 1 - sum(p t) / sum(p + t - p t); a class without pixels adds 0."""
    both, guessed, true = sums.reshape(3, -1)
    return ((1 - both / (guessed + true - both).clamp_min(_EPS)) * (true > 0)).mean()


def tversky(sums: Tensor, settings: params.Loss) -> Tensor:
    """Return the mean over the classes of 1 - TP / (TP + alpha FP + beta FN); a class without pixels adds 0.

    Source: Salehi et al. 2017.
    """
    both, guessed, true = sums.reshape(3, -1)
    wrong = settings.tversky_alpha * (guessed - both) + settings.tversky_beta * (true - both)
    return ((1 - both / (both + wrong).clamp_min(_EPS)) * (true > 0)).mean()


@dataclass(frozen=True)
class Term:
    """A loss: what a batch contributes (1-D), the value of such contributions added up, how many there are."""

    sums: Callable[[Pixels], Tensor]
    value: Callable[[Tensor, params.Loss], Tensor]
    size: Callable[[int], int]


def _two(classes: int) -> int:
    return 2


def _overlaps(classes: int) -> int:
    return 3 if classes == 2 else 3 * classes


TERMS: dict[str, Term] = {
    "cross_entropy": Term(cross_entropy_sums, weighted_mean, _two),
    "focal": Term(focal_sums, weighted_mean, _two),
    "dice": Term(overlap_sums, dice, _overlaps),
    "jaccard": Term(overlap_sums, jaccard, _overlaps),
    "tversky": Term(overlap_sums, tversky, _overlaps),
    "lovasz": Term(lovasz_sums, weighted_mean, _two),
}


class SegmentationObjective:
    """The weighted sum of the terms that the settings name; training and validation have the same."""

    def __init__(self, settings: params.Loss, weights: Sequence[float]) -> None:
        """Take the settings and one weight per class."""
        self._names = [name for name in TERMS if name in settings.terms]
        self._settings, self._weights = settings, torch.tensor(weights, dtype=torch.float32)

    def batch(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return (loss, sums) of (n, classes, h, w) logits and an int64 (n, h, w) target.

        Without a known pixel the loss is 0, and so is its gradient.
        """
        flat = pixels(logits, target, self._weights, self._settings)
        parts = [TERMS[name].sums(flat) for name in self._names]
        return self._value(parts), torch.cat(parts).detach()

    def epoch(self, sums: Tensor) -> float:
        """Return the loss of all pixels that went into `sums`."""
        sizes = [TERMS[name].size(len(self._weights)) for name in self._names]
        return float(self._value(list(sums.split(sizes))))

    def _value(self, parts: list[Tensor]) -> Tensor:
        values = [
            self._settings.terms[name] * TERMS[name].value(part, self._settings)
            for name, part in zip(self._names, parts, strict=True)
        ]
        return torch.stack(values).sum()
