"""Calibrated probabilities: logits over a temperature, plus an offset per class."""

import math
from dataclasses import dataclass

import numpy as np

_SMALLEST = float(np.finfo(np.float32).tiny)  # a softmax in float32 gives 0 only by rounding


@dataclass(frozen=True)
class Scaling:
    """What makes a network's logits z worth their probabilities: softmax(z / temperature + bias).

    bias: an offset per class (only their differences count), or () for none; then the order within an item stays.

    Source: Guo et al., ICML 2017 (temperature); Alexandari, Kundaje, Shrikumar, ICML 2020 (with offsets).
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no scaling."""
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature {self.temperature}, expected a number above 0")
        if not all(math.isfinite(offset) for offset in self.bias):
            raise ValueError(f"bias {self.bias}, expected finite numbers")


AS_TRAINED = Scaling()
"""The network's probabilities as they are."""


def scaled(probs: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Return softmax(z / T + bias) of softmax(z), float64; the classes are the last axis.

    Probabilities below float32's smallest normal number are taken as that, so that a softmax that was rounded to 0
    can come back.
    """
    values = np.asarray(probs)
    if scaling.bias and values.shape[-1:] != (len(scaling.bias),):
        raise ValueError(
            f"{len(scaling.bias)} offsets for probabilities of shape {values.shape}, one per class expected"
        )
    shifted = logs(values) / scaling.temperature
    return np.exp(normalised(shifted + np.array(scaling.bias) if scaling.bias else shifted))


def logs(probs: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities, float64 and finite."""
    return np.log(np.maximum(probs.astype(np.float64), _SMALLEST))


def normalised(logits: np.ndarray) -> np.ndarray:
    """Return the log of the softmax over the last axis; the largest term is taken out, so that nothing underflows."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
