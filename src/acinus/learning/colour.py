"""What colours alone tell: a baseline for the network, and how strongly the training slides are stained.

The baseline is what a logistic regression on mean colours would say: a network that does not beat it has learned the
stain, not the tissue.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from acinus.errors import AcinusError
from acinus.scoring.confusion import IGNORE
from acinus.seeds import derive

Rgb = tuple[float, float, float]

MOST = 200_000
"""Most samples that a fit looks at."""


@dataclass(frozen=True)
class ColourModel:
    """A multinomial logistic regression as plain numbers.

    `weights` has a row and `bias` a number for each of the classes of `seen`, in ascending order; features
    are first shifted by `mean` and divided by `scale`. `majority` is the commonest training class.
    """

    classes: int
    majority: int
    seen: tuple[int, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def probs(self, features: np.ndarray) -> np.ndarray:
        """Return float64 (n, classes) probabilities of (n, features); 0 for a class absent from training."""
        standard = (np.asarray(features, dtype=np.float64) - np.array(self.mean)) / np.array(self.scale)
        logits = standard @ np.array(self.weights).T + np.array(self.bias)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        result = np.zeros((len(logits), self.classes))
        result[:, list(self.seen)] = powers / powers.sum(axis=1, keepdims=True)
        return result

    def to_json(self) -> dict[str, Any]:
        """Return the model as values that JSON has."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> "ColourModel":
        """Return the model of what `to_json` gave, also through a file. AcinusError: other keys, values or shapes."""
        try:
            weights = tuple(tuple(map(float, row)) for row in values["weights"])
            vectors = {name: tuple(map(float, values[name])) for name in ("mean", "scale", "bias")}
            seen = tuple(map(int, values["seen"]))
            model = cls(int(values["classes"]), int(values["majority"]), seen, weights=weights, **vectors)
        except (KeyError, TypeError, ValueError) as error:
            raise AcinusError(f"not a colour model ({error!r}); run the train stage again") from error
        shapes = {len(model.mean), len(model.scale), *(len(row) for row in weights)}
        if len(shapes) != 1 or not len(weights) == len(model.bias) == len(seen) or set(values) != set(asdict(model)):
            raise AcinusError("not a colour model (its parts do not fit each other); run the train stage again")
        return model


def patch_features(patch: np.ndarray) -> np.ndarray:
    """Return float64 (6,) mean and standard deviation of R, G and B in [0, 1] of a uint8 (h, w, 3) patch."""
    flat = patch.reshape(-1, 3) / 255.0
    return np.concatenate([flat.mean(axis=0), flat.std(axis=0)])


def pixel_features(colours: np.ndarray) -> np.ndarray:
    """Return float64 (n, 9): R, G, B in [0, 1], their squares, and RG, RB, GB, of (n, 3) colours."""
    values = np.asarray(colours, dtype=np.float64)
    red, green, blue = values.T
    return np.column_stack([values, values**2, red * green, red * blue, green * blue])


def mean_colours(patches: np.ndarray, masks: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what the px of a map looks like: (float64 (m, 3) colours in [0, 1], int64 (m,) classes).

    Each block of `block` x `block` px of the uint8 (n, h, w, 3) patches is one sample: its mean colour and
    the commonest value of its uint8 (n, h, w) mask, the lower one of two. Blocks that are mostly to be
    ignored are left out, and so is a rest that fills no block.

    Raises:
        AcinusError: masks of another size than the patches, or no whole block in them.
    """
    if masks.shape != patches.shape[:3]:
        raise AcinusError(f"masks of shape {masks.shape} do not fit patches of shape {patches.shape}; extract again")
    count, rows, columns = len(patches), patches.shape[1] // block, patches.shape[2] // block
    if not rows or not columns:
        raise AcinusError(f"blocks of {block} px do not fit patches of {patches.shape[1:3]} px; set a smaller block")
    tiles = (count, rows, block, columns, block)
    pixels = patches[:, : rows * block, : columns * block].reshape(*tiles, 3)
    colours = pixels.mean(axis=(2, 4), dtype=np.float64).reshape(-1, 3) / 255.0
    cut = masks[:, : rows * block, : columns * block].reshape(tiles)
    values = np.unique(cut)
    if not len(values):
        return np.zeros((0, 3)), np.zeros(0, dtype=np.int64)
    counts = np.stack([(cut == value).sum(axis=(2, 4), dtype=np.int64).reshape(-1) for value in values])
    labels = values[counts.argmax(axis=0)].astype(np.int64)
    known = labels != IGNORE
    return colours[known], labels[known]


def fit_colours(features: np.ndarray, labels: np.ndarray, classes: int = 2, *, seed: int = 0) -> ColourModel:
    """Return the regression of class indices on `patch_features` or `pixel_features`, float64 (n, features).

    Of more than `MOST` samples so many are drawn by the seed.

    Raises:
        AcinusError: nothing to learn from, or labels that are no class.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if len(features) != len(labels) or not len(labels):
        raise AcinusError(
            f"colour baseline: {len(features)} samples with {len(labels)} labels; it needs one each, and at least one"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise AcinusError(
            f"colour baseline: labels {labels.min()}..{labels.max()} found, the classes are 0..{classes - 1}"
        )
    majority = int(np.bincount(labels).argmax())
    if len(labels) > MOST:
        drawn = np.random.default_rng(derive(seed, "colour")).choice(len(labels), MOST, replace=False)
        features, labels = features[np.sort(drawn)], labels[np.sort(drawn)]
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)  # a feature that never changes says nothing
    seen = np.unique(labels)
    if len(seen) == 1:  # scikit-learn refuses one class; nothing is left to decide
        weights, bias = np.zeros((1, features.shape[1])), np.zeros(1)
    else:
        with threadpool_limits(1):  # sums over several threads end in other last bits
            fitted = LogisticRegression(max_iter=2000).fit((features - mean) / scale, labels)  # L2 with C = 1
        weights, bias = fitted.coef_, fitted.intercept_
    if len(weights) < len(seen):  # of two classes scikit-learn gives the second's alone
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.append(0.0, bias)
    return ColourModel(
        classes,
        majority,
        seen=tuple(seen.tolist()),
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(tuple(row) for row in weights.tolist()),
        bias=tuple(bias.tolist()),
    )


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
