"""Nuclei and cell bodies as pre-drawn sprites, scattered and stamped on a canvas of concentrations."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from acinus_demo import texture
from acinus_demo.ground import GRID_PX, Section
from acinus_demo.texture import Field

UNIT = 100  # a canvas holds concentration * UNIT as uint8
MARGIN_PX = 96  # canvases are this much larger on each side, so that no stamp needs clipping
ANGLES = 16  # directions of an oriented bank, over half a turn

Canvas = NDArray[np.uint8]
Bank = NDArray[np.uint8]  # (variants, edge, edge)
Points = NDArray[np.int32]  # (n, 2) level-0 x, y


@dataclasses.dataclass(frozen=True)
class Kind:
    """What one population of nuclei, or of cell bodies, looks like; densities in concentration."""

    diameter_um: float
    spread: float  # relative deviation of the diameter
    elongation: float  # largest ratio of the axes
    irregularity: float  # how far the outline strays from an ellipse, relative to the radius
    body: float  # density of the chromatin
    clumps: float  # how strongly the chromatin is clumped
    rim: float  # extra density of the nuclear membrane
    nucleoli: int = 0
    nucleolus_um: float = 0.0
    body_spread: float = 0.15
    eosin: bool = False  # a body, stained by eosin; nuclei are stained by haematoxylin


def _smooth(rng: np.random.Generator, count: int, edge: int, knots: int) -> Field:
    """Return `count` pictures of bilinear noise in [-1, 1] with `knots` cells across."""
    lattice = (2 * rng.random((count, knots + 2, knots + 2)) - 1).astype(np.float32)
    index, t = texture.between_knots(np.arange(edge) * (knots / edge))
    rows = lattice[:, index] * (1 - t)[None, :, None] + lattice[:, index + 1] * t[None, :, None]
    return (rows[:, :, index] * (1 - t) + rows[:, :, index + 1] * t).astype(np.float32, copy=False)


def _cosine_and_sine(turns: Iterable[float]) -> tuple[Field, Field]:
    """Return cosine and sine of turns by 180/ANGLES degrees, rounded: the same on every CPU."""
    angles = [math.pi * float(turn) / ANGLES for turn in turns]
    cosine, sine = ([round(function(angle), 6) for angle in angles] for function in (math.cos, math.sin))
    return np.array(cosine, np.float32), np.array(sine, np.float32)


def bank(rng: np.random.Generator, kind: Kind, count: int = 256, oriented: bool = False, mpp: float = 1.0) -> Bank:
    """Draw `count` sprites of one kind; an oriented bank holds count/ANGLES variants of each direction in turn."""
    diameter = kind.diameter_um / mpp
    width: Field = np.asarray(diameter / 2 * (1 + kind.spread * (2 * rng.random(count) - 1)), np.float32)
    ratio = np.sqrt(1 + (kind.elongation - 1) * rng.random(count)).astype(np.float32)
    edge = min(2 * MARGIN_PX, math.ceil(2 * float((width * ratio).max()) * (1 + kind.irregularity)) + 4)
    turns = np.arange(count) * ANGLES // count if oriented else rng.integers(0, 64, count) * (ANGLES / 64)
    cosine, sine = (values[:, None, None] for values in _cosine_and_sine(turns))
    axis = np.arange(edge, dtype=np.float32) - (edge - 1) / 2
    y, x = axis[None, :, None], axis[None, None, :]
    long, short = (width * ratio)[:, None, None], (width / ratio)[:, None, None]
    along, across = (x * cosine + y * sine) / long, (y * cosine - x * sine) / short
    radius = np.sqrt(along * along + across * across) + kind.irregularity * _smooth(rng, count, edge, 4)
    inside = np.clip((1 - radius) * short * 0.5 + 0.5, 0, 1)
    body = (kind.body * (1 + kind.body_spread * (2 * rng.random(count) - 1))).astype(np.float32)
    chromatin = 1 + kind.clumps * _smooth(rng, count, edge, max(4, edge // 3))
    rim = kind.rim * np.clip(1 - np.abs(radius - 0.88) * short * 0.45, 0, 1)
    density = body[:, None, None] * (chromatin + rim)
    for _ in range(kind.nucleoli):
        shift = ((2 * rng.random((2, count, 1, 1)) - 1) * 0.45).astype(np.float32) * width[:, None, None]
        size = (kind.nucleolus_um / mpp * (0.6 + 0.8 * rng.random((count, 1, 1)))).astype(np.float32)
        dx, dy = x - shift[0], y - shift[1]
        dot = np.clip((size / 2 - np.sqrt(dx * dx + dy * dy)) * 0.8 + 0.5, 0, 1)
        density = np.maximum(density, dot * (kind.body * 1.75))
    return np.clip(density * inside * UNIT + 0.5, 0, 255).astype(np.uint8)


def canvas(size: tuple[int, int]) -> Canvas:
    """Return an empty canvas for a picture of `size` = (w, h), margins included."""
    return np.zeros((size[1] + 2 * MARGIN_PX, size[0] + 2 * MARGIN_PX), np.uint8)


def scatter(
    rng: np.random.Generator, size: tuple[int, int], spacing: float, density: Field, grid_px: int = GRID_PX
) -> Points:
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
    cosine, sine = _cosine_and_sine(range(ANGLES))
    along = np.abs(direction[0][:, None] * cosine + direction[1][:, None] * sine)
    per_angle = count // ANGLES
    return along.argmax(axis=1) * per_angle + rng.integers(0, per_angle, along.shape[0])


def put(
    rng: np.random.Generator,
    canvases: tuple[Canvas, Canvas],
    kind: Kind,
    mpp: float,
    points: Points,
    direction: tuple[Field, Field] | None = None,
    variants: int = 256,
) -> None:
    """Stamp a sprite of one kind at each point of the canvas of its dye, (haematoxylin, eosin).

    direction: planes (dx, dy) of the ground's grid along which the sprites lie; else they lie anyhow.
    """
    put_sprites(rng, canvases[kind.eosin], bank(rng, kind, variants, direction is not None, mpp), points, direction)


def put_sprites(
    rng: np.random.Generator,
    target: Canvas,
    sprites: Bank,
    points: Points,
    direction: tuple[Field, Field] | None = None,
) -> None:
    """Stamp one of the sprites at each point of a canvas (see `put`); with a direction the bank is an oriented one."""
    variants = len(sprites)
    if direction is None:
        which = rng.integers(0, variants, len(points))
    else:
        last_row, last_column = (length - 2 for length in direction[0].shape)
        row, column = np.clip(points[:, 1] // GRID_PX, 1, last_row), np.clip(points[:, 0] // GRID_PX, 1, last_column)
        which = facing(rng, (direction[0][row, column], direction[1][row, column]), variants)
    stamp(target, sprites, points, which)


def populate(
    rng: np.random.Generator,
    size: tuple[int, int],
    mpp: float,
    section: Section,
    spacing_um: Mapping[str, float],
    looks: Sequence[tuple[str, Kind]],
) -> tuple[Canvas, Canvas]:
    """Return the canvases of nuclei (haematoxylin) and cell bodies (eosin) of a picture of `size` = (w, h).

    spacing_um: of the lattice of each kind of cell; looks: what is drawn where cells of a kind lie, in order.
    """
    canvases = canvas(size), canvas(size)
    points = {name: scatter(rng, size, spacing / mpp, section.cells[name]) for name, spacing in spacing_um.items()}
    for name, kind in looks:
        put(rng, canvases, kind, mpp, points[name], section.directions.get(name))
    return canvases
