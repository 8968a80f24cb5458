"""How strongly a slide is stained: its mean optical density, and what that was over the training slides."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

Rgb = tuple[float, float, float]


class TrainingStain(BaseModel):
    """What stain.json holds: see `stain_summary`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    n: int
    mean: Rgb | None
    std: Rgb | None
    covariance: tuple[Rgb, Rgb, Rgb] | None

    @field_validator("covariance")
    @classmethod
    def _of_something(cls, value: tuple[Rgb, Rgb, Rgb] | None) -> tuple[Rgb, Rgb, Rgb] | None:
        """Refuse what is no covariance: a distance by it would be no number."""
        matrix = np.array(value or np.eye(3))
        if not np.array_equal(matrix, matrix.T) or np.linalg.eigvalsh(matrix).min() < -1e-9:
            raise ValueError("no covariance")
        return value


def optical_density(patches: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean optical density of R, G and B over uint8 (..., 3) pixels, float64 (3,).

    Density is -log((value + 1) / 256), after Beer and Lambert with 255 as clear glass: 0 for white, 5.5 for black.
    NaN without pixels.
    """
    table = -np.log((np.arange(256) + 1) / 256)
    counts = np.zeros((3, 256), dtype=np.int64)
    for patch in patches:
        for channel in range(3):
            counts[channel] += np.bincount(patch[..., channel].ravel(), minlength=256)
    total = counts.sum(axis=1)
    return counts @ table / np.where(total, total, np.nan)


def stain_summary(densities: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return mean, standard deviation and covariance (n - 1) of the slides' densities, each (3,), for stain.json.

    std and covariance are None with a single slide, everything with none.
    """
    values = np.array(densities, dtype=np.float64).reshape(-1, 3)
    several = len(values) > 1
    return {
        "n": len(values),
        "mean": values.mean(axis=0).tolist() if len(values) else None,
        "std": values.std(axis=0, ddof=1).tolist() if several else None,
        "covariance": np.cov(values, rowvar=False).tolist() if several else None,
    }
