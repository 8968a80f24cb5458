"""One PanNuke-like tile: compartments of tissue, and nuclei of the wanted types that never overlap."""

import dataclasses
import itertools
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from acinus import seeds
from acinus_demo import ground as ground_module
from acinus_demo import nuclear_types, nuclei, render, stain, texture
from acinus_demo.ground import GRID_PX, Ground
from acinus_demo.nuclear_types import TYPES, NuclearType, Sprites
from acinus_demo.nuclei import MARGIN_PX, Bank, Canvas, Points
from acinus_demo.texture import Field, ramp

EDGE_PX = 256
GRID = EDGE_PX // GRID_PX
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
class Tile:
    """A picture (256, 256, 3) uint8 and its instance ids (256, 256, 5) uint16, channels as in TYPES."""

    picture: NDArray[np.uint8]
    ids: NDArray[np.uint16]


@dataclasses.dataclass(frozen=True)
class _Gland:
    """A gland's centre and the radius on which its nuclei stand, in pixels."""

    x: float
    y: float
    radius: float


@dataclasses.dataclass
class _Slide:
    """A tile under way: ground, canvases, occupied pixels (margins included) and instance ids."""

    ground: Ground
    nuclear: Canvas
    bodies: Canvas
    occupied: NDArray[np.bool_]
    ids: NDArray[np.uint16]


def material(seed: int) -> Material:
    """Draw the sprites and textures of a fold."""
    return Material(
        {name: nuclear_types.sprites(seeds.derive(seed, "sprites", name), name) for name in TYPES},
        nuclear_types.halo(seeds.derive(seed, "halo")),
        render.make_tiles(np.random.default_rng(seeds.derive(seed, "tiles"))),
    )


def draw(seed: int, types: tuple[NuclearType, ...], stock: Material) -> Tile:
    """Draw one tile that holds at least FEWEST nuclei of each of `types`, and none of another type."""
    for attempt in itertools.count():  # most first arrangements do
        slide = _arrange(np.random.default_rng(seeds.derive(seed, "layout", attempt)), types, stock)
        if all(slide.ids[..., TYPES.index(name)].max() >= FEWEST[name] for name in types):
            break
    rng = np.random.default_rng(seeds.derive(seed, "look"))
    _thickness(rng, slide.ground)
    dye = stain.vary(rng)
    textures = _shifted(rng, stock.tiles)
    picture = render.render((EDGE_PX, EDGE_PX), slide.ground, slide.nuclear, slide.bodies, textures, dye)
    return Tile(picture, slide.ids)


def _arrange(rng: np.random.Generator, types: tuple[NuclearType, ...], stock: Material) -> _Slide:
    size = (EDGE_PX, EDGE_PX)
    slide = _Slide(
        ground_module.empty((GRID, GRID)),
        nuclei.canvas(size),
        nuclei.canvas(size),
        np.zeros_like(nuclei.canvas(size), np.bool_),
        np.zeros((EDGE_PX, EDGE_PX, len(TYPES)), np.uint16),
    )
    slide.ground.cover += 1
    _fibre_coordinates(rng, slide.ground)
    ground_module.lay(slide.ground, np.ones((GRID, GRID), np.float32), 0.34, 0.05, 0.5, 0.3)
    glands = _glands(rng) if "epithelial" in types else []
    around = [_away(gland, rng) - np.float32(gland.radius) for gland in glands]
    free = np.ones((GRID, GRID), np.float32)
    for away in around:
        free *= ramp(away, 20, 28)
    compartments = _compartments(rng, [name for name in types if name in SURROUNDINGS], free)
    for name, weight in compartments.items():
        ground_module.lay(slide.ground, weight, *SURROUNDINGS[name])
    for away, gland in zip(around, glands, strict=True):
        _lay_gland(slide.ground, away, gland)
    if "dead" in types:
        _put(slide, "dead", _scatter(rng, "dead", free), stock, rng)
    for gland in glands:
        _line(rng, slide, gland, stock)
    for name in ("neoplastic", "connective", "inflammatory"):
        if name in compartments:
            _put(slide, name, _scatter(rng, name, compartments[name]), stock, rng)
    return slide


def _fibre_coordinates(rng: np.random.Generator, ground: Ground) -> None:
    turn = math.pi * float(rng.random())
    c, s = np.float32(round(math.cos(turn), 6)), np.float32(round(math.sin(turn), 6))
    y = np.arange(GRID, dtype=np.float32)[:, None] * GRID_PX
    x = np.arange(GRID, dtype=np.float32)[None, :] * GRID_PX
    bend = [texture.fractal(rng, (GRID, GRID), 40, 2) - np.float32(0.5) for _ in range(2)]
    shift = rng.integers(0, 1024, 2)
    ground.across[:] = np.float32(0.6) * (c * y - s * x) + 110 * bend[0] + np.float32(shift[0])
    ground.along[:] = np.float32(0.6) * (c * x + s * y) + 110 * bend[1] + np.float32(shift[1])


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
    axis = (np.arange(GRID, dtype=np.float32) + np.float32(0.5)) * GRID_PX
    dx, dy = axis[None, :] - np.float32(gland.x), axis[:, None] - np.float32(gland.y)
    return np.sqrt(dx * dx + dy * dy) + 14 * (texture.fractal(rng, (GRID, GRID), 16, 2) - np.float32(0.5))


def _lay_gland(ground: Ground, away: Field, gland: _Gland) -> None:
    ground_module.lay(ground, ramp(away, 23, 18), 0.36, 0.08, 0.08, 0.30)
    lumen = ramp(away, -38, -44) if gland.radius > 55 else ramp(away, -30, -35)
    ground_module.lay(ground, lumen, 0.05, 0.0, 0.05, 0.10)


