"""Decorators for plug-ins: what a project's `plugins/*.py` and installed packages add to Acinus (docs/plugins.md).

    from acinus import plugins

    @plugins.loss("scaled")
    def scaled(logits, labels, weights, settings): ...

A decorator gives back what it decorates. Files are found by their text (`finding`) and run once a name of theirs is
used (`loading`), so the name is written out, and the function stands at the top level of its file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

    import numpy as np
    from torch import Tensor, nn

    from acinus.annotations.areas import Drawing
    from acinus.annotations.frame import Frame
    from acinus.cohorts.adapter import Order, Row
    from acinus.learning.losses import Pixels
    from acinus.metrics.metric import Case, Taken
    from acinus.params import Loss, Recipe

Kind = Literal["loss", "network", "encoder", "augmentation", "metric", "annotation_reader", "cohort_family"]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

MARKED = "__acinus_plugins__"
"""Name, in a file that ran, of what its decorators saw: (kind, name) -> what is decorated, keyword -> value."""


class PixelLoss(Protocol):
    """A loss of all px together, such as an overlap: a value of sums that batches contribute to."""

    @staticmethod
    def sums(batch: Pixels) -> Tensor:
        """Return what a batch contributes: float (k,), the same k for every batch."""

    @staticmethod
    def value(sums: Tensor, settings: Loss) -> Tensor:
        """Return the loss of added contributions: a number, differentiable."""


class MetricWords(TypedDict, total=False):
    """Fields of `acinus.metrics.metric.Metric` that a plug-in may set."""

    label: str
    about: str
    short: str
    unit: Literal["share", "percent", "points", "mm²", "number", "count"]
    better: Literal["higher", "lower", "near zero", "neither"]
    averaged: Literal["slides", "patches", "pooled", "none"]
    counts: str
    things: str
    tasks: tuple[str, ...]
    classes: Literal["any", "two", "many"]
    columns: tuple[str, ...]
    tables: tuple[str, ...]
    interval: bool
    compared: bool
    shown: tuple[str, ...]
    tolerance: float | None


PatchLoss = TypeVar("PatchLoss", bound="Callable[[Tensor, Tensor, Tensor, Loss], Tensor] | type[PixelLoss]")
NetworkMaker = TypeVar("NetworkMaker", bound="Callable[[int], nn.Module]")
EncoderMaker = TypeVar("EncoderMaker", bound="Callable[[], nn.Module]")
Change = TypeVar("Change", bound="Callable[[np.ndarray, np.random.Generator], np.ndarray]")
Take = TypeVar("Take", bound="Callable[[Case], Taken]")
Reader = TypeVar("Reader", bound="Callable[[Path, Frame], Drawing]")
Ingest = TypeVar("Ingest", bound="Callable[[Order[Any]], list[Row]]")


def loss(name: str) -> Callable[[PatchLoss], PatchLoss]:
    """Register a loss, a term of `train.loss.terms`.

    A function: float32 logits (n, classes), int64 labels (n,), float32 class weights (classes,) and the section
    train.loss -> losses (n,), of patches or (task segmentation) of known px; their mean is the loss. A class: a
    `PixelLoss`, for task segmentation only.
    """
    return _mark("loss", name)


def network(
    name: str, *, task: Literal["patch_classification", "segmentation"] = "patch_classification"
) -> Callable[[NetworkMaker], NetworkMaker]:
    """Register a network, a value of `train.model`: number of classes -> module.

    It takes float32 (n, 3, px, px), normalised as for ImageNet, and gives logits (n, classes), or (n, classes, px, px)
    for task segmentation, where px is a multiple of 32 (other patches are padded). train.weights is none or a file.
    """
    return _mark("network", name, task=task)


def encoder(name: str) -> Callable[[EncoderMaker], EncoderMaker]:
    """Register an encoder of segmentation networks, a value of `train.encoder`: nothing -> module.

    The module gives feature maps with strides 2, 4, 8, 16 and 32 of float32 (n, 3, px, px), finest first, and says
    their channels in its attribute `channels`, five numbers.
    """
    return _mark("encoder", name)


def augmentation(name: str, *, moves: bool = False) -> Callable[[Change], Change]:
    """Register a random change of training patches, one of `train.augmentations`: pixels, random numbers -> pixels.

    Pixels are uint8 (px, px, 3) before and after. moves: px change their places, so that masks, uint8 (px, px), are
    changed by the same function with the same random numbers.
    """
    return _mark("augmentation", name, moves=moves)


def metric(name: str, **words: Unpack[MetricWords]) -> Callable[[Take], Take]:
    """Register a metric, which every report has that it can be taken of: the test slides -> measure.

    words: fields of `acinus.metrics.metric.Metric`; `label` and `about` are what people read.
    """
    return _mark("metric", name, **words)


def annotation_reader(name: str, *, suffixes: tuple[str, ...]) -> Callable[[Reader], Reader]:
    """Register a reader of annotation files with these suffixes (lower case): path, frame of the slide -> `Drawing`.

    A file that no tool known to Acinus wrote is read by it; it raises SlideError for one that cannot be used.
    """
    return _mark("annotation_reader", name, suffixes=suffixes)


def cohort_family(name: str, *, recipe: type[Recipe], tables: Collection[str] = ()) -> Callable[[Ingest], Ingest]:
    """Register a family of cohorts: an order -> rows of records.MANIFEST (see Contributing).

    recipe: a subclass of `params.Recipe` that says anew no other fields than family, task and cohort. tables: names, in
    lower case, of tables that the function reads by itself.
    """
    return _mark("cohort_family", name, recipe=recipe, tables=frozenset(tables))


def _mark(kind: Kind, name: str, **given: Any) -> Callable[[Decorated], Decorated]:
    def mark(decorated: Decorated) -> Decorated:
        # of the file that is running: what is decorated may come from another one, as functools.partial does
        sys._getframe(1).f_globals.setdefault(MARKED, {})[kind, name] = decorated, given
        return decorated

    return mark
