"""A lymph node in section: capsule, sinuses, cortex with follicles, medulla, vessels, fat, and metastases."""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import Polygon

from acinus_demo import ground as ground_module
from acinus_demo import outline, texture
from acinus_demo.ground import GRID_PX, Ground
from acinus_demo.layout import Lesion
from acinus_demo.outline import Ring
from acinus_demo.texture import Field, ramp

Mask = NDArray[np.bool_]
SOLID_BELOW_PX2 = 160.0**2  # lesions smaller than this are one nest, without stroma


@dataclasses.dataclass
class Populations:
    """Where each kind of cell may lie: a probability per lattice point, on the ground's grid."""

    lymphocyte: Field
    centroblast: Field
    histiocyte: Field
    spindle: Field
    tumour: Field
    erythrocyte: Field

    def clear(self, weight: Field) -> None:
        """Thin every kind out where `weight` is 1."""
        for field in dataclasses.fields(self):
            getattr(self, field.name).__imul__(1 - weight)


@dataclasses.dataclass(frozen=True)
class Node:
    """A drawn architecture: ground, cells, and the mask of the tumour on the grid."""

    ground: Ground
    cells: Populations


def build(
    rng: np.random.Generator,
    size: tuple[int, int],
    tissue: tuple[Ring, ...],
    lesions: tuple[Lesion, ...],
) -> Node:
    """Return the architecture of one slide of `size` = (w, h) level-0 px."""
    grid = (-(-size[0] // GRID_PX), -(-size[1] // GRID_PX))
    shape = (grid[1], grid[0])
    inside = outline.mask(tissue, grid, GRID_PX)
    depth = (ndimage.distance_transform_edt(inside) * GRID_PX).astype(np.float32)
    tumour = outline.mask([lesion.ring for lesion in lesions], grid, GRID_PX)
    holes = [hole.ring for lesion in lesions for hole in lesion.holes]
    tumour &= ~outline.mask(holes, grid, GRID_PX)
    ground = ground_module.empty(shape)
    cells = Populations(*(np.zeros(shape, np.float32) for _ in dataclasses.fields(Populations)))
    node = Node(ground, cells)
    _fibre_coordinates(rng, ground, depth)
    ground.cover += _soften(inside)
    _cortex_and_medulla(rng, node, depth)
    _follicles(rng, node, depth)
    _stroma(rng, node, depth)
    small = [lesion.ring for lesion in lesions if Polygon(lesion.ring).area < SOLID_BELOW_PX2]
    _metastasis(rng, node, tumour, outline.mask(small, grid, GRID_PX))
    _fat(rng, node, depth, tumour)
    _vessels(rng, node, inside)
    _thickness(rng, ground)
    cells.clear((~inside).astype(np.float32))
    return node


def _soften(inside: Mask) -> Field:
    return ndimage.uniform_filter(inside.astype(np.float32), 3, output=np.float32)


def _fibre_coordinates(rng: np.random.Generator, ground: Ground, depth: Field) -> None:
    """Let fibres meander, and follow the border where the capsule is."""
    shape = depth.shape
    y = np.arange(shape[0], dtype=np.float32)[:, None] * GRID_PX
    x = np.arange(shape[1], dtype=np.float32)[None, :] * GRID_PX
    bend = [(texture.fractal(rng, shape, cell) - np.float32(0.5)) for cell in (220, 220, 50)]
    slope = np.float32(round(0.4 + 0.8 * float(rng.random()), 3))
    ground.across[:] = np.float32(0.8) * (y - slope * x) + 1400 * bend[0] + 110 * bend[2]
    ground.along[:] = np.float32(0.8) * (x + slope * y) + 1400 * bend[1]
    shell = depth < 120
    ground.across[shell] = (depth + 60 * bend[2])[shell]
    ground.along[shell] = (x + y)[shell]


def _cortex_and_medulla(rng: np.random.Generator, node: Node, depth: Field) -> None:
    """Lay lymphoid tissue everywhere: dense cortex, looser and sinus-rich medulla."""
    shape = depth.shape
    rough, fine = texture.fractal(rng, shape, 110), texture.fractal(rng, shape, 28)
    ground_module.lay(node.ground, np.ones(shape, np.float32), 0.30, 0.16, 0.26, 0.40)
    packing = ramp(rough * np.float32(0.7) + fine * np.float32(0.3), 0.25, 0.72)
    node.cells.lymphocyte += np.float32(0.42) + np.float32(0.55) * packing
    deep = ramp(depth + 500 * (rough - np.float32(0.5)), 330, 520)
    vein = np.abs(texture.fractal(rng, shape, 34, 2) - np.float32(0.5))
    sinus = deep * ramp(vein, 0.075, 0.035)
    rim = ramp(np.abs(depth - 95 - 50 * (fine - np.float32(0.5))), 30, 16) * ramp(rough, 0.42, 0.5)
    pale = np.maximum(sinus, rim)
    ground_module.lay(node.ground, pale, 0.13, 0.05, 0.14, 0.22)
    node.cells.lymphocyte *= 1 - np.float32(0.86) * pale
    node.cells.histiocyte += pale * np.float32(0.6) + deep * np.float32(0.04)
    gap = ramp(np.abs(texture.fractal(rng, shape, 9, 2) - np.float32(0.5)), 0.04, 0.015) * ramp(rough, 0.40, 0.55)
    ground_module.lay(node.ground, gap, 0.06, 0.03, 0.14, 0.10)
    # clusters of histiocytes in the paracortex: pale, pink, with large nuclei, and benign
    sheet = ramp(texture.fractal(rng, shape, 60), 0.60, 0.66) * ramp(depth, 140, 200)
    ground_module.lay(node.ground, sheet, 0.46, 0.10, 0.14, 0.26)
    node.cells.lymphocyte *= 1 - np.float32(0.72) * sheet
    node.cells.histiocyte += sheet * np.float32(0.75)


def _follicles(rng: np.random.Generator, node: Node, depth: Field) -> None:
    """Set follicles into the cortex: a mantle of packed lymphocytes round a pale germinal centre."""
    rows, columns = np.nonzero((depth > 190) & (depth < 900))
    if not rows.size:
        return
    wobble = texture.fractal(rng, depth.shape, 30)
    for _ in range(max(2, rows.size // 14_000)):
        k = int(rng.integers(rows.size))
        radius = float(rng.integers(90, 250)) / GRID_PX
        reach = int(1.6 * radius) + 2
        top, left = max(0, int(rows[k]) - reach), max(0, int(columns[k]) - reach)
        cut = (slice(top, int(rows[k]) + reach), slice(left, int(columns[k]) + reach))
        height, width = depth[cut].shape
        y = (np.arange(height, dtype=np.float32) + top - rows[k])[:, None]
        x = (np.arange(width, dtype=np.float32) + left - columns[k])[None, :]
        away = np.sqrt(x * x + np.float32(1.4) * y * y) * np.float32(1 / radius)
        away += np.float32(0.5) * (wobble[cut] - np.float32(0.5))
        mantle, centre = ramp(away, 1.25, 1.12), ramp(away, 0.9, 0.78)
        local = dataclasses.replace(node.ground, **{f.name: getattr(node.ground, f.name)[cut] for f in _PLANES})
        ground_module.lay(local, mantle, 0.26, 0.20, 0.08, 0.16)
        ground_module.lay(local, centre, 0.36, 0.22, 0.08, 0.22)
        for name, in_mantle, in_centre in (
            ("lymphocyte", 1.0, 0.22),
            ("centroblast", 0.0, 0.86),
            ("histiocyte", 0.0, 0.05),
        ):
            plane = getattr(node.cells, name)[cut]
            plane += mantle * (np.float32(in_mantle) - plane)
            plane += centre * (np.float32(in_centre) - plane)


_PLANES = dataclasses.fields(Ground)


def _stroma(rng: np.random.Generator, node: Node, depth: Field) -> None:
    """Lay capsule, trabeculae and patches of fibrosis."""
    shape = depth.shape
    rough, fine = texture.fractal(rng, shape, 130), texture.fractal(rng, shape, 24)
    capsule = ramp(depth + 45 * (fine - np.float32(0.5)) + 40 * (rough - np.float32(0.5)), 62, 50)
    beam = ramp(np.abs(texture.fractal(rng, shape, 150, 3) - np.float32(0.5)), 0.022, 0.012)
    scar = ramp(texture.fractal(rng, shape, 120), 0.60, 0.63)
    weight = np.maximum(np.maximum(capsule, beam), scar)
    _lay_stroma(node, weight)
    node.cells.lymphocyte += weight * np.float32(0.10) * ramp(rough, 0.4, 0.7)


def _lay_stroma(node: Node, weight: Field) -> None:
    ground_module.lay(node.ground, weight, 0.54, 0.06, 0.85, 0.16)
    node.cells.clear(weight)
    node.cells.spindle += weight * np.float32(0.55)
    node.cells.lymphocyte += weight * np.float32(0.03)


def _metastasis(rng: np.random.Generator, node: Node, tumour: Mask, small: Mask) -> None:
    """Replace the node by nests of tumour cells between septa of fibrous stroma."""
    if not tumour.any():
        return
    shape = tumour.shape
    weight = _soften(tumour)
    node.cells.clear(weight)
    ground_module.lay(node.ground, weight, 0.17, 0.08, 0.14, 0.50)
    rough, fine = texture.fractal(rng, shape, 90), texture.fractal(rng, shape, 26)
    borders = texture.cell_borders(rng, 512, 12) * np.float32(GRID_PX)
    y = np.arange(shape[0], dtype=np.float32)[:, None] + 30 * (fine - np.float32(0.5)) + 60 * rough
    x = np.arange(shape[1], dtype=np.float32)[None, :] + 30 * (rough - np.float32(0.5)) - 40 * fine
    border = texture.sample_smooth(borders, y, x)
    widen = ramp(rough, 0.42, 0.75)
    septum = ramp(border - 95 * widen + 14 * (fine - np.float32(0.5)), 17, 7) * weight
    solid = ramp(texture.fractal(rng, shape, 70), 0.50, 0.56)
    septum *= (1 - solid * ramp(rough, 0.6, 0.5)) * (1 - small)
    cleft = ramp(np.abs(border - 95 * widen + 14 * (fine - np.float32(0.5)) - 16), 7, 4) * weight
    cleft *= ramp(texture.fractal(rng, shape, 36), 0.46, 0.54) * (1 - small)
    inflamed = ramp(texture.fractal(rng, shape, 60), 0.48, 0.60)
    node.cells.tumour += ramp(weight, 0.6, 1.0) * (np.float32(0.60) + np.float32(0.40) * ramp(fine, 0.3, 0.6))
    node.cells.lymphocyte += weight * np.float32(0.05)
    necrosis = ramp(texture.fractal(rng, shape, 40), 0.60, 0.64) * ramp(border, 18, 34) * weight * (1 - small)
    ground_module.lay(node.ground, necrosis, 0.58, 0.12, 0.20, 0.75)
    node.cells.tumour *= 1 - np.float32(0.7) * necrosis
    _lay_stroma(node, septum)
    node.ground.cover *= 1 - cleft
    node.cells.lymphocyte += septum * inflamed * np.float32(0.75)
    node.cells.spindle *= 1 - np.float32(0.5) * inflamed * weight


def _fat(rng: np.random.Generator, node: Node, depth: Field, tumour: Mask) -> None:
    """Let fat lobules grow in from the border and, here and there, within."""
    shape = depth.shape
    rough = texture.fractal(rng, shape, 160)
    lobule = ramp(rough - ramp(depth, 150, 900) * np.float32(0.10), 0.64, 0.65)
    lobule *= (1 - _soften(tumour)) * ramp(depth, 24, 44)
    if lobule.max() == 0:
        return
    wall = texture.cell_borders(rng, 512, 22) * np.float32(GRID_PX)
    y = np.arange(shape[0], dtype=np.float32)[:, None] + 24 * rough
    x = np.arange(shape[1], dtype=np.float32)[None, :] - 24 * rough
    empty = lobule * ramp(texture.sample_smooth(wall, y, x), 5.0, 9.0)
    ground_module.lay(node.ground, lobule, 0.40, 0.05, 0.10, 0.1)
    node.ground.cover *= 1 - empty
    node.cells.clear(lobule)
    node.cells.spindle += (lobule - empty) * np.float32(0.25)


def _vessels(rng: np.random.Generator, node: Node, inside: Mask) -> None:
    """Cut vessels: a wall of stroma, a lumen, some with red cells."""
    rows, columns = np.nonzero(inside)
    for _ in range(max(1, rows.size // 16_000)):
        k = int(rng.integers(rows.size))
        radius = float(rng.integers(14, 52)) / GRID_PX
        centre = (float(columns[k]), float(rows[k]))
        ring = outline.irregular(rng, centre, (radius * (1 + float(rng.random())), radius), 0.15, points=28)
        reach = int(4 * radius) + 4
        top, left = max(0, int(rows[k]) - reach), max(0, int(columns[k]) - reach)
        height = min(inside.shape[0], int(rows[k]) + reach) - top
        width = min(inside.shape[1], int(columns[k]) + reach) - left
        local = tuple((px - left, py - top) for px, py in ring)
        lumen = outline.mask([local], (width, height))
        cut = (slice(top, top + height), slice(left, left + width))
        away = ndimage.distance_transform_edt(~lumen).astype(np.float32)
        part = Node(
            dataclasses.replace(node.ground, **{f.name: getattr(node.ground, f.name)[cut] for f in _PLANES}),
            Populations(*(getattr(node.cells, f.name)[cut] for f in dataclasses.fields(Populations))),
        )
        wall = ramp(away, 5, 3) * inside[cut]
        _lay_stroma(part, wall)
        open_space = _soften(lumen)
        part.ground.cover[:] = np.maximum(part.ground.cover, wall) * (1 - open_space)
        part.cells.clear(open_space)
        if rng.random() < 0.6:
            part.cells.erythrocyte += open_space * np.float32(0.8 * float(rng.random()))


def _thickness(rng: np.random.Generator, ground: Ground) -> None:
    """Vary the section's thickness and staining slowly over the slide."""
    shape = ground.gain.shape
    slow = texture.fractal(rng, shape, 300, 2) - np.float32(0.5)
    quick = texture.fractal(rng, shape, 70, 2) - np.float32(0.5)
    ground.blue += texture.fractal(rng, shape, 100, 2) - np.float32(0.5)
    ground.gain += np.float32(0.7) * slow + np.float32(0.7) * quick
