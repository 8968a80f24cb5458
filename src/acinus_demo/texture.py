"""Smooth noise, fibres and cell partitions as float32 arrays, reproducible to the bit."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

from acinus import seeds

Field = NDArray[np.float32]


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator of one step of a drawing."""
    return np.random.default_rng(seeds.derive(seed, *names))


def ramp(values: Field, start: float, stop: float) -> Field:
    """Return 0 up to `start`, 1 from `stop` on, a straight line between (stop < start reverses)."""
    return np.clip((values - np.float32(start)) * np.float32(1.0 / (stop - start)), 0, 1).astype(np.float32)


def axes(shape: tuple[int, int], step: float = 1.0, start: float = 0.0) -> tuple[Field, Field]:
    """Return the coordinates y (rows, 1) and x (1, columns) of a grid: (index + `start`) * `step`."""
    y, x = ((np.arange(length, dtype=np.float32) + start) * step for length in shape)
    return y[:, None], x[None, :]


def between_knots(position: NDArray[np.floating]) -> tuple[NDArray[np.int64], Field]:
    """Return the knot before each position and the weight of the knot behind it, smooth at the knots."""
    index = position.astype(np.int64)
    t = (position - index).astype(np.float32)
    return index, t * t * (3 - 2 * t)


def value_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> Field:
    """Return noise in [0, 1] of `shape` whose features are `cell` samples wide (smooth lattice noise)."""
    shift_y, shift_x = rng.random(2)
    row, row_t = between_knots(np.arange(shape[0]) / cell + shift_y)
    col, col_t = between_knots(np.arange(shape[1]) / cell + shift_x)
    knots = rng.random((int(row[-1]) + 2, int(col[-1]) + 2), dtype=np.float32)
    rows = knots[row] * (1 - row_t)[:, None] + knots[row + 1] * row_t[:, None]
    return (rows[:, col] * (1 - col_t) + rows[:, col + 1] * col_t).astype(np.float32, copy=False)


def fractal(rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 3) -> Field:
    """Return noise in [0, 1], centred at 0.5: octaves of `value_noise`, each half as wide and half as strong."""
    total = np.zeros(shape, np.float32)
    weight, sum_of_weights = 1.0, 0.0
    for octave in range(octaves):
        total += weight * value_noise(rng, shape, max(cell / 2**octave, 1.5))
        sum_of_weights += weight
        weight *= 0.5
    return total * (1.0 / sum_of_weights)


def blur(values: Field, sigma: float, axis: int, wrap: bool = True) -> Field:
    """Smooth along one axis with a Gaussian whose weights are rounded, so that every CPU has the same."""
    radius = max(1, math.ceil(3 * sigma))
    weights = [round(math.exp(-0.5 * (k / sigma) ** 2), 6) for k in range(-radius, radius + 1)]
    total = round(sum(weights), 6)
    kernel = [round(w / total, 8) for w in weights]
    return ndimage.correlate1d(values, kernel, axis=axis, output=np.float32, mode="wrap" if wrap else "nearest")


def soften(values: Field, sigma: float, wrap: bool = False) -> Field:
    """Smooth along both axes (see `blur`)."""
    return blur(blur(values, sigma, 0, wrap), sigma, 1, wrap)


def stretch(values: Field) -> Field:
    """Scale to [0, 1] by the extremes, then steepen the middle so that the range is used."""
    low, high = values.min(), values.max()
    return ramp((values - low) / (high - low), 0.15, 0.85)


def fibre_tile(rng: np.random.Generator, edge: int = 1024) -> Field:
    """Return a periodic tile in [0, 1] of fibres along the second axis, thin and thick ones mixed."""
    thin = blur(blur(rng.random((edge, edge), dtype=np.float32), 14, 1), 0.9, 0)
    thick = blur(blur(rng.random((edge, edge), dtype=np.float32), 40, 1), 3.0, 0)
    return stretch(0.55 * stretch(thin) + 0.45 * stretch(thick))


def grain_tile(rng: np.random.Generator, sigma: float, edge: int = 512) -> Field:
    """Return a periodic tile in [0, 1] of isotropic grain `sigma` pixels wide."""
    return stretch(soften(rng.random((edge, edge), dtype=np.float32), sigma, wrap=True))


def cell_borders(rng: np.random.Generator, edge: int, cells: int) -> Field:
    """Return a periodic tile of F2 - F1, the distance from the border of a Voronoi partition, in samples.

    Points sit on a jittered lattice of `cells` x `cells`, so that cells are of similar size.
    """
    step = edge / cells
    grid = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), -1).reshape(-1, 2)
    points = ((grid + 0.5 + 0.8 * (rng.random(grid.shape) - 0.5)) * step) % edge
    where = np.stack(np.meshgrid(np.arange(edge), np.arange(edge)), -1).reshape(-1, 2)
    distance = spatial.cKDTree(points, boxsize=edge).query(where.astype(np.float64), k=2)[0]
    return (distance[:, 1] - distance[:, 0]).reshape(edge, edge).astype(np.float32)


def sample(tile: Field, rows: Field, columns: Field) -> Field:
    """Look a periodic square `tile` (edge a power of two) up at real coordinates, nearest sample."""
    edge = tile.shape[0]
    row = np.floor(rows).astype(np.int32) & (edge - 1)
    column = np.floor(columns).astype(np.int32) & (edge - 1)
    return tile.ravel()[row * edge + column]


def sample_smooth(tile: Field, rows: Field, columns: Field) -> Field:
    """Look a periodic square `tile` (edge a power of two) up at real coordinates, bilinear."""
    edge = tile.shape[0]
    row_floor, column_floor = np.floor(rows), np.floor(columns)
    down, right = rows - row_floor, columns - column_floor
    row, column = row_floor.astype(np.int32), column_floor.astype(np.int32)
    wrap = edge - 1
    flat = tile.ravel()
    here, below = (row & wrap) * edge, ((row + 1) & wrap) * edge
    left, beside = column & wrap, (column + 1) & wrap
    upper = flat[here + left] * (1 - right) + flat[here + beside] * right
    lower = flat[below + left] * (1 - right) + flat[below + beside] * right
    return upper * (1 - down) + lower * down


def upsample4(block: Field) -> Field:
    """Enlarge (n + 2, m + 2) to (4 n, 4 m), bilinear on pixel centres; the outer ring is the halo."""
    rows = np.empty((4 * (block.shape[0] - 2), block.shape[1]), np.float32)
    _phases(block, rows)
    turned = np.empty((4 * (block.shape[1] - 2), rows.shape[0]), np.float32)
    _phases(np.ascontiguousarray(rows.T), turned)
    return turned.T


def _phases(source: Field, target: Field) -> None:
    before, middle, after = source[:-2], source[1:-1], source[2:]
    target[0::4] = 0.375 * before + 0.625 * middle
    target[1::4] = 0.125 * before + 0.875 * middle
    target[2::4] = 0.875 * middle + 0.125 * after
    target[3::4] = 0.625 * middle + 0.375 * after
