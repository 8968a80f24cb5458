"""One PanNuke-like tile: compartments of tissue, and nuclei of the wanted types that never overlap."""

import dataclasses
import itertools
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from acinus import seeds
from acinus_demo import nuclear_types, nuclei, render, stain, texture
from acinus_demo.ground import GRID_PX, Ground, Section, contour
from acinus_demo.nuclear_types import TYPES, NuclearType, Sprites
from acinus_demo.nuclei import MARGIN_PX, Bank, Canvas, Points
from acinus_demo.texture import Field, fractal, ramp, stream

EDGE_PX = 256
GRID = EDGE_PX // GRID_PX
SIZE, SHAPE = (EDGE_PX, EDGE_PX), (GRID, GRID)
FEWEST = {"neoplastic": 4, "inflammatory": 6, "connective": 5, "dead": 3, "epithelial": 6}
SMALLEST_PX = 40  # less of a nucleus at the border is not annotated
SPACING_PX: dict[NuclearType, float] = {"neoplastic": 41.0, "inflammatory": 25.0, "connective": 30.0, "dead": 62.0}
SURROUNDINGS: dict[NuclearType, tuple[float, float, float, float]] = {  # eosin, haematoxylin, fibre, mottle
    "neoplastic": (0.36, 0.10, 0.12, 0.45),
    "inflammatory": (0.28, 0.06, 0.30, 0.35),
    "connective": (0.46, 0.05, 0.85, 0.15),
}


@dataclasses.dataclass(frozen=True)
class Material:
    """What all tiles of a fold are drawn with."""

    sprites: Mapping[NuclearType, Sprites]
    halo: Bank
    tiles: render.Tiles


@dataclasses.dataclass(frozen=True)
class _Gland:
    """A gland's centre and the radius on which its nuclei stand, in pixels."""

    x: float
    y: float
    radius: float


@dataclasses.dataclass
class _Tile:
    """A tile under way: ground, canvases (haematoxylin, eosin), occupied pixels (margins too) and instance ids."""

    ground: Ground
    canvases: tuple[Canvas, Canvas]
    occupied: NDArray[np.bool_]
    ids: NDArray[np.uint16]


def material(seed: int) -> Material:
    """Draw the sprites and textures of a fold."""
    return Material(
        {name: nuclear_types.sprites(seeds.derive(seed, "sprites", name), name) for name in TYPES},
        nuclear_types.halo(seeds.derive(seed, "halo")),
        render.make_tiles(stream(seed, "tiles")),
    )


