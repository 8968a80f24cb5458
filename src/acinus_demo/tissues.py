"""Territories of five tissues in one stain: glands, stroma, lymphoid tissue, tumour and necrosis, and their cells."""

import numpy as np
from numpy.typing import NDArray

from acinus_demo import node, outline, texture
from acinus_demo.ground import GRID_PX, Section, contour, grid_shape
from acinus_demo.nuclei import Kind
from acinus_demo.outline import Ring
from acinus_demo.texture import Field, fractal, ramp

MPP = 0.5
TISSUES = ("glands", "stroma", "lymphoid", "tumour", "necrosis")  # classes 1 to 5
GLAND_PX, NEST_PX = 146, 190  # distance of neighbours' centres

LATTICE = 4  # centres of territories per row and column of the picture
FEWEST_SHARE = 0.08  # of the tissue, for every class
WANDER = 0.5  # how far a territory's border strays, relative to the distance of two centres

SPACING_UM = {"lymphocyte": 7.4, "epithelium": 6.6, "spindle": 13.0, "tumour": 16.0, "dust": 4.2, "ghost": 13.0}
LOOKS = (
    ("lymphocyte", node.LYMPHOCYTE),
    ("epithelium", Kind(7.6, 0.12, 1.9, 0.08, body=0.74, clumps=0.35, rim=0.30)),
    ("spindle", node.SPINDLE),
    ("tumour", node.TUMOUR),
    ("tumour", node.TUMOUR_BODY),
    ("dust", Kind(2.4, 0.45, 1.5, 0.10, body=0.95, clumps=0.0, rim=0.0, body_spread=0.4)),
    ("ghost", Kind(13.0, 0.25, 1.4, 0.25, body=0.46, clumps=0.45, rim=0.25, body_spread=0.25, eosin=True)),
)


