"""The pannuke demonstration cohort: tiles of nuclei in the three folds of PanNuke's disk layout."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acinus import seeds
from acinus.files import atomic_path
from acinus.params import PannukeDemo
from acinus_demo import nuclear_tile
from acinus_demo.nuclear_types import TYPES, NuclearType
from acinus_demo.texture import stream

# PanNuke has been handed on in several numeric types; ours differ from fold to fold
DTYPES = ("uint8", "float32", "uint16")
TISSUES = ("Breast", "Colon", "Prostate", "Lung", "Bile-duct", "Kidney")
# Any leading part from two on holds each of the four types in at least half of its entries.
MIXTURES: tuple[tuple[NuclearType, ...], ...] = (
    ("neoplastic", "inflammatory", "connective"),
    ("neoplastic", "connective", "epithelial"),
    ("inflammatory", "connective", "epithelial"),
    ("neoplastic", "inflammatory", "epithelial"),
    ("neoplastic", "inflammatory"),
    ("connective", "epithelial"),
    ("neoplastic", "connective"),
    ("inflammatory", "epithelial"),
    ("neoplastic", "epithelial"),
    ("inflammatory", "connective"),
)
DEAD_EVERY = 3


@dataclasses.dataclass(frozen=True)
class TilePlan:
    """One tile: the types of nuclei it mixes and the tissue it is said to come from."""

    types: tuple[NuclearType, ...]
    tissue: str


@dataclasses.dataclass(frozen=True)
class FoldPlan:
    """All that is needed to draw one fold; `dtype` is that of images.npy."""

    slide_id: str
    fold: int
    dtype: str
    seed: int
    tiles: tuple[TilePlan, ...]


def plan(seed: int, settings: PannukeDemo) -> list[FoldPlan]:
    """Return the plans of the three folds; cheap, and the same for the same arguments."""
    return [_plan_fold(seeds.derive(seed, "demo", "pannuke", k), k, settings.tiles_per_fold) for k in (1, 2, 3)]


def _plan_fold(seed: int, fold: int, count: int) -> FoldPlan:
    rng = stream(seed, "plan")
    mixtures = [
        (*MIXTURES[k % len(MIXTURES)], "dead") if k % DEAD_EVERY == 0 else MIXTURES[k % len(MIXTURES)]
        for k in range(count)
    ]
    tissues = rng.permutation(count) % len(TISSUES)
    tiles = tuple(TilePlan(mixtures[k], TISSUES[tissues[k]]) for k in rng.permutation(count).tolist())
    return FoldPlan(f"fold{fold}", fold, DTYPES[fold - 1], seed, tiles)


def pictures(fold: FoldPlan) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return a fold's pictures (n, 256, 256, 3) and its masks (n, 256, 256, 6) as PanNuke numbers them."""
    stock = nuclear_tile.material(seeds.derive(fold.seed, "material"))
    edge, count = nuclear_tile.EDGE_PX, len(fold.tiles)
    images = np.empty((count, edge, edge, 3), np.uint8)
    masks = np.empty((count, edge, edge, len(TYPES) + 1), np.uint16)
    for k, tile in enumerate(fold.tiles):
        images[k], ids = nuclear_tile.draw(seeds.derive(fold.seed, "tile", k), tile.types, stock)
        masks[k, ..., : len(TYPES)] = ids
        masks[k, ..., len(TYPES)] = ~ids.any(axis=-1)
    return images, masks


def draw_slide(fold: FoldPlan, root: Path) -> None:
    """Draw one fold under `root`: images.npy, types.npy and masks.npy, without pickles.

    Raises:
        AcinusError: `root` cannot be written.
    """
    images, masks = pictures(fold)
    for kind, name, values in (
        ("images", "images", images.astype(fold.dtype)),
        ("images", "types", np.array([tile.tissue for tile in fold.tiles])),
        ("masks", "masks", masks),
    ):
        with atomic_path(root / f"Fold {fold.fold}" / kind / fold.slide_id / f"{name}.npy") as part:
            np.save(part, values, allow_pickle=False)


def finish(plans: Sequence[FoldPlan], root: Path) -> None:
    """Write what belongs to no single fold: PanNuke has nothing of that kind."""
