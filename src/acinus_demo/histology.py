"""The ground and the cells of prostate tissue: stroma, epithelium, lumina and their nuclei."""

import dataclasses

import numpy as np

from acinus_demo import ground as ground_module
from acinus_demo import nuclei, texture
from acinus_demo.glands import Architecture
from acinus_demo.ground import GRID_PX, Ground
from acinus_demo.nuclei import Canvas, Kind
from acinus_demo.texture import Field, ramp


@dataclasses.dataclass(frozen=True)
class Cells:
    """One population: its nuclei (or bodies) and the lattice they sit on; lengths in um, also those of the kind."""

    kind: Kind
    spacing_um: float
    eosin: bool = False


BASAL = Cells(Kind(4.2, 0.18, 3.2, 0.10, body=0.84, clumps=0.25, rim=0.15, body_spread=0.25), 4.4)
SECRETORY = Cells(Kind(5.9, 0.14, 1.5, 0.10, body=0.70, clumps=0.35, rim=0.25, body_spread=0.25), 5.2)
CANCER = Cells(
    Kind(7.2, 0.24, 1.6, 0.14, body=0.60, clumps=0.35, rim=0.40, nucleoli=1, nucleolus_px=2.2, body_spread=0.30), 7.8
)
ACINAR = dataclasses.replace(CANCER, spacing_um=5.8)  # the same cells in the single row round a small acinus
SPINDLE = Cells(Kind(4.4, 0.2, 6.0, 0.15, body=0.80, clumps=0.3, rim=0.15, body_spread=0.3), 13.0)
LYMPHOCYTE = Cells(Kind(5.4, 0.14, 1.25, 0.10, body=0.92, clumps=0.5, rim=0.20, body_spread=0.2), 7.0)
SECRETION = Cells(Kind(11.0, 0.45, 1.6, 0.22, body=0.42, clumps=0.45, rim=0.25, body_spread=0.4), 13.0, eosin=True)
ERYTHROCYTE = Cells(Kind(6.2, 0.08, 1.2, 0.05, body=0.85, clumps=0.08, rim=0.1), 6.4, eosin=True)

KINDS = {
    "basal": BASAL,
    "secretory": SECRETORY,
    "cancer": CANCER,
    "acinar": ACINAR,
    "spindle": SPINDLE,
    "lymphocyte": LYMPHOCYTE,
    "secretion": SECRETION,
    "erythrocyte": ERYTHROCYTE,
}
VARIANTS = 64


@dataclasses.dataclass(frozen=True)
class Tissue:
    """A painted slide: its ground and its cells.

    cells: where each kind may lie, a probability per lattice point; guides: the planes whose contours
    the nuclei of some kinds lie along.
    """

    ground: Ground
    cells: dict[str, Field]
    guides: dict[str, Field]


def paint(rng: np.random.Generator, drawn: Architecture) -> Tissue:
    """Turn an architecture into ground and populations."""
    shape, grid_um = drawn.lumen.shape, drawn.strips.grid_um
    ground = ground_module.empty(shape)
    cells = {name: np.zeros(shape, np.float32) for name in KINDS}
    tissue = Tissue(ground, cells, {"spindle": ground.across, "basal": drawn.benign})
    _fibres(rng, ground, drawn)
    ground.cover += ramp(drawn.strips.depth_um, -1.5, 1.5)
    _stroma(rng, tissue, drawn)
    _epithelium(rng, tissue, drawn)
    _lumina(rng, tissue, drawn)
    _vessels(rng, tissue, drawn)
    ground.blue += np.float32(0.6) * (texture.fractal(rng, shape, 150 / grid_um, 2) - np.float32(0.5))
    ground.gain += np.float32(0.9) * (texture.fractal(rng, shape, 220 / grid_um, 2) - np.float32(0.5))
    on_tissue = (drawn.strips.depth_um > 1).astype(np.float32)
    for plane in cells.values():
        plane *= on_tissue
    return tissue


def _fibres(rng: np.random.Generator, ground: Ground, drawn: Architecture) -> None:
    """Let fibres follow the core, meander, and bend round the glands; texture coordinates in pixels."""
    shape, grid_um = drawn.lumen.shape, drawn.strips.grid_um
    scale = np.float32(GRID_PX / grid_um)
    bend, sway = (texture.fractal(rng, shape, cell / grid_um) - np.float32(0.5) for cell in (170, 240))
    near = np.clip(drawn.gland, -22, 0)
    ground.across[:] = scale * (drawn.strips.across_um + 260 * bend - np.float32(1.2) * near)
    ground.along[:] = scale * (drawn.strips.along_um + 260 * sway)


def _stroma(rng: np.random.Generator, tissue: Tissue, drawn: Architecture) -> None:
    """Lay fibromuscular stroma everywhere; patches of it are cellular, loose or inflamed."""
    shape, grid_um = drawn.lumen.shape, drawn.strips.grid_um
    everywhere = np.ones(shape, np.float32)
    ground_module.lay(tissue.ground, everywhere, 0.46, 0.05, 0.72, 0.16)
    rough, patchy = (texture.fractal(rng, shape, cell / grid_um) for cell in (160, 70))
    muscle = ramp(rough, 0.48, 0.60)
    ground_module.lay(tissue.ground, muscle, 0.56, 0.07, 0.55, 0.20)
    loose = ramp(patchy, 0.60, 0.68) * (1 - muscle)
    ground_module.lay(tissue.ground, loose, 0.30, 0.05, 0.60, 0.14)
    tissue.cells["spindle"] += np.float32(0.42) + np.float32(0.40) * muscle
    inflamed = ramp(texture.fractal(rng, shape, 95 / grid_um), 0.58, 0.68)
    tissue.cells["lymphocyte"] += np.float32(0.02) + np.float32(0.55) * inflamed
    tissue.cells["spindle"] *= 1 - np.float32(0.6) * inflamed


