"""A hidden layer on a backbone, and a backbone that does not learn."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from acinus.errors import AcinusError
from acinus.learning.models import build_model, check_input, normalisation, with_head
from acinus.learning.weights import PACKAGED, ModelSpec, timm

TINY = "test_resnet"


def build(**more: Any) -> Any:
    torch.manual_seed(0)
    return build_model(ModelSpec(**{"task": "patch_classification", "name": TINY, "classes": 2, **more}))


def step(model: nn.Module, px: int = 32) -> None:
    """Train on noise for three steps, as a training loop does."""
    optimizer = torch.optim.RMSprop([one for one in model.parameters() if one.requires_grad], lr=1e-2)
    draw = torch.Generator().manual_seed(0)
    for _ in range(3):
        model.train()
        loss = nn.functional.cross_entropy(model(torch.randn(8, 3, px, px, generator=draw)), torch.arange(8) % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def changed(before: dict[str, torch.Tensor], model: nn.Module) -> set[str]:
    return {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3_small_050", "convnext_atto", "densenet121", "test_vit"])
def test_a_head_reads_all_pooled_features_of_any_backbone(name: str) -> None:
    backbone = timm().create_model(name, num_classes=0).eval()
    px = 160 if name == "test_vit" else 64
    x = torch.rand(2, 3, px, px)
    head = with_head(backbone, 5, 0.3, 3).eval()
    weights = head.state_dict()
    assert head(x).shape == (2, 3)
    hidden = (backbone(x) @ weights["head.0.weight"].T + weights["head.0.bias"]).clamp(min=0)
    torch.testing.assert_close(head(x), hidden @ weights["head.3.weight"].T + weights["head.3.bias"])


def test_dropout_acts_on_the_hidden_layer_only_in_training() -> None:
    model, x = build(head_units=64, dropout=0.5), torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    seen: list[torch.Tensor] = []
    model.head[2].register_forward_hook(lambda _module, given, out: seen.extend([given[0], out]))
    model.eval()
    assert torch.equal(model(x), model(x))
    model.train()
    model.backbone.eval()  # its batch statistics are not what is looked at
    model(x)
    before, after = seen[-2:]
    lit = before > 0
    assert 0 < (after[lit] == 0).float().mean() < 1
    torch.testing.assert_close(after[after > 0], 2 * before[after > 0])


@pytest.mark.parametrize(
    ("settings", "learned"),
    [
        (
            {"head_units": 8, "dropout": 0.3},
            {f"head.{layer}.{part}" for layer in (0, 3) for part in ("weight", "bias")},
        ),
        ({}, {"fc.weight", "fc.bias"}),
        ({"name": "convnext_atto"}, {"head.fc.weight", "head.fc.bias"}),  # stages in lists, classifier below a layer
    ],
)
def test_of_a_frozen_network_the_head_alone_learns(settings: dict[str, Any], learned: set[str]) -> None:
    """Weights, and the batch statistics, which change without any gradient where they are forgotten."""
    model = build(freeze=True, **settings)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    step(model)
    assert changed(before, model) == learned
    thawed = build(**settings)
    before = {key: value.clone() for key, value in thawed.state_dict().items()}
    step(thawed)
    assert len(changed(before, thawed)) > 0.8 * len(before)


def test_a_frozen_backbone_computes_in_training_what_it_computes_after() -> None:
    """No batch statistics of the batch, no dropout, no graph; and a copy is as frozen as its original."""
    model = build(name="tf_efficientnet_lite0", freeze=True, head_units=8)
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    features = model.eval().backbone(x)
    for one in (model, copy.deepcopy(model)):
        seen: list[torch.Tensor] = []
        one.head.register_forward_pre_hook(lambda _module, given, seen=seen: seen.append(given[0]))
        one.train()
        one(x).sum().backward()
        assert torch.equal(seen[0], features)
        assert not seen[0].requires_grad
        assert all(weight.grad is None for weight in one.backbone.parameters())
        assert one.head.training


def test_frozen_and_free_networks_start_from_the_same_weights() -> None:
    free, frozen = build(head_units=8).state_dict(), build(head_units=8, freeze=True).state_dict()
    assert list(free) == list(frozen)
    assert all(torch.equal(free[key], frozen[key]) for key in free)


def test_the_packages_backbone_takes_a_head() -> None:
    plain = build(name=PACKAGED, weights="package").state_dict()
    headed = build(name=PACKAGED, weights="package", head_units=16, freeze=True).state_dict()
    body = {key: value for key, value in plain.items() if not key.startswith("classifier.")}
    assert len(body) == len(plain) - 2
    assert all(torch.equal(headed[f"backbone.{key}"], value) for key, value in body.items())
    assert headed["head.0.weight"].shape == (16, 1280)


def test_inception_v3_sees_299_px_under_a_head_of_128_units() -> None:
    spec = ModelSpec(
        task="patch_classification", name="inception_v3", classes=2, head_units=128, dropout=0.3, freeze=True
    )
    check_input(spec, 299)
    assert normalisation(spec) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = build_model(spec)
    logits = model.train()(torch.zeros(1, 3, 299, 299))  # no batch statistics: one patch will do
    assert logits.shape == (1, 2)
    assert (
        sum(weight.numel() for weight in model.parameters() if weight.requires_grad) == 2048 * 128 + 128 + 128 * 2 + 2
    )


def test_settings_that_would_do_nothing_are_refused() -> None:
    with pytest.raises(AcinusError, match=r"train.head_units = 0: a hidden layer has at least 1"):
        build(head_units=0)
    with pytest.raises(AcinusError, match=r"train.freeze stops the dropout inside the network: set train.head_units"):
        build(freeze=True, dropout=0.5)
