"""The ground and the cells of prostate tissue: stroma, epithelium, lumina and their nuclei."""

import numpy as np

from acinus_demo import nuclei
from acinus_demo.ground import GRID_PX, Section, contour
from acinus_demo.nuclei import Canvas, Kind
from acinus_demo.prostate import Architecture
from acinus_demo.texture import fractal, ramp

CANCER = Kind(7.2, 0.24, 1.6, 0.14, body=0.60, clumps=0.35, rim=0.40, nucleoli=1, nucleolus_um=2.2, body_spread=0.30)
KINDS = {  # and the distance of neighbours in um
    "basal": (Kind(4.2, 0.18, 3.2, 0.10, body=0.84, clumps=0.25, rim=0.15, body_spread=0.25), 4.4),
    "secretory": (Kind(5.9, 0.14, 1.5, 0.10, body=0.70, clumps=0.35, rim=0.25, body_spread=0.25), 5.2),
    "cancer": (CANCER, 7.8),
    "acinar": (CANCER, 5.8),  # the same cells in the single row round a small acinus
    "spindle": (Kind(4.4, 0.2, 6.0, 0.15, body=0.80, clumps=0.3, rim=0.15, body_spread=0.3), 13.0),
    "lymphocyte": (Kind(5.4, 0.14, 1.25, 0.10, body=0.92, clumps=0.5, rim=0.20, body_spread=0.2), 7.0),
    "secretion": (Kind(11.0, 0.45, 1.6, 0.22, body=0.42, clumps=0.45, rim=0.25, body_spread=0.4, eosin=True), 13.0),
    "erythrocyte": (Kind(6.2, 0.08, 1.2, 0.05, body=0.85, clumps=0.08, rim=0.1, eosin=True), 6.4),
}
VARIANTS = 64


def paint(rng: np.random.Generator, drawn: Architecture) -> Section:
    """Turn an architecture into ground and populations."""
    shape, grid_um = drawn.lumen.shape, drawn.strips.grid_um
    section = Section.glass(shape, *KINDS)
    ground = section.ground
    # fibres follow the core, meander, and bend round the glands; texture coordinates in pixels
    bend, sway = (fractal(rng, shape, cell / grid_um) - 0.5 for cell in (170, 240))
    scale = GRID_PX / grid_um
    ground.across[:] = scale * (drawn.strips.across_um + 260 * bend - 1.2 * np.clip(drawn.gland, -22, 0))
    ground.along[:] = scale * (drawn.strips.along_um + 260 * sway)
    section.directions |= {"spindle": contour(ground.across), "basal": contour(drawn.benign)}
    ground.cover += ramp(drawn.strips.depth_um, -1.5, 1.5)
    _stroma(rng, section, drawn)
    _epithelium(rng, section, drawn)
    _lumina(rng, section, drawn)
    _vessels(rng, section, drawn)
    ground.blue += 0.6 * (fractal(rng, shape, 150 / grid_um, 2) - 0.5)
    ground.gain += 0.9 * (fractal(rng, shape, 220 / grid_um, 2) - 0.5)
    for plane in section.cells.values():
        plane *= drawn.strips.depth_um > 1
    return section


def _stroma(rng: np.random.Generator, section: Section, drawn: Architecture) -> None:
    """Lay fibromuscular stroma everywhere; patches of it are cellular, loose or inflamed."""
    shape, grid_um, cells = drawn.lumen.shape, drawn.strips.grid_um, section.cells
    section.ground.lay(1, 0.46, 0.05, 0.72, 0.16)
    rough, patchy = (fractal(rng, shape, cell / grid_um) for cell in (160, 70))
    muscle = ramp(rough, 0.48, 0.60)
    section.ground.lay(muscle, 0.56, 0.07, 0.55, 0.20)
    loose = ramp(patchy, 0.60, 0.68) * (1 - muscle)
    section.ground.lay(loose, 0.30, 0.05, 0.60, 0.14)
    cells["spindle"] += 0.42 + 0.40 * muscle
    inflamed = ramp(fractal(rng, shape, 95 / grid_um), 0.58, 0.68)
    cells["lymphocyte"] += 0.02 + 0.55 * inflamed
    cells["spindle"] *= 1 - 0.6 * inflamed


