"""Beer-Lambert mixing of haematoxylin and eosin: concentrations in, RGB out."""

import dataclasses
import functools
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Optical density per unit of concentration in R, G, B (after Ruifrok & Johnston 2001, eosin reddened
# towards what scanners show).
HAEMATOXYLIN = (0.62, 0.78, 0.33)
EOSIN = (0.11, 0.78, 0.27)
_STEPS_PER_OD = 512
_MAX_OD = 4.0


@dataclasses.dataclass(frozen=True)
class Stain:
    """One slide's stain: optical density per unit for each dye, and the glass's grey value per channel."""

    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    glass: tuple[int, int, int]


def vary(rng: np.random.Generator, spread: float = 1.0) -> Stain:
    """Draw one slide's stain: hue, strength of each dye and glass differ from slide to slide."""
    strength_h = 1 + 0.16 * spread * (2 * rng.random() - 1)
    strength_e = 1 + 0.22 * spread * (2 * rng.random() - 1)
    hue = 1 + 0.10 * spread * (2 * rng.random((2, 3)) - 1)
    glass = int(rng.integers(238, 248))
    tint = rng.integers(-2, 3, size=3)
    return Stain(
        scaled((value * strength_h for value in HAEMATOXYLIN), hue[0].tolist()),
        scaled((value * strength_e for value in EOSIN), hue[1].tolist()),
        (glass + int(tint[0]), glass + int(tint[1]), glass + int(tint[2])),
    )


def scaled(density: Iterable[float], factors: Iterable[float]) -> tuple[float, float, float]:
    """Return optical densities in R, G, B times one factor each, rounded."""
    red, green, blue = (round(value * factor, 4) for value, factor in zip(density, factors, strict=True))
    return red, green, blue


@functools.lru_cache(maxsize=64)
def _transmission(glass: int) -> NDArray[np.uint8]:
    # exp() of a rounded argument, rounded to a grey value: the same table on every CPU
    levels = [glass * math.exp(-step / _STEPS_PER_OD) for step in range(int(_MAX_OD * _STEPS_PER_OD) + 1)]
    return np.array([int(round(level, 3) + 0.5) for level in levels], np.uint8)


def mix(
    haematoxylin: NDArray[np.float32],
    eosin: NDArray[np.float32],
    stain: Stain,
    ink: tuple[NDArray[np.float32], tuple[float, float, float]] | None = None,
) -> NDArray[np.uint8]:
    """Return the RGB picture (h, w, 3) of two concentration planes (h, w) and, if given, an ink plane.

    Transmitted light is glass * exp(-(H h + E e + I i)) per channel (Beer-Lambert), by table.
    """
    picture = np.empty((*haematoxylin.shape, 3), np.uint8)
    for channel in range(3):
        density = haematoxylin * stain.haematoxylin[channel]
        density += eosin * stain.eosin[channel]
        if ink is not None:
            density += ink[0] * ink[1][channel]
        density *= _STEPS_PER_OD
        step = np.clip(density, 0, _MAX_OD * _STEPS_PER_OD).astype(np.int32)
        picture[..., channel] = _transmission(stain.glass[channel])[step]
    return picture
