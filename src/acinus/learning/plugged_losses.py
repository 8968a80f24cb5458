"""Losses of plug-ins, as the objectives of `losses` take them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from acinus import params
from acinus.errors import AcinusError
from acinus.plugins import finding, loading
from acinus.plugins.loading import Loaded

if TYPE_CHECKING:
    from acinus.learning.losses import Pixels

Value = Callable[[Tensor, params.Loss], Tensor]


def of_samples(name: str) -> Callable[[Tensor, Tensor, Tensor, params.Loss], Tensor]:
    """Return a plug-in's loss of samples. AcinusError: none of this name, or other than a value per sample."""
    plugin = _named(name)

    def losses(logits: Tensor, labels: Tensor, weights: Tensor, settings: params.Loss) -> Tensor:
        values: Tensor = plugin.function(logits, labels, weights, settings)
        if values.shape != labels.shape:
            raise AcinusError(
                f"{plugin.plugin.place}: loss {name!r} gave {tuple(values.shape)} for {len(labels)} samples; expected "
                f"({len(labels)},)"
            )
        return values

    return losses


def of_px(name: str, mean: Value) -> tuple[Callable[["Pixels"], Tensor], Value]:
    """Return a plug-in's loss of all px together (losses.Term); one of samples has its `mean` over the known px.

    mean: [sum of losses, number] -> its value. AcinusError: no loss of this name.
    """
    plugin = _named(name)
    if plugin.plugin.is_class:
        return plugin.function.sums, plugin.function.value
    per_px = of_samples(name)

    def sums(batch: "Pixels") -> Tensor:
        losses = per_px(batch.log_p[batch.known], batch.target[batch.known], batch.weights, batch.settings)
        return torch.stack([losses.sum(), batch.known.sum().float()])

    return sums, mean


def last(names: Iterable[str], own: Iterable[str]) -> list[str]:
    """Return names in the order of Acinus's own, then plug-ins by name: no sum hangs on the order in a recipe."""
    asked, listed = set(names), list(own)
    return [name for name in listed if name in asked] + sorted(asked - set(listed))


def _named(name: str) -> Loaded:
    plugin = loading.named("loss", name)
    if plugin is None:
        raise AcinusError(f"train.loss.terms: {name}: no such loss; {finding.known('loss', ())}")
    return plugin