def _epithelium(rng: np.random.Generator, section: Section, drawn: Architecture) -> None:
    """Lay epithelium over the stroma; its cytoplasm is pale here and dense there, whatever grows in it."""
    shape, grid_um, cells = drawn.lumen.shape, drawn.strips.grid_um, section.cells
    gland = ramp(drawn.gland, -0.8, 0.8)
    section.ground.lay(gland, 0.21, 0.13, 0.04, 0.26)
    dense = ramp(fractal(rng, shape, 75 / grid_um), 0.40, 0.60) * gland
    section.ground.lay(dense, 0.27, 0.23, 0.04, 0.34)
    cells["spindle"] *= 1 - gland
    cells["lymphocyte"] *= 1 - gland
    cells["lymphocyte"] += 0.015 * gland
    benign, wall = drawn.benign, -drawn.lumen  # wall: how far the next lumen is
    small = (drawn.small > 1.5) & (drawn.small < 6.0) & (wall > 1.5)
    solid = (np.maximum(drawn.nest, drawn.sheet) > 2.0) & (wall > 3.0)
    crowd = 0.62 + 0.34 * ramp(fractal(rng, shape, 60 / grid_um), 0.4, 0.6)
    cells["basal"][(benign > 0) & (benign < 3.4)] = 1
    cells["secretory"][(benign > 5.0) & (benign < 9.5) & (wall > 2.5)] = 0.95
    cells["acinar"][small | (drawn.cord > 1.0)] = 0.9
    cells["cancer"] += crowd * solid
    cells["cancer"][(drawn.strips.pattern == 5) & (drawn.gland < -4)] += 0.16


def _lumina(rng: np.random.Generator, section: Section, drawn: Architecture) -> None:
    """Open the lumina down to the glass, and leave some secretion in some of them."""
    section.ground.cover *= 1 - ramp(drawn.lumen, -1.0, 1.0)
    for name in ("basal", "secretory", "cancer", "acinar", "lymphocyte"):
        section.cells[name] *= drawn.lumen < -1.0
    filled = ramp(fractal(rng, drawn.lumen.shape, 60 / drawn.strips.grid_um), 0.52, 0.60)
    section.cells["secretion"] += 0.75 * filled * (drawn.lumen > 3.5)


def _vessels(rng: np.random.Generator, section: Section, drawn: Architecture) -> None:
    """Cut capillaries and venules into the stroma, some with red cells."""
    shape, grid_um = drawn.lumen.shape, drawn.strips.grid_um
    vein = fractal(rng, shape, 38 / grid_um, 2)
    lumen = np.minimum((vein - 0.77) * 130, np.minimum(-drawn.gland - 7, drawn.strips.depth_um - 10))
    section.ground.cover *= 1 - ramp(lumen, -0.8, 0.8)
    for name in ("spindle", "lymphocyte"):
        section.cells[name] *= lumen < -1.0
    filled = ramp(fractal(rng, shape, 120 / grid_um), 0.42, 0.5)
    section.cells["erythrocyte"] += 0.8 * filled * (lumen > 0.5)


def populate(rng: np.random.Generator, size: tuple[int, int], mpp: float, section: Section) -> tuple[Canvas, Canvas]:
    """Return the canvases of nuclei (haematoxylin) and bodies (eosin) of a slide of `size` = (w, h)."""
    canvases = nuclei.canvas(size), nuclei.canvas(size)
    for name, (kind, spacing_um) in KINDS.items():
        points = nuclei.scatter(rng, size, spacing_um / mpp, section.cells[name])
        nuclei.put(rng, canvases, kind, mpp, points, section.directions.get(name), VARIANTS)
    return canvases
