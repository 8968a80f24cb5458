"""What every aggregator promises: attention in sum 1, no order of patches, learning, and the same bits again."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save

from acinus import params
from acinus.grading.aggregators import AGGREGATORS
from acinus.grading.clam import BAG_WEIGHT, ClamSb
from acinus.grading.fit import Example, fit, moments_of, shown
from acinus.grading.linear import Truths, fit_linear
from acinus.grading.mean import of_linear
from acinus.grading.mil import Loss, MilSpec
from acinus.learning.device import reproducible

NAMES = sorted(AGGREGATORS)
LEARNED = [name for name in NAMES if name != "mean"]


def spec(aggregator: str, loss: Loss = "cross_entropy", classes: int = 2) -> MilSpec:
    sizes = {"hidden_units": 16, "attention_units": 8, "dropout": 0.1}
    return MilSpec(features=8, classes=classes, loss=loss, aggregator=aggregator, **sizes)


def settings(**more: object) -> params.Grade:
    return params.Grade(**{"target": "x", "kind": "binary", "max_epochs": 16, "lr": 5e-3, **more})


def bags(count: int, seed: int, shift: float = 6.0) -> list[Example]:
    """Bags of different sizes; in half of them a third of the patches have a large first feature."""
    rng, made = np.random.default_rng(seed), []
    for number in range(count):
        features = rng.normal(size=(int(rng.integers(6, 16)), 8)).astype(np.float32)
        if number % 2:
            features[: len(features) // 3, 0] += shift
        made.append(Example(features, number % 2))
    return made


def test_the_names_are_those_of_the_recipe() -> None:
    assert set(params.Grade.model_fields["aggregator"].annotation.__args__) == set(AGGREGATORS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("loss", "classes", "outputs"), [("cross_entropy", 3, 3), ("ordinal", 4, 3), ("huber", 1, 1)])
def test_any_bag_in_any_order(name: str, loss: Loss, classes: int, outputs: int) -> None:
    torch.manual_seed(0)
    model = AGGREGATORS[name](spec(name, loss, classes)).eval()
    for count in (1, 2, 7):
        patches = torch.randn(count, 8)
        order = torch.randperm(count)
        with torch.inference_mode():
            one, other = model(patches), model(patches[order])
        assert one.logits.shape == (outputs,)
        assert float(one.attention.sum()) == pytest.approx(1.0, abs=1e-6)
        assert float(one.attention.min()) >= 0
        assert torch.allclose(one.logits, other.logits, atol=1e-5)
        assert torch.allclose(one.attention[order], other.attention, atol=1e-6)


@pytest.mark.parametrize("name", LEARNED)
def test_what_can_be_learned_is_learned(name: str) -> None:
    fitted = fit(bags(40, 0), bags(20, 1), spec(name), settings(), 3)
    right = [int(fitted.model(torch.from_numpy(bag.features)).logits.argmax()) == bag.label for bag in bags(40, 2)]
    assert np.mean(right) > 0.9


@pytest.mark.parametrize("name", LEARNED)
def test_the_same_bits_again(name: str) -> None:
    short = settings(max_epochs=2, patch_dropout=0.3, feature_noise=0.2, max_patches=9)
    with reproducible(torch.device("cpu"), 1):
        one, other = (save(fit(bags(8, 0), bags(4, 1), spec(name), short, 3).model.state_dict()) for _ in range(2))
    assert one == other


def test_the_transformers_attention_is_that_of_the_class_token() -> None:
    """Against torch's own attention, which gives its weights."""
    torch.manual_seed(0)
    model = AGGREGATORS["transformer"](spec("transformer")).eval()
    patches = torch.randn(5, 8)
    tokens = torch.cat([model.token, model.embed(model.standard(patches))])
    for layer in model.layers:
        other = torch.nn.MultiheadAttention(16, layer.heads, batch_first=True).eval()
        other.in_proj_weight.data, other.in_proj_bias.data = layer.qkv.weight.data, layer.qkv.bias.data
        other.out_proj.weight.data, other.out_proj.bias.data = layer.out.weight.data, layer.out.bias.data
        normed = layer.norm(tokens)[None]
        mixed, weights = other(normed, normed, normed, average_attn_weights=True)
        tokens = tokens + mixed[0]
        tokens = tokens + layer.back(layer.feed(layer.after(tokens)))
    judged = model(patches)
    expected = weights[0, 0, 1:] / weights[0, 0, 1:].sum()
    assert torch.allclose(judged.attention, expected, atol=1e-6)
    assert torch.allclose(judged.logits, model.head(model.norm(tokens[0])), atol=1e-5)


def test_clam_learns_from_the_most_and_the_least_attended_patches() -> None:
    torch.manual_seed(0)
    for classes in (2, 3):
        model = ClamSb(spec("clam", classes=classes)).eval()
        judged = model(torch.randn(6, 8))
        order = judged.attention.argsort(descending=True)
        top, bottom = judged.patches[order[:3]], judged.patches[order[3:]]
        own = model.evidence[1]
        terms = [
            (F.cross_entropy(own(top), torch.tensor([1] * 3)) + F.cross_entropy(own(bottom), torch.tensor([0] * 3))) / 2
        ]
        if classes == 3:  # of exclusive classes: no evidence of another one
            terms += [F.cross_entropy(model.evidence[other](top), torch.tensor([0] * 3)) for other in (0, 2)]
        expected = BAG_WEIGHT * 2.0 + (1 - BAG_WEIGHT) * torch.stack(terms).mean()
        assert model.whole_loss(torch.tensor(2.0), judged, 1).item() == pytest.approx(expected.item(), abs=1e-6)
        one = model(torch.randn(1, 8))
        assert model.whole_loss(torch.tensor(2.0), one, 1).item() == 2.0


def test_mean_pooling_is_the_linear_model() -> None:
    rng = np.random.default_rng(0)
    slides = [rng.normal(size=(5, 8)).astype(np.float32) * 10 for _ in range(12)]
    means = np.array([slide.mean(axis=0, dtype=np.float64) for slide in slides])
    linear = fit_linear(means, Truths(np.arange(12) % 2.0, np.ones(12)), "classes", 2)
    model = of_linear(linear, spec("mean"))
    said = [model(torch.from_numpy(slide)).logits.detach().numpy() for slide in slides]
    assert np.array(said) == pytest.approx(linear.logits(means), abs=1e-5)


def test_what_a_training_step_sees() -> None:
    model = AGGREGATORS["attention"](spec("attention"))
    patches = torch.arange(160.0).reshape(20, 8)
    assert shown(patches, model, settings()) is patches
    some = shown(patches, model, settings(patch_dropout=0.25))
    assert len(some) == 15
    assert torch.equal(some, some[some[:, 0].argsort()])
    assert len(shown(patches, model, settings(max_patches=4))) == 4
    assert len(shown(patches[:1], model, settings(patch_dropout=0.9))) == 1
    torch.manual_seed(0)
    noisy = shown(torch.zeros(5000, 8), model, settings(feature_noise=0.5))
    assert float(noisy.std()) == pytest.approx(0.5, abs=0.02)


def test_moments_slide_by_slide_are_those_of_all_patches() -> None:
    slides = [Example((bag.features * 3 + 1000).astype(np.float32), 0) for bag in bags(7, 0)]
    every = np.concatenate([slide.features for slide in slides]).astype(np.float64)
    moments = moments_of(slides)
    assert moments.mean == pytest.approx(every.mean(axis=0), rel=1e-12)
    assert moments.std == pytest.approx(every.std(axis=0), rel=1e-9)
