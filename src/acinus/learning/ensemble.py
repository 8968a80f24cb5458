"""Several networks as one, whose probabilities are the mean of theirs."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Networks of the same input and output; answers log of their mean probability, which are logits of that mean."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        """Take the networks, at least one."""
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 (n, classes, ...)."""
        each = torch.stack([member(x).float().log_softmax(dim=1) for member in self.members])
        return torch.logsumexp(each, dim=0) - math.log(len(self.members))
