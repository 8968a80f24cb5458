"""Gland architecture of the prostate: benign acini, Gleason 3, 4 and 5, as planes and as labels."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from acinus_demo import nuclei, texture
from acinus_demo.prostate import BENIGN, Strips, region_depth
from acinus_demo.texture import Field, ramp

# What a fully labelled mask says (the codes of PANDA's Radboud slides); patterns 3, 4, 5 name themselves.
STROMA, BENIGN_EPITHELIUM = 1, 2
OUTLINE_UM = 3.0  # a pathologist's outline runs just outside the gland
FAR_UM = -200.0


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
        parts = (self.benign, self.small, self.nest, self.sheet, self.cord)
        return np.maximum.reduce(parts)

    def labels(self) -> NDArray[np.uint8]:
        """Return stroma 1, benign epithelium 2, patterns 3 to 5, and 0 on the glass (grid)."""
        result = np.full(self.lumen.shape, STROMA, np.uint8)
        result[self.benign > -OUTLINE_UM / 2] = BENIGN_EPITHELIUM
        result[self.small > -OUTLINE_UM] = 3
        result[self.nest > -OUTLINE_UM] = 4
        result[self.strips.pattern == 5] = 5  # no gland to outline: the whole field is the pattern
        result[self.strips.depth_um <= 0] = 0
        return result


def build(rng: np.random.Generator, strips: Strips) -> Architecture:
    """Grow the glands of one slide."""
    shape, grid_um = strips.pattern.shape, strips.grid_um
    warp = _warp(rng, shape, grid_um)
    fine = texture.fractal(rng, shape, 20 / grid_um, 2) - np.float32(0.5)
    benign = _grow(rng, strips, warp, BENIGN_STYLE, (BENIGN,))
    small = _grow(rng, strips, warp, PATTERN_3, (3,))
    nest = _grow(rng, strips, warp, NESTS, (4,))
    holes = np.minimum(_grow(rng, strips, warp, HOLES, (4,)), nest - 9)
    solid = 90 * (texture.fractal(rng, shape, 130 / grid_um, 2) - np.float32(0.5))
    region = region_depth(strips, (5,))
    sheet = np.minimum(region, solid + 8 * fine)
    ridge = np.abs(texture.fractal(rng, shape, 34 / grid_um, 2) - np.float32(0.5))
    cord = np.minimum(region, 6 - 85 * ridge)
    cord = np.minimum(cord, -sheet - 4)
    folds = np.abs(texture.fractal(rng, shape, 30 / grid_um, 2) - np.float32(0.5))
    # epithelium is tallest along the ridges of `folds`: fronds that reach into the lumen
    open_benign = benign - np.float32(13.5) - 15 * ramp(folds, 0.09, 0.0) - 10 * fine
    open_small = small - np.float32(9.5) - 5 * fine
    lumen = np.maximum.reduce((open_benign, open_small, holes))
    return Architecture(strips, benign, small, nest, sheet, cord, lumen)


@dataclasses.dataclass(frozen=True)
class _Warp:
    """Coordinates of the plane in um, and how far each sample is displaced at full wobble."""

    x: Field
    y: Field
    dx: Field
    dy: Field


def _warp(rng: np.random.Generator, shape: tuple[int, int], grid_um: float) -> _Warp:
    x = ((np.arange(shape[1], dtype=np.float32) + np.float32(0.5)) * np.float32(grid_um))[None, :]
    y = ((np.arange(shape[0], dtype=np.float32) + np.float32(0.5)) * np.float32(grid_um))[:, None]
    dx, dy = (52 * (texture.fractal(rng, shape, 44 / grid_um) - np.float32(0.5)) for _ in range(2))
    return _Warp(x, y, dx, dy)


def _grow(rng: np.random.Generator, strips: Strips, warp: _Warp, style: Style, patterns: tuple[int, ...]) -> Field:
    """Return the depth in um inside glands of one style, which fill the region of `patterns`."""
    shape, grid_um = strips.pattern.shape, strips.grid_um
    region = region_depth(strips, patterns)
    reach = style.radius_um[1] * 0.5
    density = np.float32(style.density) * ((region > -reach) & (strips.depth_um > -reach)).astype(np.float32)
    spacing = style.spacing_um / grid_um
    # the lattice ends up to one step short of what it is asked to cover
    points = nuclei.scatter(rng, (shape[1] + int(spacing) + 1, shape[0] + int(spacing) + 1), spacing, density, 1)
    points = points[(points[:, 0] < shape[1]) & (points[:, 1] < shape[0])]
    depth = _union(rng, points, style, warp, grid_um)
    return np.minimum(depth, region)


def _union(rng: np.random.Generator, points: nuclei.Points, style: Style, warp: _Warp, grid_um: float) -> Field:
    """Return the depth inside a union of ellipses round `points`, neighbours kept apart by the gap."""
    shape = warp.dx.shape
    best, second = np.full(shape, FAR_UM, np.float32), np.full(shape, FAR_UM, np.float32)
    low, high = style.radius_um
    count = int(points.shape[0])
    sizes = (low + (high - low) * rng.random(count)).tolist()
    ratios = (1 + (style.elongation - 1) * rng.random(count)).tolist()
    turns = rng.random(count).tolist()
    for (column, row), radius, ratio, turn in zip(points.tolist(), sizes, ratios, turns, strict=True):
        stretch = math.sqrt(ratio)
        span = int((radius * stretch + 26 * style.wobble + 12) / grid_um) + 1
        cut = (slice(max(0, row - span), row + span + 1), slice(max(0, column - span), column + span + 1))
        dx = warp.x[:, cut[1]] - np.float32((column + 0.5) * grid_um) + np.float32(style.wobble) * warp.dx[cut]
        dy = warp.y[cut[0]] - np.float32((row + 0.5) * grid_um) + np.float32(style.wobble) * warp.dy[cut]
        cosine = np.float32(round(math.cos(math.pi * turn), 6))
        sine = np.float32(round(math.sin(math.pi * turn), 6))
        u = (dx * cosine + dy * sine) * np.float32(1 / stretch)
        v = (dy * cosine - dx * sine) * np.float32(stretch)
        depth = np.float32(radius) - np.sqrt(u * u + v * v)
        second[cut] = np.maximum(second[cut], np.minimum(best[cut], depth))
        best[cut] = np.maximum(best[cut], depth)
    return np.minimum(best, (best - second - np.float32(style.gap_um)) * np.float32(0.5))
