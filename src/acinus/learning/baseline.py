"""What the training patches' colours alone tell: the baseline beside a network, and the stain of the slides."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from acinus.learning.colour import (
    MOST,
    ColourModel,
    fit_colours,
    mean_colours,
    optical_density,
    patch_features,
    pixel_features,
    stain_summary,
)
from acinus.learning.job import Stores, evenly, patch_keys

COLOUR_PATCHES = 400
"""Training patches from which the colour-only baseline of a segmentation learns, evenly taken."""


def learn_colours(
    sample: pd.DataFrame, stores: Stores, classes: int, map_downsample: float, seed: Callable[..., int]
) -> tuple[ColourModel, dict[str, Any]]:
    """Return the baseline that knows colours only and the stain of the training slides; each patch is read once.

    The baseline judges a patch by the mean and deviation of its colours, a px of the map by the mean colour under it.
    sample: records.SAMPLE of all splits. seed: names -> seed.
    """
    images, masks = stores
    rows = sample[sample["split"] == "train"]
    chosen = rows if masks is None else evenly(rows, COLOUR_PATCHES)
    scales = dict(zip(patch_keys(chosen), chosen["downsample"], strict=True))
    learned: dict[str, Any] = {}

    def pixels(key: str, patch: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return colours and classes of px of the map; fewer where more patches are, so that memory does not grow."""
        block = max(1, round(map_downsample / scales[key]))
        colours, labels = mean_colours(patch[None], mask[None], block)
        share = min(len(labels), MOST // len(chosen))
        drawn = np.sort(np.random.default_rng(seed("colour", key)).permutation(len(labels))[:share])
        return colours[drawn], labels[drawn]

    def patches(keys: list[str]) -> Iterator[np.ndarray]:
        for at, patch in images.visit(keys):
            key = keys[at]
            if masks is None:
                learned[key] = patch_features(patch)
            elif key in scales:
                learned[key] = pixels(key, patch, masks.read(key))
            yield patch

    slides = [patch_keys(slide) for _, slide in rows.groupby("slide_id", sort=True)]
    stain = stain_summary([optical_density(patches(keys)) for keys in slides])
    in_order = [learned[key] for key in patch_keys(chosen)]
    if masks is None:
        return fit_colours(np.stack(in_order), rows["label"].to_numpy(dtype=np.int64), classes), stain
    colours, labels = (np.concatenate(parts) for parts in zip(*in_order, strict=True))
    return fit_colours(pixel_features(colours), labels, classes, seed=seed("colour")), stain
