"""The network against its equations, and ordinal probabilities against their definition."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from acinus.grading.mil import GatedAttention, Loss, MilSpec, bag_loss, class_probs, decide


def spec(loss: Loss = "ordinal", classes: int = 6, dropout: float = 0.0) -> MilSpec:
    return MilSpec(features=5, classes=classes, hidden_units=7, attention_units=3, dropout=dropout, loss=loss)


def model(loss: Loss = "ordinal", classes: int = 6) -> GatedAttention:
    torch.manual_seed(3)
    made = GatedAttention(spec(loss, classes))
    made.mean.copy_(torch.linspace(-1, 1, 5))
    made.std.copy_(torch.linspace(0.5, 2, 5))
    return made.eval()


def bag(n: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32))


@pytest.mark.parametrize("loss", ["ordinal", "cross_entropy"])
def test_it_computes_the_equations_of_gated_attention(loss: Loss) -> None:
    net, x = model(loss), bag(4).numpy().astype(np.float64)
    w = {name: value.detach().numpy().astype(np.float64) for name, value in net.state_dict().items()}
    h = np.maximum((x - w["mean"]) / w["std"] @ w["embed.0.weight"].T + w["embed.0.bias"], 0)
    gate = np.tanh(h @ w["v.weight"].T + w["v.bias"]) / (1 + np.exp(-(h @ w["u.weight"].T + w["u.bias"])))
    energy = np.exp(gate @ w["w.weight"][0])  # its bias cancels
    a = energy / energy.sum()
    z = a @ h
    logits = z @ w["head.weight"].T + w["head.bias"]
    if loss == "ordinal":
        logits = logits - w["first_cut"] - np.concatenate([[0], np.log1p(np.exp(w["steps"])).cumsum()])
    judged = net(bag(4))
    assert judged.attention.tolist() == pytest.approx(a.tolist(), abs=1e-6)
    assert judged.features.tolist() == pytest.approx(z.tolist(), abs=1e-5)
    assert judged.logits.tolist() == pytest.approx(logits.tolist(), abs=1e-5)


@given(st.integers(1, 40), st.integers(0, 1000))
def test_attention_is_a_distribution_that_follows_the_patches(n: int, seed: int) -> None:
    net, x = model(), bag(n, seed)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    with torch.inference_mode():
        one, other = net(x), net(x[order])
    assert float(one.attention.sum()) == pytest.approx(1.0, abs=1e-5)
    assert bool((one.attention >= 0).all())
    assert other.attention.tolist() == pytest.approx(one.attention[order].tolist(), abs=1e-6)
    assert other.logits.tolist() == pytest.approx(one.logits.tolist(), abs=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_ordinal_probabilities_are_a_distribution_however_the_head_was_trained(classes: int) -> None:
    net = model("ordinal", classes)
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.from_numpy(np.random.default_rng(1).normal(0, 3, tuple(weight.shape)).astype("f4")))
    with torch.inference_mode():
        for seed in range(20):
            logits = net(bag(3, seed)).logits
            probs = class_probs(logits.double(), "ordinal")
            assert logits.shape == (classes - 1,)
            assert bool((logits.diff() <= 0).all())  # "worse than k" is never likelier than "worse than k - 1"
            assert probs.shape == (classes,)
            assert bool((probs >= 0).all())
            assert float(probs.sum()) == pytest.approx(1.0, abs=1e-12)


def test_ordinal_probabilities_and_loss_by_hand() -> None:
    logits = torch.log(torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64) / torch.tensor([0.1, 0.5, 0.8]))
    assert class_probs(logits, "ordinal").tolist() == pytest.approx([0.1, 0.4, 0.3, 0.2])
    # label 2: worse than 0 and 1 is true, worse than 2 is not
    expected = -np.log(0.9) - np.log(0.5) - np.log(0.8)
    assert float(bag_loss(logits, 2, "ordinal")) == pytest.approx(expected)
    assert float(bag_loss(logits, 0, "ordinal")) == pytest.approx(-np.log(0.1) - np.log(0.5) - np.log(0.8))


def test_cross_entropy_probabilities_and_loss_by_hand() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2]))
    assert class_probs(logits, "cross_entropy").tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert float(bag_loss(logits, 1, "cross_entropy")) == pytest.approx(-np.log(0.3), abs=1e-6)


@pytest.mark.parametrize(
    ("probs", "median", "likeliest"),
    [
        ([1.0, 0.0, 0.0], 0, 0),
        ([0.0, 0.0, 1.0], 2, 2),
        ([0.4, 0.25, 0.35], 1, 0),  # the likeliest is not the middle
        ([0.5, 0.5, 0.0], 0, 0),
        ([0.49, 0.0, 0.51], 2, 2),
    ],
)
def test_what_probabilities_say(probs: list[float], median: int, likeliest: int) -> None:
    assert decide(torch.tensor(probs, dtype=torch.float64), "ordinal") == median
    assert decide(torch.tensor(probs, dtype=torch.float64), "cross_entropy") == likeliest
