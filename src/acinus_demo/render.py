"""Compose ground, cells and ink into RGB, tile by tile."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from acinus_demo import stain, texture
from acinus_demo.ground import GRID_PX, Ground, grid_shape
from acinus_demo.nuclei import MARGIN_PX, UNIT, Canvas
from acinus_demo.texture import Field

TILE_PX = 256


@dataclasses.dataclass(frozen=True)
class Tiles:
    """The periodic textures of one slide: fibres, coarse and fine grain, sensor noise (all in [0, 1])."""

    fibre: Field
    mottle: Field
    grain: Field
    noise: NDArray[np.int16]


@dataclasses.dataclass(frozen=True)
class Ink:
    """A marker stroke: density plane on the ground's grid and its optical density per channel."""

    density: Field
    colour: tuple[float, float, float]


def make_tiles(rng: np.random.Generator) -> Tiles:
    """Draw the textures of one slide."""
    return Tiles(
        fibre=texture.fibre_tile(rng),
        mottle=texture.grain_tile(rng, 4.0),
        grain=texture.grain_tile(rng, 1.1),
        noise=rng.integers(-3, 4, (512 + TILE_PX, 512 + TILE_PX, 3), dtype=np.int16),
    )


def render(
    size: tuple[int, int],
    ground: Ground,
    nuclei: Canvas,
    bodies: Canvas,
    tiles: Tiles,
    dye: stain.Stain,
    ink: Ink | None = None,
) -> NDArray[np.uint8]:
    """Return the slide's picture (h, w, 3) of `size` = (w, h).

    `nuclei` (haematoxylin) and `bodies` (eosin) are canvases of `nuclei.canvas(size)`.
    """
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    padded = {name: np.pad(plane, 1, mode="edge") for name, plane in vars(ground).items()}
    inked = np.pad(ink.density, 1, mode="edge") if ink else None
    for top in range(0, height, TILE_PX):
        for left in range(0, width, TILE_PX):
            window = _Window(top, left, min(TILE_PX, height - top), min(TILE_PX, width - left))
            h, e = _dyes(window, padded, nuclei, bodies, tiles)
            part = stain.mix(h, e, dye, (window.enlarge(inked), ink.colour) if ink and inked is not None else None)
            noise = tiles.noise[(top * 3 + left) % 512 :, (left * 5 + top) % 512 :][: window.height, : window.width]
            picture[top : top + TILE_PX, left : left + TILE_PX] = np.clip(part + noise, 0, 255).astype(np.uint8)
    return picture


@dataclasses.dataclass(frozen=True)
class _Window:
    top: int
    left: int
    height: int
    width: int

    def samples(self, padded: Field) -> Field:
        """Return the window's part of a padded plane of the grid, and one sample more on every side."""
        row, column = self.top // GRID_PX, self.left // GRID_PX
        rows, columns = grid_shape((self.width, self.height))
        return padded[row : row + rows + 2, column : column + columns + 2]

    def enlarge(self, padded: Field) -> Field:
        """Return the window's part of a padded plane at full resolution."""
        return texture.upsample4(self.samples(padded))[: self.height, : self.width]

    def of_canvas(self, canvas: Canvas) -> Field:
        """Return the window's part of a canvas as concentration."""
        top, left = self.top + MARGIN_PX, self.left + MARGIN_PX
        return canvas[top : top + self.height, left : left + self.width] * np.float32(1 / UNIT)

    def of_tile(self, tile: Field) -> Field:
        """Return a periodic texture in place."""
        edge = tile.shape[0]
        rows = (np.arange(self.height) + self.top) % edge
        columns = (np.arange(self.width) + self.left) % edge
        return tile[np.ix_(rows, columns)]


def _dyes(
    window: _Window, padded: dict[str, Field], nuclei: Canvas, bodies: Canvas, tiles: Tiles
) -> tuple[Field, Field]:
    """Return haematoxylin and eosin of one window."""
    if window.samples(padded["cover"]).max() <= 0.25:
        glass = np.zeros((window.height, window.width), np.float32)
        return glass, glass
    fibres = texture.sample(tiles.fibre, window.enlarge(padded["across"]), window.enlarge(padded["along"]))
    mottle, grain = window.of_tile(tiles.mottle), window.of_tile(tiles.grain)
    edge = window.enlarge(padded["cover"]) + 0.22 * (fibres - 0.5)
    edge += 0.10 * (mottle - 0.5)
    cover = texture.ramp(edge, 0.42, 0.58)
    eosin = window.enlarge(padded["eosin"]) + window.enlarge(padded["fibre"]) * (fibres - 0.5)
    eosin += window.enlarge(padded["mottle"]) * (mottle + grain - 1)
    eosin = np.maximum(eosin, 0) * cover
    eosin = np.maximum(eosin, window.of_canvas(bodies) * (0.8 + 0.4 * grain))
    nuclear = window.of_canvas(nuclei)
    diffuse = window.enlarge(padded["haematoxylin"]) * cover * (0.7 + 0.6 * mottle)
    haematoxylin = np.maximum(nuclear * (0.76 + 0.48 * grain), diffuse)
    eosin *= 1 - 0.30 * np.minimum(nuclear, 1)
    gain = window.enlarge(padded["gain"])
    haematoxylin *= window.enlarge(padded["blue"])
    return haematoxylin * gain, eosin * gain