def divide(
    rng: np.random.Generator, size: tuple[int, int], tissue: tuple[Ring, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Divide a picture of `size` = (w, h) among the tissues, each with at least FEWEST_SHARE of what is tissue.

    Returns the class of every pixel (h, w), 0 on glass, and the number of the territory on the ground's grid.
    """
    width, height = size
    rows, columns = grid_shape(size)
    inside, coarse_inside = outline.mask(tissue, size), outline.mask(tissue, (columns, rows), GRID_PX)
    step = (width / LATTICE, height / LATTICE)
    where = np.stack(np.meshgrid(np.arange(LATTICE), np.arange(LATTICE)), -1).reshape(-1, 2)
    while True:
        centres = ((where + 0.5 + 0.7 * (rng.random(where.shape) - 0.5)) * step).astype(np.float32)
        kinds = (rng.permutation(LATTICE * LATTICE) % len(TISSUES) + 1).astype(np.uint8)
        # displacements in x and y, in pixels, with a halo of one sample of the grid
        warp = [
            2 * edge * WANDER * (fractal(rng, (rows + 2, columns + 2), max(8.0, columns / 9), 4) - 0.5) for edge in step
        ]
        owner = _nearest(centres, warp[0][1:-1, 1:-1], warp[1][1:-1, 1:-1], GRID_PX)
        counts = np.bincount(kinds[owner][coarse_inside], minlength=len(TISSUES) + 1)
        if counts[1:].min() >= FEWEST_SHARE * counts.sum():
            break
    fine_x, fine_y = (texture.upsample4(plane)[:height, :width] for plane in warp)
    return kinds[_nearest(centres, fine_x, fine_y, 1)] * inside, owner


def _nearest(centres: Field, warp_x: Field, warp_y: Field, pixel: int) -> NDArray[np.int64]:
    """Return the index of the nearest centre for every sample `pixel` level-0 pixels wide."""
    y, x = texture.axes(warp_x.shape, pixel, 0.5)
    x, y = x + warp_x, y + warp_y
    best = np.full(x.shape, np.inf, np.float32)
    owner = np.zeros(x.shape, np.int64)
    for k, (centre_x, centre_y) in enumerate(centres):
        dx, dy = x - centre_x, y - centre_y
        distance = dx * dx + dy * dy
        owner[distance < best] = k
        np.minimum(best, distance, out=best)
    return owner


def border_tile(rng: np.random.Generator, apart_px: int) -> Field:
    """Return a periodic tile of F2 - F1 of a partition into cells `apart_px` wide, on the grid, in pixels."""
    return texture.cell_borders(rng, 512, round(512 * GRID_PX / apart_px)) * GRID_PX


def build(
    rng: np.random.Generator,
    labels: NDArray[np.uint8],
    owner: NDArray[np.int64],
    borders: tuple[Field, Field] | None = None,
) -> Section:
    """Return the architecture of a picture with these classes and territories (see `divide`).

    borders: tiles (`border_tile`) of glands and of nests, which take long to draw; None: the picture has its own.
    """
    gland_tile, nest_tile = borders or (None, None)
    rows, columns = owner.shape
    padding = ((0, rows * GRID_PX - labels.shape[0]), (0, columns * GRID_PX - labels.shape[1]))
    blocks = np.pad(labels, padding, mode="edge").reshape(rows, GRID_PX, columns, GRID_PX)
    # the share of each tissue in every sample of the grid
    glands, stroma, lymphoid, tumour, necrosis = shares = [
        (blocks == k).sum(axis=(1, 3)).astype(np.float32) * (1 / GRID_PX**2) for k in range(1, len(TISSUES) + 1)
    ]
    section = Section.glass(owner.shape, *SPACING_UM)
    for share in shares:
        section.ground.cover += share
    section.ground.weave(rng, (110, 40), 800, (-1, 2))
    section.directions["spindle"] = contour(section.ground.across)
    _glands(rng, section, glands, gland_tile)
    _lay_stroma(section, stroma)
    # lymphoid tissue: small round nuclei, packed with hardly anything between them
    section.ground.lay(lymphoid, 0.42, 0.08, 0.20, 0.35)
    section.cells["lymphocyte"] += lymphoid * (0.55 + 0.40 * ramp(fractal(rng, owner.shape, 30), 0.3, 0.6))
    _tumour(rng, section, tumour, nest_tile)
    # necrosis: granular debris, that is ghosts of cells, nuclear dust in drifts, vacuoles
    section.ground.lay(necrosis, 0.40, 0.09, 0.25, 0.55)
    section.cells["dust"] += necrosis * (0.25 + 0.60 * ramp(fractal(rng, owner.shape, 14), 0.42, 0.58))
    section.cells["ghost"] += necrosis * 0.65
    section.cells["lymphocyte"] += 0.02 * section.ground.cover
    _uneven(rng, section, owner)
    return section


def _cells_between(rng: np.random.Generator, shape: tuple[int, int], apart_px: int, tile: Field | None = None) -> Field:
    """Return F2 - F1 of a partition into cells `apart_px` wide with bent borders, on the grid, in pixels.

    tile: of the borders, taken from a random place of it; None: one is drawn.
    """
    borders = border_tile(rng, apart_px) if tile is None else np.roll(tile, rng.integers(0, 512, 2), (0, 1))
    bend = [14 * (fractal(rng, shape, 22, 2) - 0.5) for _ in range(2)]
    y, x = texture.axes(shape)
    return texture.sample_smooth(borders, y + bend[0], x + bend[1])


def _glands(rng: np.random.Generator, section: Section, weight: Field, tile: Field | None) -> None:
    """Set glands with one basal row of nuclei and a lumen into stroma; the nuclei point inwards."""
    depth = _cells_between(rng, weight.shape, GLAND_PX, tile)
    rough = fractal(rng, weight.shape, 60)
    gland = ramp(depth, 15, 23) * weight
    _lay_stroma(section, weight * (1 - gland))
    section.ground.lay(gland, 0.44, 0.09, 0.10, 0.35)
    lumen = ramp(depth + 50 * (rough - 0.5), 88, 97) * gland
    section.ground.lay(lumen, 0.13, 0.02, 0.05, 0.25)
    section.thin(gland)
    section.cells["epithelium"] += gland * ramp(np.abs(depth - 40), 21, 14) * 0.95
    down, right = np.asarray(np.gradient(depth), np.float32)
    section.directions["epithelium"] = (right, down)


def _lay_stroma(section: Section, weight: Field) -> None:
    section.ground.lay(weight, 0.44, 0.07, 0.70, 0.20)
    section.thin(weight)
    section.cells["spindle"] += weight * 0.75


def _tumour(rng: np.random.Generator, section: Section, weight: Field, tile: Field | None) -> None:
    """Fill nests with large cells; thin septa of stroma lie between them."""
    border = _cells_between(rng, weight.shape, NEST_PX, tile)
    fine = fractal(rng, weight.shape, 20)
    septum = ramp(border + 24 * (fine - 0.5), 16, 8) * weight
    section.ground.lay(weight, 0.42, 0.08, 0.20, 0.40)
    section.cells["tumour"] += weight * 0.95
    _lay_stroma(section, septum)


def _uneven(rng: np.random.Generator, section: Section, owner: NDArray[np.int64]) -> None:
    """Let thickness and staining differ between territories, whatever their tissue, and vary slowly."""
    ground = section.ground
    for plane, spread in ((ground.gain, 0.45), (ground.blue, 0.70), (ground.eosin, 0.70)):
        table = 1 + spread * (rng.random(int(owner.max()) + 1, dtype=np.float32) - 0.5)
        plane *= texture.soften(table[owner], 5)
    ground.gain += 0.5 * (fractal(rng, owner.shape, 90, 2) - 0.5)
    ground.blue += 0.5 * (fractal(rng, owner.shape, 60, 2) - 0.5)
