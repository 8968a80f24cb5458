"""Losses of plug-ins, as the objectives of `losses` take them."""

from collections.abc import Callable, Iterable

from torch import Tensor

from acinus import params
from acinus.errors import AcinusError
from acinus.plugins import PixelLoss, finding, loading
from acinus.plugins.loading import Loaded


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


def of_all(name: str) -> type[PixelLoss] | None:
    """Return a plug-in's loss of all px together; None where it is one of samples. AcinusError: none of this name."""
    plugin = _named(name)
    function: type[PixelLoss] = plugin.function
    return function if plugin.plugin.is_class else None


def last(names: Iterable[str], own: Iterable[str]) -> list[str]:
    """Return names in the order of Acinus's own, then plug-ins by name: no sum hangs on the order in a recipe."""
    asked, listed = set(names), list(own)
    return [name for name in listed if name in asked] + sorted(asked - set(listed))


def _named(name: str) -> Loaded:
    plugin = loading.named("loss", name)
    if plugin is None:
        raise AcinusError(f"train.loss.terms: {name}: no such loss; {finding.known('loss', ())}")
    return plugin
