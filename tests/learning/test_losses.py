"""Losses against tables worked by hand, torch and torchvision."""

import math
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from acinus import params
from acinus.errors import AcinusError
from acinus.learning import torchvision_hook
from acinus.learning.losses import (
    LOSSES,
    PatchObjective,
    check_present,
    class_weights,
    cross_entropy,
    focal,
    hard_examples,
)
from acinus.params.recipe import Term

FOCAL = params.Loss(focal_gamma=2.0)


def logits_of(*tumour: float) -> torch.Tensor:
    """Two-class logits whose softmax gives these tumour probabilities."""
    p = torch.tensor(tumour, dtype=torch.float64)
    return torch.stack([torch.log1p(-p), torch.log(p)], dim=1)


def mined(settings: params.Loss, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return PatchObjective(settings, (1.25, 5.0), mined=True).batch(logits, labels)[0]


@pytest.mark.parametrize(
    ("setting", "weights"),
    [("balanced", (40 / 30, 4.0)), ("equal", (1.0, 1.0)), ([0.5, 0.7], (0.5, 0.7))],
)
def test_class_weights_by_hand(setting: str | list[float], weights: tuple[float, ...]) -> None:
    assert class_weights(params.Loss(class_weights=setting), [30, 10]) == pytest.approx(weights)


def test_a_class_without_patches_or_pixels_is_named() -> None:
    with pytest.raises(AcinusError, match=r"no patches of class tumor \(counts \[7, 0\]\)"):
        check_present([7, 0], ["normal", "tumor"], "patches")
    with pytest.raises(AcinusError, match=r"no pixels of class a, c \(.*set train.loss.class_weights to equal"):
        check_present([0, 5, 0], ["a", "b", "c"], "pixels")
    check_present([1, 1], ["normal", "tumor"], "patches")


def test_weighted_cross_entropy_by_hand() -> None:
    weights = torch.tensor([1.25, 5.0], dtype=torch.float64)
    losses = cross_entropy(logits_of(0.2, 0.2, 0.9), torch.tensor([0, 1, 1]), weights, FOCAL)
    by_hand = [1.25 * -math.log(0.8), 5 * -math.log(0.2), 5 * -math.log(0.9)]
    np.testing.assert_allclose(losses.numpy(), by_hand, rtol=1e-12)


def test_focal_by_hand_takes_p_t_from_the_unweighted_probability() -> None:
    weights = torch.tensor([1.25, 5.0], dtype=torch.float64)
    losses = focal(logits_of(0.2, 0.2, 0.9), torch.tensor([0, 1, 1]), weights, FOCAL)
    by_hand = [1.25 * 0.2**2 * -math.log(0.8), 5 * 0.8**2 * -math.log(0.2), 5 * 0.1**2 * -math.log(0.9)]
    np.testing.assert_allclose(losses.numpy(), by_hand, rtol=1e-9)
    wrong_p_t = math.exp(-5 * -math.log(0.2))  # what the weighted loss would give
    assert losses[1].item() != pytest.approx(5 * (1 - wrong_p_t) ** 2 * -math.log(0.2), rel=0.1)


def test_focal_equals_torchvision() -> None:
    torchvision_hook.install()
    from torchvision.ops import sigmoid_focal_loss

    margin = torch.linspace(-6, 6, 41, dtype=torch.float64)  # softmax of (0, m) is sigmoid(m)
    logits = torch.stack([torch.zeros_like(margin), margin], dim=1)
    labels = torch.arange(41) % 2
    ours = focal(logits, labels, torch.ones(2, dtype=torch.float64), FOCAL)
    theirs = sigmoid_focal_loss(margin, labels.double(), alpha=-1, gamma=2.0, reduction="none")
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_focal_with_gamma_0_is_cross_entropy_and_slopes_stay_finite() -> None:
    labels, ones = torch.tensor([1, 0, 1]), torch.ones(2)
    logits = torch.tensor([[-60.0, 60.0], [0.3, -0.2], [1.0, 2.0]], requires_grad=True)
    torch.testing.assert_close(
        focal(logits, labels, ones, params.Loss(focal_gamma=0.0)), cross_entropy(logits, labels, ones, FOCAL)
    )
    focal(logits, labels, ones, params.Loss(focal_gamma=0.5)).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("labels", "ratio", "least", "chosen"),
    [
        # losses           .1 .9 .5 .7 .2 .8
        ([1, 0, 0, 0, 0, 0], 3.0, 64, {0, 1, 3, 5}),  # one positive, three hardest negatives
        ([1, 1, 0, 0, 0, 0], 1.0, 64, {0, 1, 3, 5}),
        ([1, 0, 0, 0, 0, 0], 1.5, 64, {0, 1}),  # int(1.5 * 1) = 1
        ([1, 1, 1, 0, 0, 0], 3.0, 64, {0, 1, 2, 3, 4, 5}),  # fewer negatives than asked for
        ([0, 0, 0, 0, 0, 0], 3.0, 2, {1, 5}),  # no positives: the hardest ones
        ([1, 1, 1, 1, 1, 1], 3.0, 64, {0, 1, 2, 3, 4, 5}),
    ],
)
def test_hard_examples_by_hand(labels: list[int], ratio: float, least: int, chosen: set[int]) -> None:
    losses = torch.tensor([0.1, 0.9, 0.5, 0.7, 0.2, 0.8])
    assert set(hard_examples(losses, torch.tensor(labels), ratio, least).tolist()) == chosen


