"""Five tissues drawn as architectures in one stain: glands, stroma, lymphoid tissue, tumour and necrosis."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from acinus_demo import cells, nuclei, texture
from acinus_demo import ground as ground_module
from acinus_demo.ground import GRID_PX, Ground
from acinus_demo.nuclei import Canvas, Kind
from acinus_demo.territories import Territories
from acinus_demo.texture import Field, ramp

MPP = 0.5
TISSUES = ("glands", "stroma", "lymphoid", "tumour", "necrosis")  # classes 1 to 5
VARIANTS = 256
GLAND_PX, NEST_PX = 146, 190  # distance of neighbours' centres

# lengths in um
EPITHELIUM = Kind(7.6, 0.12, 1.9, 0.08, body=0.74, clumps=0.35, rim=0.30)
DUST = Kind(2.4, 0.45, 1.5, 0.10, body=0.95, clumps=0.0, rim=0.0, body_spread=0.4)
GHOST = Kind(13.0, 0.25, 1.4, 0.25, body=0.46, clumps=0.45, rim=0.25, body_spread=0.25)


@dataclasses.dataclass
class Populations:
    """Where each kind of cell may lie: a probability per lattice point, on the ground's grid."""

    lymphocyte: Field
    epithelium: Field
    spindle: Field
    tumour: Field
    dust: Field
    ghost: Field


SPACING_UM = {"lymphocyte": 7.4, "epithelium": 6.6, "spindle": 13.0, "tumour": 16.0, "dust": 4.2, "ghost": 13.0}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Ground and cells of one picture; `inward` points from a gland's border to its centre (dx, dy)."""

    ground: Ground
    cells: Populations
    inward: tuple[Field, Field]


def build(rng: np.random.Generator, land: Territories) -> Architecture:
    """Return the architecture of a picture whose territories are given."""
    weights = _weights(land.labels)
    shape = weights[0].shape
    ground = ground_module.empty(shape)
    populations = Populations(*(np.zeros(shape, np.float32) for _ in SPACING_UM))
    ground.cover += sum(weights[1:], np.zeros(shape, np.float32))
    _fibre_coordinates(rng, ground)
    inward = _glands(rng, ground, populations, weights[1])
    _lay_stroma(ground, populations, weights[2])
    _lymphoid(rng, ground, populations, weights[3])
    _tumour(rng, ground, populations, weights[4])
    _necrosis(rng, ground, populations, weights[5])
    populations.lymphocyte += np.float32(0.02) * ground.cover
    _uneven(rng, ground, land.owner)
    return Architecture(ground, populations, inward)