def _compartments(rng: np.random.Generator, names: list[NuclearType], free: Field) -> dict[NuclearType, Field]:
    """Divide what the glands leave among the types: nearest of two centres each, with wavering borders."""
    axis = (np.arange(GRID, dtype=np.float32) + np.float32(0.5)) * GRID_PX
    warp = [90 * (texture.fractal(rng, (GRID, GRID), 22) - np.float32(0.5)) for _ in range(2)]
    nearest = []
    for _ in names:
        centres = (EDGE_PX * rng.random((2, 2))).astype(np.float32)
        gaps = [(axis[None, :] + warp[0] - x, axis[:, None] + warp[1] - y) for x, y in centres]
        nearest.append(np.minimum(*(dx * dx + dy * dy for dx, dy in gaps)))
    owner = np.argmin(np.stack(nearest), axis=0)
    return {name: (owner == k) * free for k, name in enumerate(names)}


def _scatter(rng: np.random.Generator, name: NuclearType, weight: Field) -> Points:
    density = weight * np.float32(0.35 if name == "dead" else 0.92)
    return nuclei.scatter(rng, (EDGE_PX, EDGE_PX), SPACING_PX[name], density, GRID_PX)


def _line(rng: np.random.Generator, slide: _Slide, gland: _Gland, stock: Material) -> None:
    """Set nuclei in a row along a gland's outline, their long axes towards its centre."""
    count = int(2 * math.pi * gland.radius / 31)
    turn = float(rng.random())
    angles = [2 * math.pi * (k + turn) / count for k in range(count)]
    unit = np.array([(round(math.cos(a), 6), round(math.sin(a), 6)) for a in angles], np.float32)
    radius = np.float32(gland.radius) + 9 * (rng.random(count, dtype=np.float32) - np.float32(0.5))
    points = np.floor(unit * radius[:, None] + np.array([gland.x, gland.y], np.float32)).astype(np.int32)
    within = ((points >= 0) & (points < EDGE_PX)).all(axis=1)
    direction = (unit[within, 0], unit[within, 1])
    which = nuclei.facing(rng, direction, stock.sprites["epithelial"].density.shape[0])
    _place(slide, "epithelial", stock.sprites["epithelial"], points[within], which)


def _put(slide: _Slide, name: NuclearType, points: Points, stock: Material, rng: np.random.Generator) -> None:
    sprites = stock.sprites[name]
    variants = sprites.density.shape[0]
    if name == "connective":
        slopes = np.asarray(np.gradient(slide.ground.across), np.float32)
        down, right = slopes[:, points[:, 1] // GRID_PX, points[:, 0] // GRID_PX]
        which = nuclei.facing(rng, (-down, right), variants)
    else:
        which = _any_of(rng, variants, points.shape[0])
    order = rng.permutation(points.shape[0])
    placed = _place(slide, name, sprites, points[order], which[order])
    if name == "dead":
        nuclei.stamp(slide.bodies, stock.halo, placed, _any_of(rng, stock.halo.shape[0], placed.shape[0]))


def _any_of(rng: np.random.Generator, variants: int, count: int) -> NDArray[np.int64]:
    return np.asarray(rng.integers(0, variants, count), np.int64)


def _place(slide: _Slide, name: NuclearType, sprites: Sprites, points: Points, which: NDArray[np.int64]) -> Points:
    """Stamp each nucleus that keeps a pixel's distance from all others; return where they stand."""
    edge = sprites.inside.shape[1]
    channel = slide.ids[..., TYPES.index(name)]
    kept = []
    number = int(channel.max())
    for (x, y), k in zip(points.tolist(), which.tolist(), strict=True):
        top, left = y + MARGIN_PX - edge // 2, x + MARGIN_PX - edge // 2
        shape = sprites.inside[k]
        if (slide.occupied[top : top + edge, left : left + edge] & shape).any():
            continue
        rows, columns = np.nonzero(shape)
        rows, columns = rows + top - MARGIN_PX, columns + left - MARGIN_PX
        seen = (rows >= 0) & (rows < EDGE_PX) & (columns >= 0) & (columns < EDGE_PX)
        if seen.sum() < SMALLEST_PX:
            continue
        number += 1
        channel[rows[seen], columns[seen]] = number
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                slide.occupied[top + dy : top + dy + edge, left + dx : left + dx + edge] |= shape
        kept.append((x, y, k))
    table = np.array(kept, np.int32).reshape(-1, 3)
    nuclei.stamp(slide.nuclear, sprites.density, table[:, :2], table[:, 2].astype(np.int64))
    return table[:, :2]


def _thickness(rng: np.random.Generator, ground: Ground) -> None:
    """Vary thickness and staining between tiles and within one."""
    shape = (GRID, GRID)
    ground.gain += np.float32(0.4) * (texture.fractal(rng, shape, 40, 2) - np.float32(0.5))
    ground.blue += np.float32(0.4) * (texture.fractal(rng, shape, 30, 2) - np.float32(0.5))
    ground.gain *= np.float32(0.80 + 0.4 * float(rng.random()))
    ground.blue *= np.float32(0.75 + 0.5 * float(rng.random()))


def _shifted(rng: np.random.Generator, tiles: render.Tiles) -> render.Tiles:
    """Return the textures moved, so that no two tiles show the same grain in the same place."""
    dy, dx = (int(d) for d in rng.integers(0, 512, 2))
    return render.Tiles(
        tiles.fibre,
        np.roll(tiles.mottle, (dy, dx), (0, 1)),
        np.roll(tiles.grain, (dx, dy), (0, 1)),
        np.roll(tiles.noise, (dy, dx), (0, 1)),
    )
