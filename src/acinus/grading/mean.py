"""Mean pooling: the average of a slide's features and a linear model, the baseline that any attention has to beat."""

import torch
from torch import Tensor

from acinus.grading.linear import Linear
from acinus.grading.mil import Aggregator, Judged, MilSpec


class MeanPooling(Aggregator):
    """Mean of the features -> standardise by the training slides' means -> head. Every patch has the same attention."""

    def __init__(self, spec: MilSpec) -> None:
        """What is drawn comes from torch's generator: seed it first."""
        super().__init__(spec)
        self.add_head(spec.features)

    def forward(self, patches: Tensor) -> Judged:
        """Judge one bag, float (n, features), n at least 1, in any order."""
        bag = self.standard(patches.mean(dim=0))
        return Judged(self.answer(bag), patches.new_full((len(patches),), 1.0 / len(patches)), bag, patches)


def of_linear(linear: Linear, spec: MilSpec) -> MeanPooling:
    """Return the linear model of slides' mean features as an aggregator in evaluation mode."""
    model = MeanPooling(spec)
    with torch.no_grad():
        for place, values in (
            (model.mean, linear.mean),
            (model.std, linear.scale),
            (model.head.weight, linear.weights),
            (model.head.bias, linear.bias),
        ):
            place.copy_(torch.from_numpy(values))
    return model.eval()
