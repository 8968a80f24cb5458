"""Losses of the patch classifier: per-sample terms, class weights and hard example mining.

Every term keeps one value per sample, so that mining can choose among them and an epoch's mean
does not depend on how its batches were cut.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from acinus import params
from acinus.errors import AcinusError

PerSample = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""(logits (n, classes), labels (n,), class weights (classes,), gamma) -> losses (n,)."""

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(logits (n, classes), labels (n,)) -> one number."""


def class_weights(counts: Sequence[int], classes: Sequence[str]) -> tuple[float, ...]:
    """Return total / count of each class over the training patches before augmentation.

    Raises:
        AcinusError: a class has no training patch.
    """
    absent = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if absent:
        raise AcinusError(
            f"training split: no patches of class {', '.join(absent)} (counts {list(counts)}); "
            "add slides that have them, or change the splits or the label rule of the recipe's index"
        )
    return tuple(sum(counts) / count for count in counts)


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """Return w_y * -log p_y per sample; `gamma` is not used."""
    return F.cross_entropy(logits, labels, weight=weights, reduction="none")


def focal(logits: Tensor, labels: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """Return w_y * (1 - p_t)^gamma * -log p_t per sample, p_t being the unweighted probability.

    Source: Lin et al. 2017, eq. 5. Taking p_t from the weighted loss (exp of minus w * CE) would
    shrink it by the weight's power and is not the focal loss.
    """
    unweighted = F.cross_entropy(logits, labels, reduction="none")
    # The floor keeps the slope of x**gamma finite at p_t = 1 for gamma < 1.
    missing = (-torch.expm1(-unweighted)).clamp_min(1e-12)
    return weights[labels] * missing**gamma * unweighted


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


def _per_sample(settings: params.Loss, weights: Sequence[float]) -> Criterion:
    """Return the loss that the settings name, with its weights and exponent filled in."""
    term = LOSSES[settings.name]
    values = torch.tensor(weights if settings.class_weights else [1.0] * len(weights), dtype=torch.float32)

    def losses(logits: Tensor, labels: Tensor) -> Tensor:
        # float32 whatever the precision of the network: exp and powers lose too much in 16 bits
        return term(logits.float(), labels, values.to(logits.device), settings.focal_gamma)

    return losses
