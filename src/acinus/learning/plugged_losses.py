"""Losses of plug-ins, as the objectives of `losses` take them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

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
        values = plugin.function(logits, labels, weights, settings)
        return _checked(plugin, values, labels.shape, f"{len(labels)} samples")

    return losses


def of_px(name: str, mean: Value) -> tuple[Callable[["Pixels"], Tensor], Value]:
    """Return a plug-in's loss of all px together (losses.Term); one of samples has its `mean` over the known px.

    mean: [sum of losses, number] -> its value. AcinusError: no loss of this name.
    """
    plugin = _named(name)
    if plugin.plugin.is_class:
        of_batch, of_sums = plugin.function.sums, plugin.function.value
        return (
            lambda batch: _checked(plugin, of_batch(batch), None, "the sums of a batch"),
            lambda sums, settings: _checked(plugin, of_sums(sums, settings), (), "the value of sums"),
        )
    per_px = of_samples(name)

    def sums(batch: "Pixels") -> Tensor:
        losses = per_px(batch.log_p[batch.known], batch.target[batch.known], batch.weights, batch.settings)
        return torch.stack([losses.sum(), batch.known.sum().float()])

    return sums, mean


def last(names: Iterable[str], own: Iterable[str]) -> list[str]:
    """Return names in the order of Acinus's own, then plug-ins by name: no sum hangs on the order in a recipe."""
    asked, listed = set(names), list(own)
    return [name for name in listed if name in asked] + sorted(asked - set(listed))


def _checked(plugin: Loaded, values: Any, shape: tuple[int, ...] | None, what: str) -> Tensor:
    """Return what a plug-in gave for something, a tensor of this shape; None: of one axis."""
    if isinstance(values, Tensor) and (values.ndim == 1 if shape is None else values.shape == shape):
        return values
    gave = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    raise AcinusError(
        f"{plugin.plugin.place}: loss {plugin.plugin.name!r} gave {gave} for {what}; expected a tensor "
        f"{'(k,)' if shape is None else tuple(shape)}"
    )


def _named(name: str) -> Loaded:
    plugin = loading.named("loss", name)
    if plugin is None:
        raise AcinusError(f"train.loss.terms: {name}: no such loss; {finding.known('loss', ())}")
    return plugin
