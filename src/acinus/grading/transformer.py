"""A small transformer over the patches of a slide, after TransMIL.

Source: Shao et al., TransMIL, NeurIPS 2021. Attention is exact where theirs is approximated, and there is no encoding
of places: patches are a set.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acinus.grading.mil import Aggregator, Judged, MilSpec

LAYERS = 2
HEADS = (4, 2, 1)
"""Heads per layer, the first number that divides the units."""


class Layer(nn.Module):
    """Pre-normed self-attention and a feed-forward part of twice the width, each added to its input."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.heads = next(heads for heads in HEADS if width % heads == 0)
        self.norm, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout))
        self.back = nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (n, width) after the layer, and how the first one attends to each, (n,), mean over heads."""
        n, width = tokens.shape
        qkv = self.qkv(self.norm(tokens)).reshape(n, 3, self.heads, -1)
        q, k, v = qkv.permute(1, 2, 0, 3)  # (heads, n, width / heads) each
        mixed = F.scaled_dot_product_attention(q[None], k[None], v[None])[0].transpose(0, 1).reshape(n, width)
        tokens = tokens + self.out(mixed)
        tokens = tokens + self.back(self.feed(self.after(tokens)))
        scores = torch.softmax((q[:, :1] @ k.transpose(1, 2))[:, 0] / q.shape[-1] ** 0.5, dim=1)
        return tokens, scores.mean(dim=0)


class Transformer(Aggregator):
    """Standardise -> Linear, ReLU, Dropout -> a class token and LAYERS layers -> normed class token -> head.

    Attention is that of the class token in the last layer, over the patches.
    """

    def __init__(self, spec: MilSpec) -> None:
        """What is drawn comes from torch's generator: seed it first."""
        super().__init__(spec)
        width = spec.hidden_units
        self.embed = nn.Sequential(nn.Linear(spec.features, width), nn.ReLU(), nn.Dropout(spec.dropout))
        self.token = nn.Parameter(torch.randn(1, width) * 0.02)
        self.layers = nn.ModuleList(Layer(width, spec.dropout) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(width)
        self.add_head(width)

    def forward(self, patches: Tensor) -> Judged:
        """Judge one bag, float (n, features), n at least 1, in any order."""
        h = self.embed(self.standard(patches))
        tokens = torch.cat([self.token, h])
        scores = tokens.new_ones(len(tokens))
        for layer in self.layers:
            tokens, scores = layer(tokens)
        bag = self.norm(tokens[0])
        return Judged(self.answer(bag), scores[1:] / scores[1:].sum(), bag, h)