def _epithelium(rng: np.random.Generator, tissue: Tissue, drawn: Architecture) -> None:
    """Lay epithelium over the stroma; its cytoplasm is pale here and dense there, whatever grows in it."""
    shape, grid_um = drawn.lumen.shape, drawn.strips.grid_um
    gland = ramp(drawn.gland, -0.8, 0.8)
    ground_module.lay(tissue.ground, gland, 0.21, 0.13, 0.04, 0.26)
    dense = ramp(texture.fractal(rng, shape, 75 / grid_um), 0.40, 0.60) * gland
    ground_module.lay(tissue.ground, dense, 0.27, 0.23, 0.04, 0.34)
    for name in ("spindle", "lymphocyte"):
        tissue.cells[name] *= 1 - gland
    tissue.cells["lymphocyte"] += np.float32(0.015) * gland
    benign, wall = drawn.benign, -drawn.lumen  # wall: how far the next lumen is
    tissue.cells["basal"] += ((benign > 0) & (benign < 3.4)).astype(np.float32)
    tissue.cells["secretory"] += np.float32(0.95) * ((benign > 5.0) & (benign < 9.5) & (wall > 2.5))
    small = (drawn.small > 1.5) & (drawn.small < 6.0) & (wall > 1.5)
    solid = (np.maximum(drawn.nest, drawn.sheet) > 2.0) & (wall > 3.0)
    rows = drawn.cord > 1.0
    crowd = np.float32(0.62) + np.float32(0.34) * ramp(texture.fractal(rng, shape, 60 / grid_um), 0.4, 0.6)
    tissue.cells["acinar"] += np.float32(0.9) * (small | rows)
    tissue.cells["cancer"] += crowd * solid
    tissue.cells["cancer"] += np.float32(0.16) * ((drawn.strips.pattern == 5) & (drawn.gland < -4))


def _lumina(rng: np.random.Generator, tissue: Tissue, drawn: Architecture) -> None:
    """Open the lumina down to the glass, and leave some secretion in some of them."""
    shape, grid_um = drawn.lumen.shape, drawn.strips.grid_um
    empty = ramp(drawn.lumen, -1.0, 1.0)
    tissue.ground.cover *= 1 - empty
    for name in ("basal", "secretory", "cancer", "acinar", "lymphocyte"):
        tissue.cells[name] *= drawn.lumen < -1.0
    filled = ramp(texture.fractal(rng, shape, 60 / grid_um), 0.52, 0.60)
    tissue.cells["secretion"] += np.float32(0.75) * filled * (drawn.lumen > 3.5)


def _vessels(rng: np.random.Generator, tissue: Tissue, drawn: Architecture) -> None:
    """Cut capillaries and venules into the stroma, some with red cells."""
    shape, grid_um = drawn.lumen.shape, drawn.strips.grid_um
    vein = texture.fractal(rng, shape, 38 / grid_um, 2)
    lumen = np.minimum((vein - np.float32(0.77)) * 130, np.minimum(-drawn.gland - 7, drawn.strips.depth_um - 10))
    tissue.ground.cover *= 1 - ramp(lumen, -0.8, 0.8)
    for name in ("spindle", "lymphocyte"):
        tissue.cells[name] *= lumen < -1.0
    tissue.cells["erythrocyte"] += (
        np.float32(0.8) * (lumen > 0.5) * ramp(texture.fractal(rng, shape, 120 / grid_um), 0.42, 0.5)
    )


def populate(rng: np.random.Generator, size: tuple[int, int], mpp: float, tissue: Tissue) -> tuple[Canvas, Canvas]:
    """Return the canvases of nuclei (haematoxylin) and bodies (eosin) of a slide of `size` = (w, h)."""
    nuclear, bodies = nuclei.canvas(size), nuclei.canvas(size)
    for name, cells in KINDS.items():
        points = nuclei.scatter(rng, size, cells.spacing_um / mpp, tissue.cells[name], GRID_PX)
        kind = dataclasses.replace(
            cells.kind, diameter_px=cells.kind.diameter_px / mpp, nucleolus_px=cells.kind.nucleolus_px / mpp
        )
        guide = tissue.guides.get(name)
        sprites = nuclei.bank(rng, kind, VARIANTS, oriented=guide is not None)
        if guide is None:
            which = np.asarray(rng.integers(0, VARIANTS, points.shape[0]), np.int64)
        else:
            which = nuclei.facing(rng, _contour(guide, points), VARIANTS)
        nuclei.stamp(bodies if cells.eosin else nuclear, sprites, points, which)
    return nuclear, bodies


def _contour(plane: Field, points: nuclei.Points) -> tuple[Field, Field]:
    """Return the direction (dx, dy), not normalised, of the plane's contour through each point."""
    height, width = plane.shape
    row = np.clip(points[:, 1] // GRID_PX, 1, height - 2)
    column = np.clip(points[:, 0] // GRID_PX, 1, width - 2)
    slope_x = plane[row, column + 1] - plane[row, column - 1]
    slope_y = plane[row + 1, column] - plane[row - 1, column]
    return -slope_y, slope_x
