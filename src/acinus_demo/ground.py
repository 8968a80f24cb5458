"""The ground of a slide: what lies under the cells, on a grid four times coarser than level 0."""

import dataclasses

import numpy as np

from acinus_demo.texture import Field

GRID_PX = 4


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


def empty(shape: tuple[int, int]) -> Ground:
    """Return a ground of glass."""
    planes = [np.zeros(shape, np.float32) for _ in dataclasses.fields(Ground)]
    ground = Ground(*planes)
    ground.gain += 1
    ground.blue += 1
    return ground


def lay(ground: Ground, weight: Field, eosin: float, haematoxylin: float, fibre: float, mottle: float) -> None:
    """Put one material over the ground with a weight in [0, 1] per sample."""
    for plane, value in (
        (ground.eosin, eosin),
        (ground.haematoxylin, haematoxylin),
        (ground.fibre, fibre),
        (ground.mottle, mottle),
    ):
        plane += weight * (np.float32(value) - plane)
