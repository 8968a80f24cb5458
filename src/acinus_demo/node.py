"""A lymph node in section: capsule, sinuses, cortex with follicles, medulla, vessels, fat, metastases, their cells."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry import Polygon

from acinus_demo import outline, texture
from acinus_demo.ground import GRID_PX, Section, contour, grid_shape
from acinus_demo.layout import Lesion
from acinus_demo.nuclei import Kind
from acinus_demo.outline import Ring
from acinus_demo.texture import Field, fractal, ramp

Mask = NDArray[np.bool_]
SOLID_BELOW_PX2 = 160.0**2  # lesions smaller than this are one nest, without stroma

LYMPHOCYTE = Kind(6.6, 0.16, 1.3, 0.12, body=0.90, clumps=0.60, rim=0.20, body_spread=0.28)
CENTROBLAST = Kind(9.0, 0.16, 1.35, 0.12, body=0.69, clumps=0.30, rim=0.35, nucleoli=2, nucleolus_um=1.4)
HISTIOCYTE = Kind(8.6, 0.18, 1.9, 0.14, body=0.55, clumps=0.25, rim=0.35, nucleoli=1, nucleolus_um=1.0)
SPINDLE = Kind(6.0, 0.2, 5.5, 0.15, body=0.95, clumps=0.3, rim=0.15)
TUMOUR = Kind(13.4, 0.32, 1.9, 0.26, body=0.69, clumps=0.45, rim=0.45, nucleoli=1, nucleolus_um=3.2, body_spread=0.40)
ERYTHROCYTE = Kind(6.4, 0.08, 1.2, 0.05, body=1.0, clumps=0.08, rim=0.1, eosin=True)
TUMOUR_BODY = Kind(23.0, 0.18, 1.3, 0.30, body=0.30, clumps=0.55, rim=0.45, body_spread=0.7, eosin=True)
HISTIOCYTE_BODY = Kind(17.0, 0.2, 1.5, 0.30, body=0.46, clumps=0.3, rim=0.12, eosin=True)

SPACING_UM = {
    "lymphocyte": 7.2,
    "centroblast": 11.0,
    "histiocyte": 16.0,
    "spindle": 15.0,
    "tumour": 17.0,
    "erythrocyte": 6.5,
}
LOOKS = (
    ("lymphocyte", LYMPHOCYTE),
    ("centroblast", CENTROBLAST),
    ("histiocyte", HISTIOCYTE),
    ("histiocyte", HISTIOCYTE_BODY),
    ("spindle", SPINDLE),
    ("tumour", TUMOUR),
    ("tumour", TUMOUR_BODY),
    ("erythrocyte", ERYTHROCYTE),
)


def build(
    rng: np.random.Generator,
    size: tuple[int, int],
    tissue: tuple[Ring, ...],
    lesions: tuple[Lesion, ...],
) -> Section:
    """Return the architecture of one slide of `size` = (w, h) level-0 px."""
    shape = grid_shape(size)

    def mask(*rings: Ring) -> Mask:
        return outline.mask(rings, (shape[1], shape[0]), GRID_PX)

    inside = mask(*tissue)
    depth = (ndimage.distance_transform_edt(inside) * GRID_PX).astype(np.float32)
    tumour = mask(*(lesion.ring for lesion in lesions))
    tumour &= ~mask(*(hole.ring for lesion in lesions for hole in lesion.holes))
    node = Section.glass(shape, *SPACING_UM)
    _fibres(rng, node, depth)
    node.ground.cover += _soften(inside)
    _cortex_and_medulla(rng, node, depth)
    _follicles(rng, node, depth)
    _stroma(rng, node, depth)
    small = (lesion.ring for lesion in lesions if Polygon(lesion.ring).area < SOLID_BELOW_PX2)
    _metastasis(rng, node, tumour, mask(*small))
    _fat(rng, node, depth, tumour)
    _vessels(rng, node, inside)
    # thickness and staining vary slowly over the slide
    slow, quick, stain = (fractal(rng, shape, cell, 2) - 0.5 for cell in (300, 70, 100))
    node.ground.blue += stain
    node.ground.gain += 0.7 * slow + 0.7 * quick
    node.thin((~inside).astype(np.float32))
    return node


def _soften(inside: Mask) -> Field:
    return ndimage.uniform_filter(inside.astype(np.float32), 3, output=np.float32)


def _fibres(rng: np.random.Generator, node: Section, depth: Field) -> None:
    """Let fibres meander, and follow the border where the capsule is."""
    ground = node.ground
    bend = ground.weave(rng, (220, 50), 1400, (0.4, 0.8))
    y, x = texture.axes(depth.shape, GRID_PX)
    shell = depth < 120
    ground.across[shell] = (depth + 60 * bend)[shell]
    ground.along[shell] = (x + y)[shell]
    node.directions["spindle"] = contour(ground.across)


def _cortex_and_medulla(rng: np.random.Generator, node: Section, depth: Field) -> None:
    """Lay lymphoid tissue everywhere: dense cortex, looser and sinus-rich medulla."""
    shape, cells = depth.shape, node.cells
    rough, fine = fractal(rng, shape, 110), fractal(rng, shape, 28)
    node.ground.lay(1, 0.30, 0.16, 0.26, 0.40)
    packing = ramp(rough * 0.7 + fine * 0.3, 0.25, 0.72)
    cells["lymphocyte"] += 0.42 + 0.55 * packing
    deep = ramp(depth + 500 * (rough - 0.5), 330, 520)
    vein = np.abs(fractal(rng, shape, 34, 2) - 0.5)
    sinus = deep * ramp(vein, 0.075, 0.035)
    rim = ramp(np.abs(depth - 95 - 50 * (fine - 0.5)), 30, 16) * ramp(rough, 0.42, 0.5)
    pale = np.maximum(sinus, rim)
    node.ground.lay(pale, 0.13, 0.05, 0.14, 0.22)
    cells["lymphocyte"] *= 1 - 0.86 * pale
    cells["histiocyte"] += pale * 0.6 + deep * 0.04
    gap = ramp(np.abs(fractal(rng, shape, 9, 2) - 0.5), 0.04, 0.015) * ramp(rough, 0.40, 0.55)
    node.ground.lay(gap, 0.06, 0.03, 0.14, 0.10)
    # clusters of histiocytes in the paracortex: pale, pink, with large nuclei, and benign
    sheet = ramp(fractal(rng, shape, 60), 0.60, 0.66) * ramp(depth, 140, 200)
    node.ground.lay(sheet, 0.46, 0.10, 0.14, 0.26)
    cells["lymphocyte"] *= 1 - 0.72 * sheet
    cells["histiocyte"] += sheet * 0.75


def _follicles(rng: np.random.Generator, node: Section, depth: Field) -> None:
    """Set follicles into the cortex: a mantle of packed lymphocytes round a pale germinal centre."""
    rows, columns = np.nonzero((depth > 190) & (depth < 900))
    if not rows.size:
        return
    wobble = fractal(rng, depth.shape, 30)
    for _ in range(max(2, rows.size // 14_000)):
        k = int(rng.integers(rows.size))
        row, column = int(rows[k]), int(columns[k])
        radius = float(rng.integers(90, 250)) / GRID_PX
        reach = int(1.6 * radius) + 2
        top, left = max(0, row - reach), max(0, column - reach)
        bottom, right = min(depth.shape[0], row + reach), min(depth.shape[1], column + reach)
        cut = (slice(top, bottom), slice(left, right))
        y, x = np.ogrid[top - row : bottom - row, left - column : right - column]
        away = np.sqrt(x * x + np.float32(1.4) * y * y) * np.float32(1 / radius)  # float64, as x and y are whole
        away += 0.5 * (wobble[cut] - 0.5)
        mantle, centre = ramp(away, 1.25, 1.12), ramp(away, 0.9, 0.78)
        part = node.part(cut)
        part.ground.lay(mantle, 0.26, 0.20, 0.08, 0.16)
        part.ground.lay(centre, 0.36, 0.22, 0.08, 0.22)
        for name, in_mantle, in_centre in (
            ("lymphocyte", 1.0, 0.22),
            ("centroblast", 0.0, 0.86),
            ("histiocyte", 0.0, 0.05),
        ):
            part.cells[name] += mantle * (in_mantle - part.cells[name])
            part.cells[name] += centre * (in_centre - part.cells[name])


def _stroma(rng: np.random.Generator, node: Section, depth: Field) -> None:
    """Lay capsule, trabeculae and patches of fibrosis."""
    shape = depth.shape
    rough, fine = fractal(rng, shape, 130), fractal(rng, shape, 24)
    capsule = ramp(depth + 45 * (fine - 0.5) + 40 * (rough - 0.5), 62, 50)
    beam = ramp(np.abs(fractal(rng, shape, 150, 3) - 0.5), 0.022, 0.012)
    scar = ramp(fractal(rng, shape, 120), 0.60, 0.63)
    weight = np.maximum.reduce((capsule, beam, scar))
    _lay_stroma(node, weight)
    node.cells["lymphocyte"] += weight * 0.10 * ramp(rough, 0.4, 0.7)


def _lay_stroma(node: Section, weight: Field) -> None:
    node.ground.lay(weight, 0.54, 0.06, 0.85, 0.16)
    node.thin(weight)
    node.cells["spindle"] += weight * 0.55
    node.cells["lymphocyte"] += weight * 0.03


def _metastasis(rng: np.random.Generator, node: Section, tumour: Mask, small: Mask) -> None:
    """Replace the node by nests of tumour cells between septa of fibrous stroma."""
    if not tumour.any():
        return
    shape, cells = tumour.shape, node.cells
    weight = _soften(tumour)
    node.thin(weight)
    node.ground.lay(weight, 0.17, 0.08, 0.14, 0.50)
    rough, fine = fractal(rng, shape, 90), fractal(rng, shape, 26)
    borders = texture.cell_borders(rng, 512, 12) * GRID_PX
    y, x = texture.axes(shape)
    border = texture.sample_smooth(borders, y + 30 * (fine - 0.5) + 60 * rough, x + 30 * (rough - 0.5) - 40 * fine)
    edge = border - 95 * ramp(rough, 0.42, 0.75) + 14 * (fine - 0.5)
    septum = ramp(edge, 17, 7) * weight
    solid = ramp(fractal(rng, shape, 70), 0.50, 0.56)
    septum *= (1 - solid * ramp(rough, 0.6, 0.5)) * (1 - small)
    cleft = ramp(np.abs(edge - 16), 7, 4) * weight
    cleft *= ramp(fractal(rng, shape, 36), 0.46, 0.54) * (1 - small)
    inflamed = ramp(fractal(rng, shape, 60), 0.48, 0.60)
    cells["tumour"] += ramp(weight, 0.6, 1.0) * (0.60 + 0.40 * ramp(fine, 0.3, 0.6))
    cells["lymphocyte"] += weight * 0.05
    necrosis = ramp(fractal(rng, shape, 40), 0.60, 0.64) * ramp(border, 18, 34) * weight * (1 - small)
    node.ground.lay(necrosis, 0.58, 0.12, 0.20, 0.75)
    cells["tumour"] *= 1 - np.float32(0.7) * necrosis  # float64, since masks count as integers
    _lay_stroma(node, septum)
    node.ground.cover *= 1 - cleft
    cells["lymphocyte"] += septum * inflamed * 0.75
    cells["spindle"] *= 1 - 0.5 * inflamed * weight


def _fat(rng: np.random.Generator, node: Section, depth: Field, tumour: Mask) -> None:
    """Let fat lobules grow in from the border and, here and there, within."""
    rough = fractal(rng, depth.shape, 160)
    lobule = ramp(rough - ramp(depth, 150, 900) * 0.10, 0.64, 0.65)
    lobule *= (1 - _soften(tumour)) * ramp(depth, 24, 44)
    if lobule.max() == 0:
        return
    wall = texture.cell_borders(rng, 512, 22) * GRID_PX
    y, x = texture.axes(depth.shape)
    empty = lobule * ramp(texture.sample_smooth(wall, y + 24 * rough, x - 24 * rough), 5.0, 9.0)
    node.ground.lay(lobule, 0.40, 0.05, 0.10, 0.1)
    node.ground.cover *= 1 - empty
    node.thin(lobule)
    node.cells["spindle"] += (lobule - empty) * 0.25


def _vessels(rng: np.random.Generator, node: Section, inside: Mask) -> None:
    """Cut vessels: a wall of stroma, a lumen, some with red cells."""
    rows, columns = np.nonzero(inside)
    for _ in range(max(1, rows.size // 16_000)):
        k = int(rng.integers(rows.size))
        row, column = int(rows[k]), int(columns[k])
        radius = float(rng.integers(14, 52)) / GRID_PX
        axes = (radius * (1 + float(rng.random())), radius)
        ring = outline.irregular(rng, (float(column), float(row)), axes, 0.15, points=28)
        reach = int(4 * radius) + 4
        top, left = max(0, row - reach), max(0, column - reach)
        cut = (slice(top, row + reach), slice(left, column + reach))
        height, width = inside[cut].shape
        lumen = outline.mask([tuple((px - left, py - top) for px, py in ring)], (width, height))
        away = ndimage.distance_transform_edt(~lumen).astype(np.float32)
        part = node.part(cut)
        wall = ramp(away, 5, 3) * inside[cut]
        _lay_stroma(part, wall)
        open_space = _soften(lumen)
        part.ground.cover[:] = np.maximum(part.ground.cover, wall) * (1 - open_space)
        part.thin(open_space)
        if rng.random() < 0.6:
            part.cells["erythrocyte"] += open_space * (0.8 * float(rng.random()))
