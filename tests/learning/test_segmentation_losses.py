"""Losses of the segmenter against tables worked by hand, torch and segmentation_models_pytorch."""

import itertools
import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acinus import params
from acinus.learning import torchvision_hook
from acinus.learning.losses import IGNORE, TERMS, SegmentationObjective
from acinus.params.recipe import Term

WEIGHTS = {2: (1.25, 5.0), 3: (0.5, 0.7, 0.9)}


def objective(classes: int, **terms: float) -> SegmentationObjective:
    return SegmentationObjective(params.Loss(terms=terms, focal_gamma=2.0), WEIGHTS[classes])


def hand_case() -> tuple[Tensor, Tensor]:
    """One row of five pixels: P(1) = .2 .8 .5 .9 .9, truth 0 1 1 ? 0."""
    p = torch.tensor([0.2, 0.8, 0.5, 0.9, 0.9])
    return torch.stack([torch.log1p(-p), torch.log(p)]).reshape(1, 2, 1, 5), torch.tensor([[[0, 1, 1, IGNORE, 0]]])


def random_case(classes: int, seed: int = 0, patches: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, classes + 1, (patches, 6, 7), generator=generator)
    target[target == classes] = IGNORE
    return torch.randn(patches, classes, 6, 7, generator=generator) * 2, target


P_TRUE, W_TRUE = (0.8, 0.8, 0.5, 0.1), (1.25, 5.0, 5.0, 1.25)
BY_HAND = {
    "cross_entropy": sum(w * -math.log(p) for w, p in zip(W_TRUE, P_TRUE, strict=True)) / 12.5,
    "focal": sum(w * (1 - p) ** 2 * -math.log(p) for w, p in zip(W_TRUE, P_TRUE, strict=True)) / 12.5,
    "dice": 1 - 2 * (0.8 + 0.5) / ((0.2 + 0.8 + 0.5 + 0.9) + 2),
    "jaccard": 1 - (0.8 + 0.5) / ((0.2 + 0.8 + 0.5 + 0.9) + 2 - (0.8 + 0.5)),
    "tversky": 1 - (0.8 + 0.5) / ((0.8 + 0.5) + 0.5 * (0.2 + 0.9) + 0.5 * (0.2 + 0.5)),
    # errors .9 .5 .2 .2 of both classes; of class 1 the worst px is normal: IoU 2/3, 1/3 and 0 once each is wrong
    "lovasz": (
        (0.9 * (1 - 2 / 3) + 0.5 * (2 / 3 - 1 / 3) + 0.2 * (1 / 3))
        + (0.9 * (1 - 1 / 2) + 0.5 * (1 / 2 - 1 / 3) + 0.2 * (1 / 3))
    )
    / 2,
}


@pytest.mark.parametrize("name", sorted(TERMS))
def test_each_term_by_hand(name: str) -> None:
    loss, sums = objective(2, **{name: 1.0}).batch(*hand_case())
    assert loss.item() == pytest.approx(BY_HAND[name], rel=1e-5)
    assert objective(2, **{name: 1.0}).epoch(sums.double()) == pytest.approx(BY_HAND[name], rel=1e-5)


def test_terms_are_added_up_by_their_weights_in_any_order() -> None:
    forward = objective(2, cross_entropy=1.0, dice=0.5, jaccard=2.0, focal=3.0)
    backward = objective(2, focal=3.0, jaccard=2.0, dice=0.5, cross_entropy=1.0)
    loss, sums = forward.batch(*hand_case())
    by_hand = BY_HAND["cross_entropy"] + 0.5 * BY_HAND["dice"] + 2 * BY_HAND["jaccard"] + 3 * BY_HAND["focal"]
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)
    assert forward.epoch(sums.double()) == pytest.approx(by_hand, rel=1e-5)
    assert backward.batch(*hand_case())[0].item() == loss.item()


def test_cross_entropy_equals_torch_with_its_gradient() -> None:
    logits, target = random_case(3)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    mine = objective(3, cross_entropy=1.0).batch(ours, target)[0]
    reference = F.cross_entropy(theirs, target, weight=torch.tensor(WEIGHTS[3]), ignore_index=IGNORE)
    torch.testing.assert_close(mine, reference)
    mine.backward()
    reference.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("name", "theirs"), [("dice", "DiceLoss"), ("jaccard", "JaccardLoss")])
@pytest.mark.parametrize("absent", [False, True])
def test_overlaps_equal_segmentation_models_pytorch(classes: int, name: str, theirs: str, absent: bool) -> None:
    torchvision_hook.install()
    from segmentation_models_pytorch import losses

    logits, target = random_case(classes)
    if absent:
        target[target == 1] = 0
    build = getattr(losses, theirs)
    reference = build("multiclass", classes=[1] if classes == 2 else None, ignore_index=IGNORE)(logits, target)
    ours = objective(classes, **{name: 1.0}).batch(logits, target)[0]
    torch.testing.assert_close(ours, reference.to(ours.dtype), rtol=1e-5, atol=1e-6)


def test_two_classes_equal_the_binary_loss_of_the_foreground() -> None:
    torchvision_hook.install()
    from segmentation_models_pytorch.losses import DiceLoss

    logits, target = random_case(2)
    margin = (logits[:, 1] - logits[:, 0])[:, None]
    reference = DiceLoss("binary", ignore_index=IGNORE)(margin, target)
    torch.testing.assert_close(objective(2, dice=1.0).batch(logits, target)[0], reference)


