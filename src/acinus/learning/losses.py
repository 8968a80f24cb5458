"""Losses: of the patch classifier with a value per patch, of the segmenter as sums over its known pixels.

A classifier's terms keep one value per sample, so that hard examples can be chosen among them. A segmenter's term is
a value of sums: a batch's loss that of its sums, an epoch's that of its added sums, as if the epoch were one batch.
So no epoch's loss depends on how its batches were cut, but by float32 rounding; that holds for Dice and Jaccard too,
whose mean over batches would not be that of the whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from acinus import params
from acinus.errors import AcinusError
from acinus.learning import plugged_losses
from acinus.scoring.confusion import IGNORE

_EPS = 1e-7

PerSample = Callable[[Tensor, Tensor, Tensor, params.Loss], Tensor]
"""(logits (n, classes), labels (n,), class weights (classes,), settings) -> losses (n,)."""


def check_present(counts: Sequence[int], classes: Sequence[str], what: str) -> None:
    """Refuse a training split that lacks a class. what: was counted (patches, pixels). AcinusError: a count is 0."""
    absent = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if absent:
        remedy = " or set train.loss.class_weights to equal or to one number per class" if what == "pixels" else ""
        raise AcinusError(
            f"training split: no {what} of class {', '.join(absent)} (counts {list(counts)}); "
            f"add slides that have them, or change the splits or the label rule of the recipe's index{remedy}"
        )


def class_weights(settings: params.Loss, counts: Sequence[int]) -> tuple[float, ...]:
    """Return one weight per class: total / count for `balanced`, 1 for `equal`, or the settings' own list.

    The counts are of the training split's patches before augmentation, or of its known pixels; above 0
    for `balanced`, while the other two look at their number only.
    """
    if isinstance(settings.class_weights, list):
        return tuple(settings.class_weights)
    if settings.class_weights == "equal":
        return (1.0,) * len(counts)
    return tuple(sum(counts) / count for count in counts)


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor, settings: params.Loss) -> Tensor:
    """Return w_y * -log p_y per sample; of it 1 - s, and s of the classes' mean w * -log p, where smoothed."""
    return F.cross_entropy(logits, labels, weight=weights, reduction="none", label_smoothing=settings.label_smoothing)


def focal(logits: Tensor, labels: Tensor, weights: Tensor, settings: params.Loss) -> Tensor:
    """Return w_y * (1 - p_t)^gamma * -log p_t per sample, p_t being the unweighted probability.

    Source: Lin et al. 2017, eq. 5. Taking p_t from the weighted loss (exp of minus w * CE) would
    shrink it by the weight's power and is not the focal loss.
    """
    unweighted = F.cross_entropy(logits, labels, reduction="none")
    return weights[labels] * focus(unweighted, settings.focal_gamma) * unweighted


def focus(unweighted: Tensor, gamma: float) -> Tensor:
    """Return (1 - p_t)^gamma for the unweighted cross-entropies -log p_t."""
    # The floor keeps the slope of x**gamma finite at p_t = 1 for gamma < 1.
    missing = (-torch.expm1(-unweighted)).clamp_min(1e-12)
    return missing**gamma


LOSSES: dict[str, PerSample] = {"cross_entropy": cross_entropy, "focal": focal}


def hard_examples(losses: Tensor, labels: Tensor, ratio: float, min_negatives: int) -> Tensor:
    """Return the indices of the samples that count in this batch: all positives, the hardest negatives.

    Class 0 is negative, all others positive. With P positives the int(ratio * P) negatives of highest
    loss are taken; in a batch without positives the `min_negatives` hardest ones.
    Losses are ranked, not differentiated; equals keep their order.
    """
    positive = torch.nonzero(labels != 0).flatten()
    negative = torch.nonzero(labels == 0).flatten()
    wanted = int(ratio * len(positive)) if len(positive) else min_negatives
    order = torch.argsort(losses.detach()[negative], descending=True, stable=True)
    return torch.cat([positive, negative[order[:wanted]]])


