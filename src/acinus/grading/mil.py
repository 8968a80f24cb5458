"""Attention-based multiple instance learning: a bag of patches -> class probabilities and who decided.

Source: Ilse, Tomczak, Welling 2018, "Attention-based deep multiple instance learning", equation 9 (gated attention).
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = Literal["ordinal", "cross_entropy", "huber", "hazard", "cox"]
"""What the answers are, and how far off they are: of ordered classes; of classes; a standardised number; the hazards of
intervals of time (each given that the ones before were survived); a log hazard, for a linear model of all slides.
"""


@dataclass(frozen=True)
class MilSpec:
    """What a grader is: `features` per patch, `classes` in their order, and the sizes that section `grade` gives.

    classes: of loss hazard the number of intervals; of huber and cox 1.
    """

    features: int
    classes: int
    hidden_units: int
    attention_units: int
    dropout: float
    loss: Loss
    aggregator: str = "attention"  # names a factory of `aggregators`


@dataclass(frozen=True, eq=False)
class Judged:
    """One bag as the network sees it.

    logits: (classes,), or for the ordinal loss (classes - 1,): of "worse than class k", falling with k.
    attention: (n,), at least 0, in sum 1. features: (hidden_units,), the mean of the patches by attention.
    patches: (n, hidden_units), the patches before that.
    """

    logits: Tensor
    attention: Tensor
    features: Tensor
    patches: Tensor


class Aggregator(nn.Module):
    """What turns the features of a slide's patches, float (n, features), n at least 1, into an answer (`Judged`).

    It standardises features by `mean` and `std`, and ends in the head of `add_head`. The ordinal head is a cumulative
    link model (McCullagh 1980): one score s for the bag and rising cut points b, P(worse than k) = sigmoid(s - b_k).
    Cut points rise by construction, so the probabilities never contradict each other; CORAL shares the score, but only
    its optimum has its biases in order.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: MilSpec) -> None:
        """What is drawn comes from torch's generator: seed it first."""
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(spec.features))
        self.register_buffer("std", torch.ones(spec.features))

    def add_head(self, width: int) -> None:
        """Add the last layer, which reads (width,)."""
        ordinal = self.spec.loss == "ordinal"
        self.head = nn.Linear(width, 1 if ordinal else self.spec.classes)
        if ordinal:
            self.first_cut = nn.Parameter(torch.tensor(-(self.spec.classes - 2) / 2))
            self.steps = nn.Parameter(torch.full((self.spec.classes - 2,), 0.5413))  # softplus: 1

    def standard(self, patches: Tensor) -> Tensor:
        """Return standardised features."""
        return (patches - self.mean) / self.std

    def answer(self, bag: Tensor) -> Tensor:
        """Return the logits of one bag's features, (width,)."""
        logits = self.head(bag)
        return logits - self.cuts() if self.spec.loss == "ordinal" else logits

    def cuts(self) -> Tensor:
        """Return the cut points of the ordinal head, rising, (classes - 1,)."""
        return torch.cat([self.first_cut[None], self.first_cut + torch.cumsum(F.softplus(self.steps), dim=0)])

    def whole_loss(self, loss: Tensor, judged: Judged, label: int) -> Tensor:
        """Return the loss to learn from, of the bag's loss and what the aggregator asks of single patches."""
        del judged, label
        return loss


class GatedAttention(Aggregator):
    """Standardise -> Linear, ReLU, Dropout (h) -> mean of h weighted by softmax(w(tanh(Vh) * sigmoid(Uh))) -> head."""

    def __init__(self, spec: MilSpec) -> None:
        """What is drawn comes from torch's generator: seed it first."""
        super().__init__(spec)
        self.embed = nn.Sequential(nn.Linear(spec.features, spec.hidden_units), nn.ReLU(), nn.Dropout(spec.dropout))
        self.v = nn.Linear(spec.hidden_units, spec.attention_units)
        self.u = nn.Linear(spec.hidden_units, spec.attention_units)
        self.w = nn.Linear(spec.attention_units, 1)
        self.add_head(spec.hidden_units)

    def forward(self, patches: Tensor) -> Judged:
        """Judge one bag, float (n, features), n at least 1, in any order."""
        h = self.embed(self.standard(patches))
        gate = self.w(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h)))  # (n, 1)
        attention = torch.softmax(gate[:, 0], dim=0)
        bag = attention @ h
        return Judged(self.answer(bag), attention, bag, h)


def class_probs(logits: Tensor, loss: Loss) -> Tensor:
    """Return the probability of every class, (classes,), in sum 1; for the losses of classes."""
    if loss == "cross_entropy":
        return torch.softmax(logits, dim=0)
    worse = torch.sigmoid(logits)
    edges = torch.cat([torch.ones_like(worse[:1]), worse, torch.zeros_like(worse[:1])])
    return edges[:-1] - edges[1:]


def bag_loss(logits: Tensor, label: float, loss: Loss, event: int = 1) -> Tensor:
    """Return the loss of one bag.

    cross_entropy: of class `label`. ordinal: the sum of binary ones over "worse than class k". huber: of the distance
    from `label`. hazard: the negative log-likelihood of having survived the first `label` intervals, and of the event
    in the next one where `event` is 1 (Gensheimer and Narasimhan, PeerJ 7 (2019) e6257): of one bag at a time, where
    Cox's partial likelihood needs all slides at risk at once.
    """
    if loss == "cross_entropy":
        return F.cross_entropy(logits[None], torch.tensor([int(label)], device=logits.device))
    if loss == "huber":
        return F.huber_loss(logits[0], torch.tensor(label, dtype=logits.dtype, device=logits.device))
    if loss == "hazard":
        died = torch.zeros(int(label) + event, dtype=logits.dtype, device=logits.device)
        died[int(label) :] = 1.0
        return F.binary_cross_entropy_with_logits(logits[: len(died)], died, reduction="sum")
    if loss == "ordinal":
        worse = (torch.arange(len(logits), device=logits.device) < label).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, worse, reduction="sum")
    raise ValueError(f"{loss} is no loss of a single bag")


def decide(probs: Tensor, loss: Loss) -> int:
    """Return the class that probabilities (classes,) say.

    Ordinal: their median, the first class that at most half of the probability lies beyond, which a single far
    guess does not pull; else the likeliest (of equal ones the first).
    """
    if loss == "cross_entropy":
        return int(probs.argmax())
    return int((probs.flip(0).cumsum(0).flip(0)[1:] > 0.5).sum())
