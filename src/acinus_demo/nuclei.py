"""Nuclei and cell bodies as pre-drawn sprites, scattered and stamped on a canvas of concentrations."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from acinus_demo.texture import Field

UNIT = 100  # a canvas holds concentration * UNIT as uint8
MARGIN_PX = 96  # canvases are this much larger on each side, so that no stamp needs clipping
ANGLES = 16  # directions of an oriented bank, over half a turn

Canvas = NDArray[np.uint8]
Bank = NDArray[np.uint8]  # (variants, edge, edge)
Points = NDArray[np.int32]  # (n, 2) level-0 x, y


@dataclasses.dataclass(frozen=True)
class Kind:
    """What one population of nuclei looks like; lengths in pixels, densities in concentration."""

    diameter_px: float
    spread: float  # relative deviation of the diameter
    elongation: float  # largest ratio of the axes
    irregularity: float  # how far the outline strays from an ellipse, relative to the radius
    body: float  # density of the chromatin
    clumps: float  # how strongly the chromatin is clumped
    rim: float  # extra density of the nuclear membrane
    nucleoli: int = 0
    nucleolus_px: float = 0.0
    body_spread: float = 0.15


def _smooth(rng: np.random.Generator, count: int, edge: int, knots: int) -> Field:
    """Return `count` pictures of bilinear noise in [-1, 1] with `knots` cells across."""
    lattice = (2 * rng.random((count, knots + 2, knots + 2)) - 1).astype(np.float32)
    position = np.arange(edge) * (knots / edge)
    index = position.astype(np.int64)
    t = (position - index).astype(np.float32)
    t = t * t * (3 - 2 * t)
    rows = lattice[:, index] * (1 - t)[None, :, None] + lattice[:, index + 1] * t[None, :, None]
    return (rows[:, :, index] * (1 - t) + rows[:, :, index + 1] * t).astype(np.float32, copy=False)


def _turned(rng: np.random.Generator, count: int, edge: int, oriented: bool) -> tuple[Field, Field]:
    """Return coordinates (count, edge, edge) along and across each sprite's axis."""
    turns = np.arange(count) * ANGLES // count if oriented else rng.integers(0, 64, count) * (ANGLES / 64)
    cosine = np.array([round(math.cos(math.pi * float(t) / ANGLES), 6) for t in turns], np.float32)
    sine = np.array([round(math.sin(math.pi * float(t) / ANGLES), 6) for t in turns], np.float32)
    axis = np.arange(edge, dtype=np.float32) - np.float32((edge - 1) / 2)
    y, x = axis[None, :, None], axis[None, None, :]
    c, s = cosine[:, None, None], sine[:, None, None]
    return x * c + y * s, y * c - x * s