@pytest.mark.parametrize("classes", [2, 3])
def test_an_epoch_is_one_batch_however_it_is_cut(classes: int) -> None:
    logits, target = random_case(classes, patches=9)
    whole = objective(classes, cross_entropy=1.0, focal=1.0, dice=1.0, jaccard=1.0)
    expected = whole.batch(logits, target)[0].item()
    for cuts in ((0, 9), (0, 4, 8, 9), (0, 1, 9)):
        parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
        sums = torch.stack([whole.batch(logits[part], target[part])[1] for part in parts]).double().sum(dim=0)
        assert whole.epoch(sums) == pytest.approx(expected, rel=1e-5)
    means = [whole.batch(logits[i : i + 1], target[i : i + 1])[0].item() for i in range(9)]
    assert sum(means) / 9 != pytest.approx(expected, rel=1e-3)  # a mean over batches is another number


@pytest.mark.parametrize("name", sorted(TERMS))
@pytest.mark.parametrize("classes", [2, 3])
def test_ignored_pixels_neither_count_nor_learn_and_nothing_known_is_0(name: str, classes: int) -> None:
    logits, target = random_case(classes)
    changed = torch.where((target == IGNORE)[:, None], logits + 3, logits).requires_grad_()
    loss = objective(classes, **{name: 1.0}).batch(changed, target)[0]
    torch.testing.assert_close(loss, objective(classes, **{name: 1.0}).batch(logits, target)[0])
    loss.backward()
    assert changed.grad is not None
    learning = changed.grad.abs().sum(dim=1) > 0
    assert not learning[target == IGNORE].any()
    assert learning[target != IGNORE].all()
    nothing = logits.clone().requires_grad_()
    loss, sums = objective(classes, **{name: 1.0}).batch(nothing, torch.full_like(target, IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert objective(classes, **{name: 1.0}).epoch(sums.double()) == 0
    assert nothing.grad is not None
    assert nothing.grad.abs().sum() == 0


def test_sixteen_bit_logits_are_scored_in_32() -> None:
    logits, target = random_case(3)
    half = logits.to(torch.bfloat16)
    loss, sums = objective(3, cross_entropy=1.0, dice=1.0).batch(half, target)
    assert (loss.dtype, sums.dtype) == (torch.float32, torch.float32)
    assert loss.item() == objective(3, cross_entropy=1.0, dice=1.0).batch(half.float(), target)[0].item()


def test_certain_answers_have_finite_slopes() -> None:
    logits = torch.tensor([[80.0, -80.0], [-80.0, 80.0]]).reshape(1, 2, 1, 2).requires_grad_()
    settings = params.Loss(terms={"focal": 1.0, "dice": 1.0, "jaccard": 1.0, "cross_entropy": 1.0}, focal_gamma=0.5)
    SegmentationObjective(settings, (1.0, 1.0)).batch(logits, torch.tensor([[[0, 1]]]))[0].backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_registry_has_the_names_of_the_recipe() -> None:
    assert set(TERMS) == set(get_args(Term))


@pytest.mark.parametrize("classes", [2, 3])
def test_tversky_equals_smp_with_its_gradient(classes: int) -> None:
    torchvision_hook.install()
    from segmentation_models_pytorch.losses import TverskyLoss

    logits, target = random_case(classes)
    target = target.where(target != IGNORE, 0)
    settings = params.Loss(terms={"tversky": 1.0}, tversky_alpha=0.3, tversky_beta=0.7)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    mine = SegmentationObjective(settings, WEIGHTS[classes]).batch(ours, target)[0]
    if classes == 2:  # the foreground alone: smp's binary mode of its probability
        margin = theirs[:, 1] - theirs[:, 0]
        reference = TverskyLoss("binary", alpha=0.3, beta=0.7, smooth=0.0)(margin[:, None], target[:, None])
    else:
        reference = TverskyLoss("multiclass", alpha=0.3, beta=0.7, smooth=0.0)(theirs, target)
    torch.testing.assert_close(mine, reference)
    mine.backward()
    reference.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("classes", [2, 3])
def test_lovasz_equals_smp_with_its_gradient(classes: int) -> None:
    torchvision_hook.install()
    from segmentation_models_pytorch.losses import LovaszLoss

    logits, target = random_case(classes)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    mine = objective(classes, lovasz=1.0).batch(ours, target)[0]
    reference = LovaszLoss("multiclass", ignore_index=IGNORE)(theirs, target)
    torch.testing.assert_close(mine, reference)
    mine.backward()
    reference.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_smoothed_cross_entropy_equals_torch_and_smp() -> None:
    torchvision_hook.install()
    from segmentation_models_pytorch.losses import SoftCrossEntropyLoss

    logits, target = random_case(3)
    settings = params.Loss(terms={"cross_entropy": 1.0}, label_smoothing=0.2)
    mine = SegmentationObjective(settings, WEIGHTS[3]).batch(logits, target)[0]
    weights = torch.tensor(WEIGHTS[3])
    torch.testing.assert_close(
        mine, F.cross_entropy(logits, target, weight=weights, ignore_index=IGNORE, label_smoothing=0.2)
    )
    known = target.where(target != IGNORE, 1)
    plain = SegmentationObjective(settings, (1.0, 1.0, 1.0)).batch(logits, known)[0]
    torch.testing.assert_close(plain, SoftCrossEntropyLoss(smooth_factor=0.2)(logits, known))