def test_without_positives_64_negatives_count_by_default() -> None:
    losses = torch.arange(100.0)
    settings = params.Loss(ohem=True)
    chosen = hard_examples(
        losses, torch.zeros(100, dtype=torch.int64), settings.ohem_ratio, settings.ohem_min_negatives
    )
    assert sorted(chosen.tolist()) == list(range(36, 100))


def test_the_training_loss_is_the_mean_over_the_chosen_and_only_they_learn() -> None:
    logits = logits_of(0.9, 0.1, 0.6, 0.3, 0.2).requires_grad_()
    labels = torch.tensor([1, 0, 0, 0, 0])
    loss = mined(params.Loss(ohem=True, ohem_ratio=2.0), logits, labels)
    terms = [5 * -math.log(0.9), 1.25 * -math.log(0.4), 1.25 * -math.log(0.7)]
    assert loss.item() == pytest.approx(sum(terms) / 3, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum(dim=1) > 0).tolist() == [True, False, True, True, False]


def test_validation_is_never_mined() -> None:
    logits, labels = torch.randn(9, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0] * 3)
    weighted = F.cross_entropy(logits, labels, weight=torch.tensor([1.5, 3.0]), reduction="none").mean()
    loss = PatchObjective(params.Loss(ohem=True), (1.5, 3.0), mined=False).batch(logits, labels)[0]
    assert loss.item() == pytest.approx(weighted.item())


def test_terms_are_added_up_per_sample_and_mined_by_their_sum() -> None:
    logits, labels = logits_of(0.9, 0.1, 0.6, 0.3), torch.tensor([1, 0, 0, 0])
    settings = params.Loss(terms={"focal": 2.0, "cross_entropy": 0.5}, focal_gamma=1.0, ohem=True, ohem_ratio=1.0)
    by_hand = [5 * (0.5 + 2 * 0.1) * -math.log(0.9), 1.25 * (0.5 + 2 * 0.6) * -math.log(0.4)]
    assert mined(settings, logits, labels).item() == pytest.approx(sum(by_hand) / 2, rel=1e-5)


def test_an_epoch_of_patches_is_the_mean_over_samples_however_they_are_cut() -> None:
    logits, labels = torch.randn(9, 2, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 0] * 3)
    objective = PatchObjective(params.Loss(), (1.5, 3.0), mined=False)
    sums = torch.stack([objective.batch(logits[cut], labels[cut])[1] for cut in (slice(0, 7), slice(7, 9))])
    whole = F.cross_entropy(logits, labels, weight=torch.tensor([1.5, 3.0]), reduction="none").mean()
    assert objective.epoch(sums.double().sum(dim=0)) == pytest.approx(whole.item(), rel=1e-6)


def test_the_registry_has_the_names_that_a_classifiers_recipe_may_use() -> None:
    assert set(LOSSES) == set(get_args(Term)) - {
        "dice",
        "jaccard",
        "tversky",
        "lovasz",
    }  # which recipes refuse for this task


def test_smoothed_cross_entropy_by_hand_is_that_of_smp() -> None:
    torchvision_hook.install()
    from segmentation_models_pytorch.losses import SoftCrossEntropyLoss

    logits, labels = logits_of(0.2, 0.9, 0.6), torch.tensor([0, 1, 0])
    smoothed = params.Loss(label_smoothing=0.1)
    losses = cross_entropy(logits, labels, torch.ones(2, dtype=logits.dtype), smoothed)
    by_hand = [0.95 * -math.log(right) + 0.05 * -math.log(1 - right) for right in (0.8, 0.9, 0.4)]
    assert losses.tolist() == pytest.approx(by_hand, rel=1e-5)
    theirs = SoftCrossEntropyLoss(smooth_factor=0.1)(logits, labels)
    assert losses.mean().item() == pytest.approx(theirs.item(), rel=1e-6)
