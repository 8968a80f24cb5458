"""What simpler models say of a slide: the mean of its features, its size alone, its colour alone, no look at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from acinus.grading.answers import counts_of, goal_of
from acinus.grading.linear import Linear, Truths, as_probs, fit_linear
from acinus.grading.targets import Kind
from acinus.scoring.decisions import CLASSED
from acinus.slides.open import SlidePixels
from acinus.tissue.mask import TissueMask

NAMES = ("mean_pooling", "size_only", "colour_only", "majority")
"""Columns of records.PREDICTIONS."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What simpler models see of a slide. mean: of its features, float64 (d,). patches: their number. colour: see
    `tissue_colour`.
    """

    mean: np.ndarray
    patches: int
    colour: np.ndarray

    def seen_by(self, name: str) -> np.ndarray:
        """Return what the baseline of this name looks at, float64."""
        if name == "mean_pooling":
            return self.mean
        return self.colour if name == "colour_only" else np.array([np.log(self.patches)])


def tissue_colour(slide: SlidePixels, tissue: TissueMask) -> np.ndarray:
    """Return float64 (6,): mean and standard deviation of R, G and B in [0, 1] over the px of the tissue mask.

    One look at the slide's overview of the mask's size; zeros where there is no tissue.
    """
    rows, columns = tissue.mask.shape
    if not tissue.mask.any():
        return np.zeros(6)
    colours = slide.overview(columns, rows)[tissue.mask] / 255.0
    return np.concatenate([colours.mean(axis=0), colours.std(axis=0)])


@dataclass(frozen=True, eq=False)
class Baselines:
    """Models of one run. linear: name -> model, of all but majority, which is the answer itself."""

    kind: Kind
    linear: Mapping[str, Linear]
    majority: tuple[float, ...]

    def answers(self, facts: Facts) -> dict[str, list[float]]:
        """Return name -> probabilities of every class, or the value or log hazard, of a slide."""
        said = {}
        for name, model in self.linear.items():
            logits = model.logits(facts.seen_by(name)[None])
            said[name] = (as_probs(logits) if self.kind in CLASSED else logits)[0].tolist()
        return said | {"majority": list(self.majority)}


def fit_baselines(
    kind: Kind, classes: int, train: tuple[Sequence[Facts], Truths], val: tuple[Sequence[Facts], Truths]
) -> Baselines:
    """Return the models of the training slides; their penalty is chosen on the validation slides."""
    goal = goal_of(kind)
    linear = {}
    for name in NAMES[:-1]:
        seen, checked = (np.array([one.seen_by(name) for one in facts]) for facts, _ in (train, val))
        linear[name] = fit_linear(seen, train[1], goal, classes, (checked, val[1]) if len(val[1]) else None)
    if kind in CLASSED:
        shares = counts_of(train[1].value.tolist(), classes) / len(train[1])
        return Baselines(kind, linear, tuple(shares.tolist()))
    return Baselines(kind, linear, (float(train[1].value.mean()) if kind == "regression" else 0.0,))
