"""Losses of the patch classifier: per-sample terms, class weights and hard example mining.

Every term keeps one value per sample, so that mining can choose among them and an epoch's mean
does not depend on how its batches were cut. Those of the segmenter: `segmentation_losses`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from acinus import params
from acinus.errors import AcinusError

PerSample = Callable[[Tensor, Tensor, Tensor, params.Loss], Tensor]
"""(logits (n, classes), labels (n,), class weights (classes,), settings) -> losses (n,)."""

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(logits (n, classes), labels (n,)) -> one number."""


class Objective(Protocol):
    """The loss of a batch, and of an epoch from the sums of its batches."""

    def batch(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return (loss to minimise, sums): a scalar, and the 1-D figures that an epoch adds up."""
        ...

    def epoch(self, sums: Tensor) -> float:
        """Return the loss of everything that went into `sums` (float64)."""
        ...


def check_present(counts: Sequence[int], classes: Sequence[str], what: str) -> None:
    """Refuse a training split that lacks a class; `what` was counted (patches, pixels).

    Raises:
        AcinusError: a count is 0.
    """
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


LOSSES: dict[str, PerSample] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
}


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


def training_loss(settings: params.Loss, weights: Sequence[float]) -> Criterion:
    """Return the loss that training minimises: the mean over the batch, or over its hard examples."""
    per_sample = _per_sample(settings, weights)

    def criterion(logits: Tensor, labels: Tensor) -> Tensor:
        losses = per_sample(logits, labels)
        if settings.ohem:
            chosen = hard_examples(losses, labels, settings.ohem_ratio, settings.ohem_min_negatives)
            losses = losses[chosen]
        return losses.mean()

    return criterion


def validation_loss(settings: params.Loss, weights: Sequence[float]) -> Criterion:
    """Return the loss that validation reports: never mined, since that would depend on the batches."""
    per_sample = _per_sample(settings, weights)
    return lambda logits, labels: per_sample(logits, labels).mean()


@dataclass(frozen=True)
class PatchObjective:
    """A criterion of patches; an epoch's loss is the mean of its batches', by their numbers of samples."""

    criterion: Criterion

    def batch(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mean loss, [loss * samples, samples])."""
        loss = self.criterion(logits, target)
        whole = loss.detach().float() * len(target)
        return loss, torch.stack([whole, torch.full_like(whole, len(target))])

    def epoch(self, sums: Tensor) -> float:
        """Return the mean loss of a sample."""
        return float(sums[0] / sums[1])


def _per_sample(settings: params.Loss, weights: Sequence[float]) -> Criterion:
    """Return the weighted sum of the terms that the settings name, per sample."""
    values = torch.tensor(weights, dtype=torch.float32)

    def losses(logits: Tensor, labels: Tensor) -> Tensor:
        # float32 whatever the precision of the network: exp and powers lose too much in 16 bits
        logits, placed = logits.float(), values.to(logits.device)
        terms = [
            settings.terms[name] * term(logits, labels, placed, settings)
            for name, term in LOSSES.items()
            if name in settings.terms
        ]
        return torch.stack(terms).sum(dim=0) if len(terms) > 1 else terms[0]

    return losses