def draw(seed: int, types: tuple[NuclearType, ...], stock: Material) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Draw one tile that holds at least FEWEST nuclei of each of `types`, and none of another type.

    Returns the picture (256, 256, 3) and its instance ids (256, 256, 5), channels as in TYPES.
    """
    for attempt in itertools.count():  # most first arrangements do
        tile = _arrange(stream(seed, "layout", attempt), types, stock)
        if all(tile.ids[..., TYPES.index(name)].max() >= FEWEST[name] for name in types):
            break
    rng, ground = stream(seed, "look"), tile.ground
    # thickness and staining vary between tiles and within one
    ground.gain += 0.4 * (fractal(rng, SHAPE, 40, 2) - 0.5)
    ground.blue += 0.4 * (fractal(rng, SHAPE, 30, 2) - 0.5)
    ground.gain *= 0.80 + 0.4 * float(rng.random())
    ground.blue *= 0.75 + 0.5 * float(rng.random())
    dye = stain.vary(rng)
    # textures are moved, so that no two tiles show the same grain in the same place
    dy, dx = rng.integers(0, 512, 2).tolist()
    textures = dataclasses.replace(
        stock.tiles,
        mottle=np.roll(stock.tiles.mottle, (dy, dx), (0, 1)),
        grain=np.roll(stock.tiles.grain, (dx, dy), (0, 1)),
        noise=np.roll(stock.tiles.noise, (dy, dx), (0, 1)),
    )
    return render.render(SIZE, ground, *tile.canvases, textures, dye), tile.ids


def _arrange(rng: np.random.Generator, types: tuple[NuclearType, ...], stock: Material) -> _Tile:
    canvases = nuclei.canvas(SIZE), nuclei.canvas(SIZE)
    ids = np.zeros((*SIZE, len(TYPES)), np.uint16)
    tile = _Tile(Section.glass(SHAPE).ground, canvases, np.zeros(canvases[0].shape, np.bool_), ids)
    tile.ground.cover += 1
    _fibres(rng, tile.ground)
    tile.ground.lay(1, 0.34, 0.05, 0.5, 0.3)
    glands = _glands(rng) if "epithelial" in types else []
    around = [_away(gland, rng) - gland.radius for gland in glands]
    free = np.ones(SHAPE, np.float32)
    for away in around:
        free *= ramp(away, 20, 28)
    compartments = _compartments(rng, [name for name in types if name in SURROUNDINGS], free)
    for name, weight in compartments.items():
        tile.ground.lay(weight, *SURROUNDINGS[name])
    for away, gland in zip(around, glands, strict=True):
        tile.ground.lay(ramp(away, 23, 18), 0.36, 0.08, 0.08, 0.30)
        lumen = ramp(away, -38, -44) if gland.radius > 55 else ramp(away, -30, -35)
        tile.ground.lay(lumen, 0.05, 0.0, 0.05, 0.10)
    if "dead" in types:
        dead = _scatter(rng, tile, "dead", free * 0.35, stock)
        nuclei.stamp(tile.canvases[1], stock.halo, dead, rng.integers(0, len(stock.halo), len(dead)))
    for gland in glands:
        _line(rng, tile, gland, stock)
    for name in ("neoplastic", "connective", "inflammatory"):
        if name in compartments:
            _scatter(rng, tile, name, compartments[name] * 0.92, stock)
    return tile


def _fibres(rng: np.random.Generator, ground: Ground) -> None:
    turn = math.pi * float(rng.random())
    c, s = round(math.cos(turn), 6), round(math.sin(turn), 6)
    y, x = texture.axes(SHAPE, GRID_PX)
    bend = [fractal(rng, SHAPE, 40, 2) - 0.5 for _ in range(2)]
    shift = rng.integers(0, 1024, 2).tolist()
    ground.across[:] = 0.6 * (c * y - s * x) + 110 * bend[0] + shift[0]
    ground.along[:] = 0.6 * (c * x + s * y) + 110 * bend[1] + shift[1]


def _glands(rng: np.random.Generator) -> list[_Gland]:
    """Return one large gland that may reach beyond the tile, or two small ones at opposite corners."""
    if rng.random() < 0.5:
        x, y = (30 + 196 * rng.random(2)).tolist()
        return [_Gland(x, y, 70 + 26 * float(rng.random()))]
    x, y = (40 + 50 * rng.random(2)).tolist()
    flip = rng.random() < 0.5
    radii = (48 + 16 * rng.random(2)).tolist()
    first = _Gland(EDGE_PX - x if flip else x, y, radii[0])
    return [first, _Gland(EDGE_PX - first.x + float(rng.integers(-10, 11)), EDGE_PX - y, radii[1])]


def _away(gland: _Gland, rng: np.random.Generator) -> Field:
    """Return the distance from a gland's centre (its outline wavers) on the grid, in pixels."""
    y, x = texture.axes(SHAPE, GRID_PX, 0.5)
    dx, dy = x - gland.x, y - gland.y
    return np.sqrt(dx * dx + dy * dy) + 14 * (fractal(rng, SHAPE, 16, 2) - 0.5)


