"""Features of a study's slides on disk, and what simpler models see of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acinus.embedding.feature_file import read_features, read_patches_of
from acinus.embedding.folder import feature_path
from acinus.grading.baselines import Facts, tissue_colour
from acinus.slides.open import open_slide
from acinus.tissue.mask import load_tissue

KEPT_BYTES = 1 << 31
"""So much of the features a process keeps in memory; what is beyond is read anew each time."""


class StoredFeatures(Mapping[str, np.ndarray]):
    """slide_id -> float32 (n, d) of the slides `ids`, read from the folder where needed; travels without contents."""

    def __init__(self, folder: Path, ids: tuple[str, ...]) -> None:
        self.folder, self.ids = folder, ids
        self._kept: dict[str, np.ndarray] = {}
        self._bytes = 0

    def __getitem__(self, slide_id: str) -> np.ndarray:
        if slide_id in self._kept:
            return self._kept[slide_id]
        features = read_features(feature_path(self.folder, slide_id)).features
        if self._bytes + features.nbytes <= KEPT_BYTES:
            self._kept[slide_id] = features
            self._bytes += features.nbytes
        return features

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[type["StoredFeatures"], tuple[Path, tuple[str, ...]]]:
        return StoredFeatures, (self.folder, self.ids)


@dataclass(frozen=True)
class FactsJob:
    """A slide to look at; travels to a worker."""

    slide_id: str
    image: Path
    tissue: Path
    features: Path


def facts_of(job: FactsJob) -> Facts:
    """Return what simpler models see of a slide: one read of its features, one of its overview.

    Raises:
        AcinusError: a slide, a mask or features that cannot be read.
    """
    features = read_features(job.features).features
    with open_slide(job.image, job.slide_id) as slide:
        colour = tissue_colour(slide, load_tissue(job.tissue, slide.width, slide.height))
    return Facts(features.mean(axis=0, dtype=np.float64), len(features), colour)


def patch_rows(folder: Path, slide_id: str, attention: np.ndarray) -> list[dict[str, Any]]:
    """Return the rows of records.ATTENTION of one slide: all its patches, with their attention, float64 (n,)."""
    patches, _ = read_patches_of(feature_path(folder, slide_id))
    fixed = {"slide_id": slide_id, "downsample": patches.downsample, "patch_px": patches.patch_px, "prob": None}
    places = zip(patches.x0.tolist(), patches.y0.tolist(), attention.tolist(), strict=True)
    return [{**fixed, "x0": x0, "y0": y0, "chosen": "all", "attention": weight} for x0, y0, weight in places]
