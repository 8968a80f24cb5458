"""The architecture of a slide, on a grid four times coarser than level 0: the ground, and the cells that lie on it."""

import dataclasses

import numpy as np

from acinus_demo import texture
from acinus_demo.texture import Field

GRID_PX = 4


def grid_shape(size: tuple[int, int]) -> tuple[int, int]:
    """Return the grid's (rows, columns) for a slide of `size` = (w, h) level-0 px."""
    return -(-size[1] // GRID_PX), -(-size[0] // GRID_PX)


@dataclasses.dataclass
class Ground:
    """Planes (h/4, w/4) that `render` enlarges; every plane covers the whole slide.

    eosin, haematoxylin: diffuse concentration; fibre: how much of the fibre texture is added to the
    eosin; mottle: the same for isotropic grain; cover: tissue above 0.5, glass below (the edge is
    drawn sharp); gain: thickness of the section, 1 on average; blue: how strongly haematoxylin took,
    1 on average; along, across: fibre coordinates in pixels.
    """

    eosin: Field
    haematoxylin: Field
    fibre: Field
    mottle: Field
    cover: Field
    gain: Field
    blue: Field
    along: Field
    across: Field

    def lay(self, weight: Field | float, eosin: float, haematoxylin: float, fibre: float, mottle: float) -> None:
        """Put one material over the ground with a weight in [0, 1] per sample."""
        self.eosin += weight * (eosin - self.eosin)
        self.haematoxylin += weight * (haematoxylin - self.haematoxylin)
        self.fibre += weight * (fibre - self.fibre)
        self.mottle += weight * (mottle - self.mottle)

    def weave(
        self, rng: np.random.Generator, cells: tuple[float, float], reach: float, slope: tuple[float, float]
    ) -> Field:
        """Let fibres run aslant (slope: lowest, range) and meander, widely and by little; return the small bends.

        cells: grid samples of wide and of small bends; reach: of the wide ones, in pixels.
        """
        shape = self.cover.shape
        y, x = texture.axes(shape, GRID_PX)
        bend_across, bend_along, small = (texture.fractal(rng, shape, cell) - 0.5 for cell in (cells[0], *cells))
        aslant = round(slope[0] + slope[1] * float(rng.random()), 3)
        self.across[:] = 0.8 * (y - aslant * x) + reach * bend_across + 110 * small
        self.along[:] = 0.8 * (x + aslant * y) + reach * bend_along
        return small


@dataclasses.dataclass
class Section:
    """Ground and cells of one section of tissue.

    cells: where each kind may lie, a probability per lattice point; directions: (dx, dy) in which the long
    axes of some kinds lie, not normalised.
    """

    ground: Ground
    cells: dict[str, Field]
    directions: dict[str, tuple[Field, Field]] = dataclasses.field(default_factory=dict)

    @classmethod
    def glass(cls, shape: tuple[int, int], *kinds: str) -> "Section":
        """Return bare glass with room for cells of these kinds."""
        ground = Ground(*(np.zeros(shape, np.float32) for _ in dataclasses.fields(Ground)))
        ground.gain += 1
        ground.blue += 1
        return cls(ground, {kind: np.zeros(shape, np.float32) for kind in kinds})

    def part(self, cut: tuple[slice, slice]) -> "Section":
        """Return a view of a part: what is drawn there is drawn here."""
        ground = Ground(**{name: plane[cut] for name, plane in vars(self.ground).items()})
        return Section(ground, {kind: plane[cut] for kind, plane in self.cells.items()})

    def thin(self, weight: Field) -> None:
        """Take the cells of every kind away where `weight` is 1."""
        for plane in self.cells.values():
            plane *= 1 - weight


def contour(plane: Field) -> tuple[Field, Field]:
    """Return the direction (dx, dy) of the plane's contours at every sample."""
    down, right = np.asarray(np.gradient(plane), np.float32)
    return -down, right
