"""Every way in which a slide's patches become one answer, by the name in `grade.aggregator`."""

from collections.abc import Callable

from acinus.grading.clam import ClamSb
from acinus.grading.mean import MeanPooling
from acinus.grading.mil import Aggregator, GatedAttention, MilSpec
from acinus.grading.transformer import Transformer

AGGREGATORS: dict[str, Callable[[MilSpec], Aggregator]] = {
    "attention": GatedAttention,
    "mean": MeanPooling,
    "clam": ClamSb,
    "transformer": Transformer,
}