def bank(rng: np.random.Generator, kind: Kind, count: int = 256, oriented: bool = False) -> Bank:
    """Draw `count` sprites of one kind; an oriented bank holds count/ANGLES variants of each direction in turn."""
    width: Field = np.asarray(kind.diameter_px / 2 * (1 + kind.spread * (2 * rng.random(count) - 1)), np.float32)
    ratio = np.sqrt(1 + (kind.elongation - 1) * rng.random(count)).astype(np.float32)
    edge = min(2 * MARGIN_PX, math.ceil(2 * float((width * ratio).max()) * (1 + kind.irregularity)) + 4)
    along, across = _turned(rng, count, edge, oriented)
    long, short = (width * ratio)[:, None, None], (width / ratio)[:, None, None]
    radius = np.sqrt((along / long) * (along / long) + (across / short) * (across / short))
    radius = radius + np.float32(kind.irregularity) * _smooth(rng, count, edge, 4)
    inside = np.clip((1 - radius) * short * np.float32(0.5) + np.float32(0.5), 0, 1)
    body = (kind.body * (1 + kind.body_spread * (2 * rng.random(count) - 1))).astype(np.float32)
    chromatin = 1 + np.float32(kind.clumps) * _smooth(rng, count, edge, max(4, edge // 3))
    rim = np.float32(kind.rim) * np.clip(1 - np.abs(radius - np.float32(0.88)) * short * np.float32(0.45), 0, 1)
    plain: Field = np.asarray(body[:, None, None] * (chromatin + rim), np.float32)
    density = _with_nucleoli(rng, kind, plain, width)
    return np.clip(density * inside * UNIT + np.float32(0.5), 0, 255).astype(np.uint8)


def _with_nucleoli(rng: np.random.Generator, kind: Kind, density: Field, width: Field) -> Field:
    count, edge, _ = density.shape
    axis = np.arange(edge, dtype=np.float32) - np.float32((edge - 1) / 2)
    for _ in range(kind.nucleoli):
        shift = ((2 * rng.random((2, count)) - 1) * 0.45).astype(np.float32) * width
        size: Field = np.asarray(kind.nucleolus_px * (0.6 + 0.8 * rng.random(count)), np.float32)
        dx = axis[None, None, :] - shift[0][:, None, None]
        dy = axis[None, :, None] - shift[1][:, None, None]
        distance = np.sqrt(dx * dx + dy * dy)
        dot = np.clip((size[:, None, None] / 2 - distance) * np.float32(0.8) + np.float32(0.5), 0, 1)
        density = np.maximum(density, dot * np.float32(kind.body * 1.75))
    return density


def canvas(size: tuple[int, int]) -> Canvas:
    """Return an empty canvas for a picture of `size` = (w, h), margins included."""
    return np.zeros((size[1] + 2 * MARGIN_PX, size[0] + 2 * MARGIN_PX), np.uint8)


def scatter(rng: np.random.Generator, size: tuple[int, int], spacing: float, density: Field, grid_px: int) -> Points:
    """Return points of a jittered hexagonal lattice, each kept with the probability `density` has there.

    `density` is sampled on a grid of `grid_px` level-0 pixels; it covers `size` = (w, h).
    """
    step_y = spacing * 0.866
    rows, columns = int(size[1] / step_y), int(size[0] / spacing)
    y = (np.arange(rows) + 0.5)[:, None] * step_y + (rng.random((rows, columns)) - 0.5) * (0.7 * spacing)
    x = (np.arange(columns) + 0.5)[None, :] * spacing + (rng.random((rows, columns)) - 0.5) * (0.7 * spacing)
    x = x + (np.arange(rows) % 2)[:, None] * (0.5 * spacing)
    x0 = np.clip(x, 0, size[0] - 1).astype(np.int32).ravel()
    y0 = np.clip(y, 0, size[1] - 1).astype(np.int32).ravel()
    row = np.minimum(y0 // grid_px, density.shape[0] - 1)
    column = np.minimum(x0 // grid_px, density.shape[1] - 1)
    keep = rng.random(x0.size, dtype=np.float32) < density[row, column]
    return np.stack([x0[keep], y0[keep]], axis=1)


def stamp(target: Canvas, sprites: Bank, points: Points, which: NDArray[np.int64]) -> None:
    """Put sprite `which[i]` centred on point i of the canvas; where sprites overlap the denser wins."""
    edge = sprites.shape[1]
    corner = MARGIN_PX - edge // 2
    for x, y, k in zip(points[:, 0].tolist(), points[:, 1].tolist(), which.tolist(), strict=True):
        view = target[y + corner : y + corner + edge, x + corner : x + corner + edge]
        np.maximum(view, sprites[k], out=view)


def facing(rng: np.random.Generator, direction: tuple[Field, Field], count: int) -> NDArray[np.int64]:
    """Return indices into an oriented bank of `count` sprites whose axis is nearest to each direction (dx, dy)."""
    turns = [math.pi * t / ANGLES for t in range(ANGLES)]
    cosine = np.array([round(math.cos(t), 6) for t in turns], np.float32)
    sine = np.array([round(math.sin(t), 6) for t in turns], np.float32)
    along = np.abs(direction[0][:, None] * cosine + direction[1][:, None] * sine)
    per_angle = count // ANGLES
    return along.argmax(axis=1) * per_angle + rng.integers(0, per_angle, along.shape[0])
