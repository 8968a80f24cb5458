"""Needle cores of prostate: where tissue lies on the glass, which growth pattern fills it, and the glands in it."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from acinus_demo import nuclei, texture
from acinus_demo.ground import GRID_PX
from acinus_demo.texture import Field, fractal, ramp

BENIGN = 0
BREAK_UM = 9.0  # half the gap where a core is torn

# What a fully labelled mask says (the codes of PANDA's Radboud slides); patterns 3, 4, 5 name themselves.
STROMA, BENIGN_EPITHELIUM = 1, 2
OUTLINE_UM = 3.0  # a pathologist's outline runs just outside the gland
FAR_UM = -200.0


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
    y_um, x_um = texture.axes(shape, grid_um, 0.5)
    ragged = 26 * (fractal(rng, shape, 60 / grid_um) - 0.5)
    ragged += 9 * (fractal(rng, shape, 9 / grid_um) - 0.5)
    shift = 110 * (fractal(rng, shape, 90 / grid_um) - 0.5)
    depth = np.full(shape, -1e4, np.float32)
    along, across = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    pattern = np.full(shape, BENIGN, np.uint8)
    for core in cores:
        # s, t: position along and across the core, both from its middle, the bend straightened
        cosine, sine = core.direction
        dx, dy = x_um - core.centre_um[0], y_um - core.centre_um[1]
        s, t = dx * cosine + dy * sine, dy * cosine - dx * sine
        relative = s * (2 / core.length_um)
        t -= core.bend_um * relative * relative
        inside = np.minimum(core.width_um / 2 - np.abs(t), core.length_um / 2 - np.abs(s)) + ragged
        for tear in core.tears:
            gap = np.abs(s - (tear - 0.5) * core.length_um + 0.3 * t + shift * 0.3)
            inside = np.minimum(inside, gap - BREAK_UM + 0.3 * ragged)
        nearest = inside > depth
        depth = np.where(nearest, inside, depth)
        along, across = np.where(nearest, s, along), np.where(nearest, t, across)
        pattern = np.where(nearest, _patterns(core, s + shift), pattern)
    return Strips(grid_um, depth, along, across, pattern)


def _patterns(core: Core, along_um: Field) -> NDArray[np.uint8]:
    where = along_um * (1 / core.length_um) + 0.5
    result = np.full(where.shape, BENIGN, np.uint8)
    ends = [segment.stop for segment in core.segments]
    for segment in core.segments:
        # a segment that reaches the core's end fills it to the ragged tip
        start = -1.0 if segment.start < 0.03 else segment.start
        stop = 2.0 if segment.stop == max(ends) and segment.stop > 0.97 else segment.stop
        result[(where >= start) & (where < stop)] = segment.pattern
    return result


def _region_depth(strips: Strips, pattern: int) -> Field:
    """Return the distance in um from the border of the region of a pattern, negative outside."""
    inside = strips.pattern == pattern
    if inside.all() or not inside.any():
        return np.full(inside.shape, 1e4 if inside.all() else -1e4, np.float32)
    within, without = (ndimage.distance_transform_edt(side) for side in (inside, ~inside))
    return ((within - without) * strips.grid_um).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Style:
    """What glands of one kind look like: um, relative spreads, and how much of their lattice is taken."""

    spacing_um: float
    radius_um: tuple[float, float]
    elongation: float
    wobble: float  # how far outlines follow the warp of the plane
    gap_um: float  # stroma between neighbours
    density: float


BENIGN_STYLE = Style(86.0, (31.0, 50.0), 2.0, 1.0, 15.0, 0.90)
PATTERN_3 = Style(41.0, (15.0, 22.0), 1.35, 0.35, 7.0, 0.97)
NESTS = Style(108.0, (52.0, 76.0), 1.8, 0.8, 11.0, 1.0)
HOLES = Style(25.0, (4.5, 9.0), 2.0, 0.4, 4.0, 0.80)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Depth in um inside each kind of structure (negative outside), on the ground's grid.

    lumen: depth inside open lumina of any kind; sheet: solid Gleason 5; cord: its rows of single cells.
    """

    strips: Strips
    benign: Field
    small: Field
    nest: Field
    sheet: Field
    cord: Field
    lumen: Field

    @property
    def gland(self) -> Field:
        """Depth inside epithelium of any kind, lumina included."""
        return np.maximum.reduce((self.benign, self.small, self.nest, self.sheet, self.cord))

    def labels(self) -> NDArray[np.uint8]:
        """Return stroma 1, benign epithelium 2, patterns 3 to 5, and 0 on the glass (grid)."""
        result = np.full(self.lumen.shape, STROMA, np.uint8)
        result[self.benign > -OUTLINE_UM / 2] = BENIGN_EPITHELIUM
        result[self.small > -OUTLINE_UM] = 3
        result[self.nest > -OUTLINE_UM] = 4
        result[self.strips.pattern == 5] = 5  # no gland to outline: the whole field is the pattern
        result[self.strips.depth_um <= 0] = 0
        return result