def _weights(labels: NDArray[np.uint8]) -> list[Field]:
    """Return the share of each class in every sample of the grid."""
    rows, columns = (-(-n // GRID_PX) * GRID_PX for n in labels.shape)
    padded = np.pad(labels, ((0, rows - labels.shape[0]), (0, columns - labels.shape[1])), mode="edge")
    blocks = padded.reshape(rows // GRID_PX, GRID_PX, columns // GRID_PX, GRID_PX)
    share = np.float32(1 / GRID_PX**2)
    return [(blocks == k).sum(axis=(1, 3)).astype(np.float32) * share for k in range(len(TISSUES) + 1)]


def _fibre_coordinates(rng: np.random.Generator, ground: Ground) -> None:
    shape = ground.cover.shape
    y = np.arange(shape[0], dtype=np.float32)[:, None] * GRID_PX
    x = np.arange(shape[1], dtype=np.float32)[None, :] * GRID_PX
    bend = [texture.fractal(rng, shape, cell) - np.float32(0.5) for cell in (110, 110, 40)]
    slope = np.float32(round(2 * float(rng.random()) - 1, 3))
    ground.across[:] = np.float32(0.8) * (y - slope * x) + 800 * bend[0] + 110 * bend[2]
    ground.along[:] = np.float32(0.8) * (x + slope * y) + 800 * bend[1]


def _cells_between(rng: np.random.Generator, shape: tuple[int, int], apart_px: int) -> Field:
    """Return F2 - F1 of a partition into cells `apart_px` wide with bent borders, on the grid, in pixels."""
    borders = texture.cell_borders(rng, 512, round(512 * GRID_PX / apart_px)) * np.float32(GRID_PX)
    bend = [14 * (texture.fractal(rng, shape, 22, 2) - np.float32(0.5)) for _ in range(2)]
    y = np.arange(shape[0], dtype=np.float32)[:, None] + bend[0]
    x = np.arange(shape[1], dtype=np.float32)[None, :] + bend[1]
    return texture.sample_smooth(borders, y, x)


def _glands(rng: np.random.Generator, ground: Ground, populations: Populations, weight: Field) -> tuple[Field, Field]:
    """Set glands with one basal row of nuclei and a lumen into stroma; return the direction inwards."""
    depth = _cells_between(rng, weight.shape, GLAND_PX)
    rough = texture.fractal(rng, weight.shape, 60)
    gland = ramp(depth, 15, 23) * weight
    _lay_stroma(ground, populations, weight * (1 - gland))
    ground_module.lay(ground, gland, 0.44, 0.09, 0.10, 0.35)
    lumen = ramp(depth + 50 * (rough - np.float32(0.5)), 88, 97) * gland
    ground_module.lay(ground, lumen, 0.13, 0.02, 0.05, 0.25)
    _thin(populations, gland)
    populations.epithelium += gland * ramp(np.abs(depth - 40), 21, 14) * np.float32(0.95)
    slopes = np.asarray(np.gradient(depth), np.float32)
    return slopes[1], slopes[0]


def _lay_stroma(ground: Ground, populations: Populations, weight: Field) -> None:
    ground_module.lay(ground, weight, 0.44, 0.07, 0.70, 0.20)
    _thin(populations, weight)
    populations.spindle += weight * np.float32(0.75)


def _thin(populations: Populations, weight: Field) -> None:
    for field in dataclasses.fields(populations):
        getattr(populations, field.name).__imul__(1 - weight)


def _lymphoid(rng: np.random.Generator, ground: Ground, populations: Populations, weight: Field) -> None:
    """Pack small round nuclei with hardly anything between them."""
    rough = texture.fractal(rng, weight.shape, 30)
    ground_module.lay(ground, weight, 0.42, 0.08, 0.20, 0.35)
    populations.lymphocyte += weight * (np.float32(0.55) + np.float32(0.40) * ramp(rough, 0.3, 0.6))


def _tumour(rng: np.random.Generator, ground: Ground, populations: Populations, weight: Field) -> None:
    """Fill nests with large cells; thin septa of stroma lie between them."""
    border = _cells_between(rng, weight.shape, NEST_PX)
    fine = texture.fractal(rng, weight.shape, 20)
    septum = ramp(border + 24 * (fine - np.float32(0.5)), 16, 8) * weight
    ground_module.lay(ground, weight, 0.42, 0.08, 0.20, 0.40)
    populations.tumour += weight * np.float32(0.95)
    _lay_stroma(ground, populations, septum)


def _necrosis(rng: np.random.Generator, ground: Ground, populations: Populations, weight: Field) -> None:
    """Draw granular debris: ghosts of cells, nuclear dust in drifts, vacuoles."""
    drift = texture.fractal(rng, weight.shape, 14)
    ground_module.lay(ground, weight, 0.40, 0.09, 0.25, 0.55)
    populations.dust += weight * (np.float32(0.25) + np.float32(0.60) * ramp(drift, 0.42, 0.58))
    populations.ghost += weight * np.float32(0.65)


def _uneven(rng: np.random.Generator, ground: Ground, owner: NDArray[np.int64]) -> None:
    """Let thickness and staining differ between territories, whatever their tissue, and vary slowly."""
    shape = owner.shape
    planes = ((ground.gain, 0.45), (ground.blue, 0.70), (ground.eosin, 0.70))
    for plane, spread in planes:
        table = 1 + np.float32(spread) * (rng.random(int(owner.max()) + 1, dtype=np.float32) - np.float32(0.5))
        soft = texture.blur(texture.blur(table[owner], 5, 0, wrap=False), 5, 1, wrap=False)
        plane *= soft
    ground.gain += np.float32(0.5) * (texture.fractal(rng, shape, 90, 2) - np.float32(0.5))
    ground.blue += np.float32(0.5) * (texture.fractal(rng, shape, 60, 2) - np.float32(0.5))


def populate(rng: np.random.Generator, size: tuple[int, int], built: Architecture) -> tuple[Canvas, Canvas]:
    """Return the canvases of nuclei (haematoxylin) and cell bodies (eosin) of a picture of `size` = (w, h)."""
    nuclear, bodies = nuclei.canvas(size), nuclei.canvas(size)
    slopes = np.asarray(np.gradient(built.ground.across), np.float32)
    along_fibres = (-slopes[0], slopes[1])
    plan: tuple[tuple[Canvas, str, Kind, tuple[Field, Field] | None], ...] = (
        (nuclear, "lymphocyte", cells.LYMPHOCYTE, None),
        (nuclear, "epithelium", EPITHELIUM, built.inward),
        (nuclear, "spindle", cells.SPINDLE, along_fibres),
        (nuclear, "tumour", cells.TUMOUR, None),
        (bodies, "tumour", cells.TUMOUR_BODY, None),
        (nuclear, "dust", DUST, None),
        (bodies, "ghost", GHOST, None),
    )
    points = {
        name: nuclei.scatter(rng, size, SPACING_UM[name] / MPP, getattr(built.cells, name), GRID_PX)
        for name in SPACING_UM
    }
    for canvas, name, kind, direction in plan:
        in_pixels = dataclasses.replace(kind, diameter_px=kind.diameter_px / MPP, nucleolus_px=kind.nucleolus_px / MPP)
        sprites = nuclei.bank(rng, in_pixels, VARIANTS, oriented=direction is not None)
        row, column = points[name][:, 1] // GRID_PX, points[name][:, 0] // GRID_PX
        if direction is None:
            which = np.asarray(rng.integers(0, VARIANTS, points[name].shape[0]), np.int64)
        else:
            which = nuclei.facing(rng, (direction[0][row, column], direction[1][row, column]), VARIANTS)
        nuclei.stamp(canvas, sprites, points[name], which)
    return nuclear, bodies
