"""How the slides of a study are stained: what `acinus predict` holds the stain of a new slide against."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from acinus.learning.colour import stain_summary

STAIN_FILE = "stain.json"


def density_of(colour: np.ndarray) -> np.ndarray:
    """Return the optical density of a slide's mean colour, float64 (3,). colour: of `baselines.tissue_colour`."""
    return np.asarray(-np.log((255 * colour[:3] + 1) / 256))


def study_stain(colours: Iterable[np.ndarray]) -> dict[str, Any]:
    """Return the content of a study's stain.json (learning.colour.TrainingStain) from the `tissue_colour` of slides."""
    return stain_summary([density_of(colour) for colour in colours if colour.any()])