def glands(rng: np.random.Generator, strips: Strips) -> Architecture:
    """Grow the glands of one slide."""
    shape, grid_um = strips.pattern.shape, strips.grid_um
    warp = [52 * (fractal(rng, shape, 44 / grid_um) - 0.5) for _ in range(2)]
    fine = fractal(rng, shape, 20 / grid_um, 2) - 0.5
    benign = _grow(rng, strips, warp, BENIGN_STYLE, BENIGN)
    small = _grow(rng, strips, warp, PATTERN_3, 3)
    nest = _grow(rng, strips, warp, NESTS, 4)
    holes = np.minimum(_grow(rng, strips, warp, HOLES, 4), nest - 9)
    solid = 90 * (fractal(rng, shape, 130 / grid_um, 2) - 0.5)
    region = _region_depth(strips, 5)
    sheet = np.minimum(region, solid + 8 * fine)
    ridge = np.abs(fractal(rng, shape, 34 / grid_um, 2) - 0.5)
    cord = np.minimum.reduce((region, 6 - 85 * ridge, -sheet - 4))
    folds = np.abs(fractal(rng, shape, 30 / grid_um, 2) - 0.5)
    # epithelium is tallest along the ridges of `folds`: fronds that reach into the lumen
    open_benign = benign - 13.5 - 15 * ramp(folds, 0.09, 0.0) - 10 * fine
    open_small = small - 9.5 - 5 * fine
    lumen = np.maximum.reduce((open_benign, open_small, holes))
    return Architecture(strips, benign, small, nest, sheet, cord, lumen)


def _grow(rng: np.random.Generator, strips: Strips, warp: list[Field], style: Style, pattern: int) -> Field:
    """Return the depth in um inside glands of one style, which fill the region of `pattern`.

    The glands are ellipses, kept apart by the style's gap. warp: how far each sample is displaced in x and
    in y at full wobble, in um.
    """
    (rows, columns), grid_um = strips.pattern.shape, strips.grid_um
    region = _region_depth(strips, pattern)
    low, high = style.radius_um
    reach = high * 0.5
    density = style.density * ((region > -reach) & (strips.depth_um > -reach)).astype(np.float32)
    spacing = style.spacing_um / grid_um
    # the lattice ends up to one step short of what it is asked to cover
    points = nuclei.scatter(rng, (columns + int(spacing) + 1, rows + int(spacing) + 1), spacing, density, 1)
    points = points[(points[:, 0] < columns) & (points[:, 1] < rows)]
    y, x = texture.axes((rows, columns), grid_um, 0.5)
    best, second = np.full((rows, columns), FAR_UM, np.float32), np.full((rows, columns), FAR_UM, np.float32)
    sizes = (low + (high - low) * rng.random(len(points))).tolist()
    ratios = (1 + (style.elongation - 1) * rng.random(len(points))).tolist()
    turns = rng.random(len(points)).tolist()
    for (column, row), radius, ratio, turn in zip(points.tolist(), sizes, ratios, turns, strict=True):
        stretch = math.sqrt(ratio)
        span = int((radius * stretch + 26 * style.wobble + 12) / grid_um) + 1
        cut = (slice(max(0, row - span), row + span + 1), slice(max(0, column - span), column + span + 1))
        dx = x[:, cut[1]] - (column + 0.5) * grid_um + style.wobble * warp[0][cut]
        dy = y[cut[0]] - (row + 0.5) * grid_um + style.wobble * warp[1][cut]
        cosine, sine = round(math.cos(math.pi * turn), 6), round(math.sin(math.pi * turn), 6)
        u = (dx * cosine + dy * sine) * (1 / stretch)
        v = (dy * cosine - dx * sine) * stretch
        depth = radius - np.sqrt(u * u + v * v)
        second[cut] = np.maximum(second[cut], np.minimum(best[cut], depth))
        best[cut] = np.maximum(best[cut], depth)
    return np.minimum(np.minimum(best, (best - second - style.gap_um) * 0.5), region)