def _compartments(rng: np.random.Generator, names: list[NuclearType], free: Field) -> dict[NuclearType, Field]:
    """Divide what the glands leave among the types: nearest of two centres each, with wavering borders."""
    warp = [90 * (fractal(rng, SHAPE, 22) - 0.5) for _ in range(2)]
    y, x = texture.axes(SHAPE, GRID_PX, 0.5)
    x, y = x + warp[0], y + warp[1]
    nearest = []
    for _ in names:
        centres = (EDGE_PX * rng.random((2, 2))).astype(np.float32)
        gaps = [(x - centre_x, y - centre_y) for centre_x, centre_y in centres]
        nearest.append(np.minimum(*(dx * dx + dy * dy for dx, dy in gaps)))
    owner = np.argmin(np.stack(nearest), axis=0)
    return {name: (owner == k) * free for k, name in enumerate(names)}


def _line(rng: np.random.Generator, tile: _Tile, gland: _Gland, stock: Material) -> None:
    """Set nuclei in a row along a gland's outline, their long axes towards its centre."""
    count = int(2 * math.pi * gland.radius / 31)
    turn = float(rng.random())
    angles = [2 * math.pi * (k + turn) / count for k in range(count)]
    unit = np.array([(round(math.cos(a), 6), round(math.sin(a), 6)) for a in angles], np.float32)
    radius = gland.radius + 9 * (rng.random(count, dtype=np.float32) - 0.5)
    points = np.floor(unit * radius[:, None] + np.array([gland.x, gland.y], np.float32)).astype(np.int32)
    within = ((points >= 0) & (points < EDGE_PX)).all(axis=1)
    sprites = stock.sprites["epithelial"]
    which = nuclei.facing(rng, (unit[within, 0], unit[within, 1]), len(sprites.density))
    _place(tile, "epithelial", sprites, points[within], which)


def _scatter(rng: np.random.Generator, tile: _Tile, name: NuclearType, density: Field, stock: Material) -> Points:
    """Scatter nuclei of one type, as many as fit between those that are there; return where they stand."""
    points = nuclei.scatter(rng, SIZE, SPACING_PX[name], density)
    sprites = stock.sprites[name]
    if name == "connective":
        dx, dy = (plane[points[:, 1] // GRID_PX, points[:, 0] // GRID_PX] for plane in contour(tile.ground.across))
        which = nuclei.facing(rng, (dx, dy), len(sprites.density))
    else:
        which = rng.integers(0, len(sprites.density), len(points))
    order = rng.permutation(len(points))
    return _place(tile, name, sprites, points[order], which[order])


def _place(tile: _Tile, name: NuclearType, sprites: Sprites, points: Points, which: NDArray[np.int64]) -> Points:
    """Stamp each nucleus that keeps a pixel's distance from all others; return where they stand."""
    edge = sprites.inside.shape[1]
    channel = tile.ids[..., TYPES.index(name)]
    placed = []
    number = int(channel.max())
    for (x, y), k in zip(points.tolist(), which.tolist(), strict=True):
        top, left = y + MARGIN_PX - edge // 2, x + MARGIN_PX - edge // 2
        shape = sprites.inside[k]
        if (tile.occupied[top : top + edge, left : left + edge] & shape).any():
            continue
        rows, columns = np.nonzero(shape)
        rows, columns = rows + top - MARGIN_PX, columns + left - MARGIN_PX
        seen = (rows >= 0) & (rows < EDGE_PX) & (columns >= 0) & (columns < EDGE_PX)
        if seen.sum() < SMALLEST_PX:
            continue
        number += 1
        channel[rows[seen], columns[seen]] = number
        widened = ndimage.binary_dilation(np.pad(shape, 1), np.ones((3, 3)))
        tile.occupied[top - 1 : top + edge + 1, left - 1 : left + edge + 1] |= widened
        placed.append((x, y, k))
    table = np.array(placed, np.int32).reshape(-1, 3)
    nuclei.stamp(tile.canvases[0], sprites.density, table[:, :2], table[:, 2].astype(np.int64))
    return table[:, :2]
