"""Divide a piece of tissue into territories of given classes, with wavering borders."""

import dataclasses
import itertools

import numpy as np
from numpy.typing import NDArray

from acinus_demo import outline, texture
from acinus_demo.ground import GRID_PX
from acinus_demo.outline import Ring
from acinus_demo.texture import Field

LATTICE = 4  # centres per row and column of the picture
FEWEST_SHARE = 0.08  # of the tissue, for every class
WANDER = 0.5  # how far a border strays, relative to the distance of two centres


@dataclasses.dataclass(frozen=True)
class Territories:
    """labels: class of every pixel (h, w), 0 on glass; owner: number of the territory on the ground's grid."""

    labels: NDArray[np.uint8]
    owner: NDArray[np.int64]


def divide(rng: np.random.Generator, size: tuple[int, int], tissue: tuple[Ring, ...], classes: int) -> Territories:
    """Divide the tissue (w, h) among the classes 1..`classes`, each with at least FEWEST_SHARE of it."""
    width, height = size
    grid = (-(-width // GRID_PX), -(-height // GRID_PX))
    inside, coarse_inside = outline.mask(tissue, size), outline.mask(tissue, grid, GRID_PX)
    step = (width / LATTICE, height / LATTICE)
    for _ in itertools.count():
        where = np.stack(np.meshgrid(np.arange(LATTICE), np.arange(LATTICE)), -1).reshape(-1, 2)
        centres = ((where + 0.5 + 0.7 * (rng.random(where.shape) - 0.5)) * step).astype(np.float32)
        kinds = (rng.permutation(LATTICE * LATTICE) % classes + 1).astype(np.uint8)
        warp = [_warp(rng, grid, edge * WANDER) for edge in step]
        owner = _nearest(centres, warp[0][1:-1, 1:-1], warp[1][1:-1, 1:-1], GRID_PX)
        counts = np.bincount(kinds[owner][coarse_inside], minlength=classes + 1)
        if counts[1:].min() >= FEWEST_SHARE * counts.sum():
            break
    fine = [texture.upsample4(plane)[:height, :width] for plane in warp]
    labels = kinds[_nearest(centres, fine[0], fine[1], 1)]
    return Territories(labels * inside, owner)


def _warp(rng: np.random.Generator, grid: tuple[int, int], reach: float) -> Field:
    """Return a displacement on the grid with a halo of one sample, in pixels."""
    shape = (grid[1] + 2, grid[0] + 2)
    return np.float32(2 * reach) * (texture.fractal(rng, shape, max(8.0, grid[0] / 9), 4) - np.float32(0.5))


def _nearest(centres: Field, warp_x: Field, warp_y: Field, pixel: int) -> NDArray[np.int64]:
    """Return the index of the nearest centre for every sample `pixel` level-0 pixels wide."""
    x = (np.arange(warp_x.shape[1], dtype=np.float32) + np.float32(0.5)) * pixel + warp_x
    y = (np.arange(warp_x.shape[0], dtype=np.float32) + np.float32(0.5))[:, None] * pixel + warp_y
    best = np.full(warp_x.shape, np.inf, np.float32)
    owner = np.zeros(warp_x.shape, np.int64)
    for k, (centre_x, centre_y) in enumerate(centres):
        dx, dy = x - centre_x, y - centre_y
        distance = dx * dx + dy * dy
        closer = distance < best
        owner[closer] = k
        np.minimum(best, distance, out=best)
    return owner
