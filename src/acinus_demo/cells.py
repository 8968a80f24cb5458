"""The cells of a lymph node: what each kind looks like, and their placing on the canvases."""

import numpy as np

from acinus_demo import nuclei
from acinus_demo.ground import GRID_PX, Ground
from acinus_demo.node import Populations
from acinus_demo.nuclei import Canvas, Kind, Points
from acinus_demo.texture import Field

# lengths in um, turned into pixels by the slide's mpp
LYMPHOCYTE = Kind(6.6, 0.16, 1.3, 0.12, body=0.90, clumps=0.60, rim=0.20, body_spread=0.28)
CENTROBLAST = Kind(9.0, 0.16, 1.35, 0.12, body=0.69, clumps=0.30, rim=0.35, nucleoli=2, nucleolus_px=1.4)
HISTIOCYTE = Kind(8.6, 0.18, 1.9, 0.14, body=0.55, clumps=0.25, rim=0.35, nucleoli=1, nucleolus_px=1.0)
SPINDLE = Kind(6.0, 0.2, 5.5, 0.15, body=0.95, clumps=0.3, rim=0.15)
TUMOUR = Kind(13.4, 0.32, 1.9, 0.26, body=0.69, clumps=0.45, rim=0.45, nucleoli=1, nucleolus_px=3.2, body_spread=0.40)
ERYTHROCYTE = Kind(6.4, 0.08, 1.2, 0.05, body=1.0, clumps=0.08, rim=0.1)
TUMOUR_BODY = Kind(23.0, 0.18, 1.3, 0.30, body=0.30, clumps=0.55, rim=0.45, body_spread=0.7)
HISTIOCYTE_BODY = Kind(17.0, 0.2, 1.5, 0.30, body=0.46, clumps=0.3, rim=0.12)

SPACING_UM = {
    "lymphocyte": 7.2,
    "centroblast": 11.0,
    "histiocyte": 16.0,
    "spindle": 15.0,
    "tumour": 17.0,
    "erythrocyte": 6.5,
}
VARIANTS = 256


def _in_pixels(kind: Kind, mpp: float) -> Kind:
    return Kind(
        **{**vars(kind), "diameter_px": kind.diameter_px / mpp, "nucleolus_px": kind.nucleolus_px / mpp},
    )


def populate(
    rng: np.random.Generator, size: tuple[int, int], mpp: float, cells: Populations, ground: Ground
) -> tuple[Canvas, Canvas]:
    """Return the canvases of nuclei (haematoxylin) and cell bodies (eosin) of a slide of `size` = (w, h)."""
    nuclear, bodies = nuclei.canvas(size), nuclei.canvas(size)
    points = {
        name: nuclei.scatter(rng, size, SPACING_UM[name] / mpp, getattr(cells, name), GRID_PX) for name in SPACING_UM
    }
    _put(rng, nuclear, LYMPHOCYTE, points["lymphocyte"], mpp)
    _put(rng, nuclear, CENTROBLAST, points["centroblast"], mpp)
    _put(rng, nuclear, HISTIOCYTE, points["histiocyte"], mpp)
    _put(rng, bodies, HISTIOCYTE_BODY, points["histiocyte"], mpp)
    sprites = nuclei.bank(rng, _in_pixels(SPINDLE, mpp), VARIANTS, oriented=True)
    direction = _fibre_direction(ground, points["spindle"])
    nuclei.stamp(nuclear, sprites, points["spindle"], nuclei.facing(rng, direction, VARIANTS))
    _put(rng, nuclear, TUMOUR, points["tumour"], mpp)
    _put(rng, bodies, TUMOUR_BODY, points["tumour"], mpp)
    _put(rng, bodies, ERYTHROCYTE, points["erythrocyte"], mpp)
    return nuclear, bodies


def _put(rng: np.random.Generator, canvas: Canvas, kind: Kind, points: Points, mpp: float) -> None:
    sprites = nuclei.bank(rng, _in_pixels(kind, mpp), VARIANTS)
    which = np.asarray(rng.integers(0, VARIANTS, points.shape[0]), np.int64)
    nuclei.stamp(canvas, sprites, points, which)


def _fibre_direction(ground: Ground, points: Points) -> tuple[Field, Field]:
    """Return the fibres' direction (dx, dy), not normalised, at each point."""
    height, width = ground.across.shape
    row = np.clip(points[:, 1] // GRID_PX, 1, height - 2)
    column = np.clip(points[:, 0] // GRID_PX, 1, width - 2)
    slope_x = ground.across[row, column + 1] - ground.across[row, column - 1]
    slope_y = ground.across[row + 1, column] - ground.across[row - 1, column]
    return -slope_y, slope_x
