"""Needle cores of prostate: where tissue lies on the glass, and which growth pattern fills it."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from acinus_demo import texture
from acinus_demo.ground import GRID_PX
from acinus_demo.texture import Field

BENIGN = 0
BREAK_UM = 9.0  # half the gap where a core is torn


@dataclasses.dataclass(frozen=True)
class Segment:
    """A stretch of a core that one pattern fills, as shares of the core's length."""

    pattern: int
    start: float
    stop: float


@dataclasses.dataclass(frozen=True)
class Core:
    """One needle core: a slightly bent strip; lengths in um, `direction` a unit vector (x, y)."""

    centre_um: tuple[float, float]
    length_um: float
    width_um: float
    direction: tuple[float, float]
    bend_um: float  # how far the ends hang below the middle
    tears: tuple[float, ...]  # shares of the length
    segments: tuple[Segment, ...]


@dataclasses.dataclass(frozen=True)
class Strips:
    """The cores of one slide on the ground's grid.

    depth_um: distance from the tissue's border, negative on the glass; along_um, across_um: position
    in the nearest core; pattern: 0 benign, 3, 4, 5 (uint8; on the glass as in the tissue beside it).
    """

    grid_um: float
    depth_um: Field
    along_um: Field
    across_um: Field
    pattern: NDArray[np.uint8]


def plan_cores(
    rng: np.random.Generator, size_um: tuple[float, float], mixture: Mapping[int, float]
) -> tuple[Core, ...]:
    """Return two or three cores that cross a slide of `size_um` = (w, h) from left to right.

    `mixture` gives the share of each pattern in the cancer (empty: no cancer); between a third and
    two thirds of the tissue is cancer then.
    """
    count = int(rng.integers(2, 4))
    involved = _involvement(rng, count) if mixture else (0.0,) * count
    pitch = size_um[1] / count
    cores = []
    for number in range(count):
        turn = 0.04 * (2 * float(rng.random()) - 1)
        length = size_um[0] * (0.86 + 0.08 * float(rng.random()))
        x = size_um[0] / 2 + (size_um[0] * 0.96 - length) * (float(rng.random()) - 0.5)
        y = pitch * (number + 0.47 + 0.06 * float(rng.random()))
        tears = (round(0.2 + 0.6 * float(rng.random()), 3),) if rng.random() < 0.3 else ()
        cores.append(
            Core(
                centre_um=(round(x, 1), round(y, 1)),
                length_um=round(length, 1),
                width_um=round(pitch * (0.60 + 0.08 * float(rng.random())), 1),
                direction=(round(math.cos(turn), 6), round(math.sin(turn), 6)),
                bend_um=round(0.07 * pitch * (2 * float(rng.random()) - 1), 1),
                tears=tears,
                segments=_segments(rng, involved[number], mixture),
            )
        )
    return tuple(cores)


def _involvement(rng: np.random.Generator, count: int) -> tuple[float, ...]:
    """Return the share of cancer in each core: one core largely, others less, one of three none."""
    shares = [0.72 + 0.23 * float(rng.random()), 0.30 + 0.35 * float(rng.random())]
    if count == 3:
        shares.append(0.45 * float(rng.random()) if rng.random() < 0.5 else 0.0)
    order = rng.permutation(count).tolist()
    return tuple(shares[k] if shares[k] > 0.2 else 0.0 for k in order)


def _segments(rng: np.random.Generator, share: float, mixture: Mapping[int, float]) -> tuple[Segment, ...]:
    if share == 0:
        return ()
    start = (1 - share) * float(rng.random())
    patterns = sorted(mixture)
    order = [patterns[k] for k in rng.permutation(len(patterns)).tolist()]
    result = []
    for pattern in order:
        stop = start + share * mixture[pattern]
        result.append(Segment(pattern, round(start, 4), round(stop, 4)))
        start = stop
    return tuple(result)


def strips(rng: np.random.Generator, shape: tuple[int, int], mpp: float, cores: tuple[Core, ...]) -> Strips:
    """Lay the cores on a grid of `shape` = (rows, columns), `GRID_PX` level-0 pixels of `mpp` um each."""
    grid_um = GRID_PX * mpp
    x_um = ((np.arange(shape[1], dtype=np.float32) + np.float32(0.5)) * np.float32(grid_um))[None, :]
    y_um = ((np.arange(shape[0], dtype=np.float32) + np.float32(0.5)) * np.float32(grid_um))[:, None]
    ragged = 26 * (texture.fractal(rng, shape, 60 / grid_um) - np.float32(0.5))
    ragged += 9 * (texture.fractal(rng, shape, 9 / grid_um) - np.float32(0.5))
    shift = 110 * (texture.fractal(rng, shape, 90 / grid_um) - np.float32(0.5))
    depth = np.full(shape, -1e4, np.float32)
    along, across = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    pattern = np.full(shape, BENIGN, np.uint8)
    for core in cores:
        s, t = _frame(core, x_um, y_um)
        inside = np.minimum(core.width_um / 2 - np.abs(t), core.length_um / 2 - np.abs(s)) + ragged
        for tear in core.tears:
            gap = np.abs(s - np.float32((tear - 0.5) * core.length_um) + np.float32(0.3) * t + shift * np.float32(0.3))
            inside = np.minimum(inside, gap - np.float32(BREAK_UM) + np.float32(0.3) * ragged)
        nearest = inside > depth
        depth = np.where(nearest, inside, depth)
        along, across = np.where(nearest, s, along), np.where(nearest, t, across)
        pattern = np.where(nearest, _patterns(core, s + shift), pattern)
    return Strips(grid_um, depth, along, across, pattern)


def _frame(core: Core, x_um: Field, y_um: Field) -> tuple[Field, Field]:
    """Return position along and across a core, both from its middle, the bend straightened."""
    cosine, sine = (np.float32(value) for value in core.direction)
    dx, dy = x_um - np.float32(core.centre_um[0]), y_um - np.float32(core.centre_um[1])
    s, t = dx * cosine + dy * sine, dy * cosine - dx * sine
    relative = s * np.float32(2 / core.length_um)
    return s, t - np.float32(core.bend_um) * relative * relative


def _patterns(core: Core, along_um: Field) -> NDArray[np.uint8]:
    where = along_um * np.float32(1 / core.length_um) + np.float32(0.5)
    result = np.full(where.shape, BENIGN, np.uint8)
    ends = [segment.stop for segment in core.segments]
    for segment in core.segments:
        # a segment that reaches the core's end fills it to the ragged tip
        start = -1.0 if segment.start < 0.03 else segment.start
        stop = 2.0 if segment.stop == max(ends) and segment.stop > 0.97 else segment.stop
        result[(where >= np.float32(start)) & (where < np.float32(stop))] = segment.pattern
    return result


def region_depth(strips: Strips, patterns: tuple[int, ...]) -> Field:
    """Return the distance in um from the border of the region of `patterns`, negative outside."""
    inside = np.isin(strips.pattern, patterns)
    if inside.all() or not inside.any():
        return np.full(inside.shape, 1e4 if inside.all() else -1e4, np.float32)
    within, without = (ndimage.distance_transform_edt(side) for side in (inside, ~inside))
    return ((within - without) * strips.grid_um).astype(np.float32)
