"""Attention-based multiple instance learning: a bag of patches -> class probabilities and who decided.

Source: Ilse, Tomczak, Welling 2018, "Attention-based deep multiple instance learning", equation 9 (gated attention).
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = Literal["ordinal", "cross_entropy"]


@dataclass(frozen=True)
class MilSpec:
    """What a grader is: `features` per patch, `classes` in their order, and the sizes that section `grade` gives."""

    features: int
    classes: int
    hidden_units: int
    attention_units: int
    dropout: float
    loss: Loss


@dataclass(frozen=True, eq=False)
class Judged:
    """One bag as the network sees it.

    logits: (classes,), or for the ordinal loss (classes - 1,): of "worse than class k", falling with k.
    attention: (n,), at least 0, in sum 1. features: (hidden_units,), the mean of the patches by attention.
    """

    logits: Tensor
    attention: Tensor
    features: Tensor


class GatedAttention(nn.Module):
    """Standardise -> Linear, ReLU, Dropout (h) -> mean of h weighted by softmax(w(tanh(Vh) * sigmoid(Uh))) -> head.

    The ordinal head is a cumulative link model (McCullagh 1980): one score s for the bag and rising cut points b,
    P(worse than k) = sigmoid(s - b_k). Cut points rise by construction, so the probabilities never contradict each
    other; CORAL shares the score, but only its optimum has its biases in order.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: MilSpec) -> None:
        """What is drawn comes from torch's generator: seed it first."""
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(spec.features))
        self.register_buffer("std", torch.ones(spec.features))
        self.embed = nn.Sequential(nn.Linear(spec.features, spec.hidden_units), nn.ReLU(), nn.Dropout(spec.dropout))
        self.v = nn.Linear(spec.hidden_units, spec.attention_units)
        self.u = nn.Linear(spec.hidden_units, spec.attention_units)
        self.w = nn.Linear(spec.attention_units, 1)
        ordinal = spec.loss == "ordinal"
        self.head = nn.Linear(spec.hidden_units, 1 if ordinal else spec.classes)
        if ordinal:
            self.first_cut = nn.Parameter(torch.tensor(-(spec.classes - 2) / 2))
            self.steps = nn.Parameter(torch.full((spec.classes - 2,), 0.5413))  # softplus: 1

    def forward(self, patches: Tensor) -> Judged:
        """Judge one bag, float (n, features), n at least 1, in any order."""
        h = self.embed((patches - self.mean) / self.std)
        gate = self.w(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h)))  # (n, 1)
        attention = torch.softmax(gate[:, 0], dim=0)
        bag = attention @ h
        logits = self.head(bag)
        return Judged(logits - self.cuts() if self.spec.loss == "ordinal" else logits, attention, bag)

    def cuts(self) -> Tensor:
        """Return the cut points of the ordinal head, rising, (classes - 1,)."""
        return torch.cat([self.first_cut[None], self.first_cut + torch.cumsum(F.softplus(self.steps), dim=0)])


def class_probs(logits: Tensor, loss: Loss) -> Tensor:
    """Return the probability of every class, (classes,), in sum 1."""
    if loss == "cross_entropy":
        return torch.softmax(logits, dim=0)
    worse = torch.sigmoid(logits)
    edges = torch.cat([torch.ones_like(worse[:1]), worse, torch.zeros_like(worse[:1])])
    return edges[:-1] - edges[1:]


def bag_loss(logits: Tensor, label: int, loss: Loss) -> Tensor:
    """Return the loss of one bag: cross-entropy, or the sum of binary ones over "worse than class k"."""
    if loss == "cross_entropy":
        return F.cross_entropy(logits[None], torch.tensor([label]))
    worse = (torch.arange(len(logits)) < label).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, worse, reduction="sum")


def decide(probs: Tensor, loss: Loss) -> int:
    """Return the class that probabilities (classes,) say.

    Ordinal: their median, the first class that at most half of the probability lies beyond, which a single far
    guess does not pull; else the likeliest (of equal ones the first).
    """
    if loss == "cross_entropy":
        return int(probs.argmax())
    return int((probs.flip(0).cumsum(0).flip(0)[1:] > 0.5).sum())