class PatchObjective:
    """The weighted sum of the terms that the settings name, per patch; its mean over a batch, or over an epoch.

    mined: whether only the hard examples of a batch count where the settings say so. Validation never mines, since
    that would depend on the batches.
    """

    def __init__(self, settings: params.Loss, weights: Sequence[float], *, mined: bool) -> None:
        """Take the settings and one weight per class."""
        self._settings, self._mined = settings, mined and settings.ohem
        self._terms = [
            (settings.terms[name], LOSSES.get(name) or plugged_losses.of_samples(name))
            for name in plugged_losses.last(settings.terms, LOSSES)
        ]
        self._weights = torch.tensor(weights, dtype=torch.float32)

    def batch(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mean loss, [loss * samples, samples]) of (n, classes) logits and int64 (n,) labels."""
        settings = self._settings
        # float32 whatever the precision of the network: exp and powers lose too much in 16 bits
        values, weights = logits.float(), self._weights.to(logits.device)
        terms = [weight * term(values, labels, weights, settings) for weight, term in self._terms]
        losses = torch.stack(terms).sum(dim=0) if len(terms) > 1 else terms[0]
        if self._mined:
            losses = losses[hard_examples(losses, labels, settings.ohem_ratio, settings.ohem_min_negatives)]
        loss = losses.mean()
        whole = loss.detach().float() * len(labels)
        return loss, torch.stack([whole, torch.full_like(whole, len(labels))])

    def epoch(self, sums: Tensor) -> float:
        """Return the mean loss of all samples that went into `sums` (float64)."""
        return float(sums[0] / sums[1])


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
    classes = batch.log_p.shape[1]
    first = int(classes == 2)
    p = batch.log_p[:, first:].exp() * batch.known[:, None]
    t = (batch.target[:, None] == torch.arange(first, classes, device=p.device)).float()
    return torch.stack([(p * t).sum(dim=0), p.sum(dim=0), t.sum(dim=0)]).flatten()


def lovasz_sums(batch: Pixels) -> Tensor:
    """Return [loss * known px, known px] of the Lovasz softmax: the mean over the classes in the truth.

    It is the loss of a batch as a whole: an epoch's is the mean of its batches'. Source: Berman et al. 2018.
    """
    p, target = batch.log_p[batch.known].exp(), batch.target[batch.known]
    losses = []
    for class_index in range(p.shape[1]):
        true = target == class_index
        if not true.any():
            continue
        errors, order = torch.sort((true.float() - p[:, class_index]).abs(), descending=True, stable=True)
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
    both, predicted, true = sums.reshape(3, -1)
    return ((1 - 2 * both / (predicted + true).clamp_min(_EPS)) * (true > 0)).mean()


def jaccard(sums: Tensor, settings: params.Loss) -> Tensor:
    """Return the mean over the classes of 1 - sum(p t) / sum(p + t - p t); a class without pixels adds 0."""
    both, predicted, true = sums.reshape(3, -1)
    return ((1 - both / (predicted + true - both).clamp_min(_EPS)) * (true > 0)).mean()


def tversky(sums: Tensor, settings: params.Loss) -> Tensor:
    """Return the mean over the classes of 1 - TP / (TP + alpha FP + beta FN); a class without pixels adds 0.

    Source: Salehi et al. 2017.
    """
    both, predicted, true = sums.reshape(3, -1)
    wrong = settings.tversky_alpha * (predicted - both) + settings.tversky_beta * (true - both)
    return ((1 - both / (both + wrong).clamp_min(_EPS)) * (true > 0)).mean()


class Term(NamedTuple):
    """A loss: what a batch contributes (1-D), and the value of such contributions added up."""

    sums: Callable[[Pixels], Tensor]
    value: Callable[[Tensor, params.Loss], Tensor]


TERMS = {
    "cross_entropy": Term(cross_entropy_sums, weighted_mean),
    "focal": Term(focal_sums, weighted_mean),
    "dice": Term(overlap_sums, dice),
    "jaccard": Term(overlap_sums, jaccard),
    "tversky": Term(overlap_sums, tversky),
    "lovasz": Term(lovasz_sums, weighted_mean),
}


class SegmentationObjective:
    """The weighted sum of the terms that the settings name; training and validation have the same."""

    def __init__(self, settings: params.Loss, weights: Sequence[float]) -> None:
        """Take the settings and one weight per class."""
        self._settings, self._weights = settings, torch.tensor(weights, dtype=torch.float32)
        self._terms = [
            (settings.terms[name], TERMS.get(name) or Term(*plugged_losses.of_px(name, weighted_mean)))
            for name in plugged_losses.last(settings.terms, TERMS)
        ]

    def batch(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return (loss, sums) of (n, classes, h, w) logits and an int64 (n, h, w) target.

        Without a known pixel the loss is 0, and so is its gradient.
        """
        log_p = logits.float().log_softmax(dim=1).movedim(1, -1).reshape(-1, logits.shape[1])
        pixels = Pixels(log_p, target.reshape(-1), self._weights.to(logits.device), self._settings)
        parts = [term.sums(pixels) for _, term in self._terms]
        return self._value(parts), torch.cat(parts).detach()

    def epoch(self, sums: Tensor) -> float:
        """Return the loss of all pixels that went into `sums` (float64)."""
        classes = len(self._weights)
        nothing = Pixels(torch.zeros(1, classes), torch.zeros(1, dtype=torch.int64), self._weights, self._settings)
        sizes = [len(term.sums(nothing)) for _, term in self._terms]
        return float(self._value(sums.split(sizes)))

    def _value(self, parts: Sequence[Tensor]) -> Tensor:
        pairs = zip(self._terms, parts, strict=True)
        return torch.stack([weight * term.value(part, self._settings) for (weight, term), part in pairs]).sum()


Objective = PatchObjective | SegmentationObjective
