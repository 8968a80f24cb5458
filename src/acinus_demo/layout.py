"""Plan a slide before drawing it: tissue outlines, and lesions with cut-outs."""

import dataclasses
import math

import numpy as np
from shapely import affinity
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from acinus_demo import outline
from acinus_demo.outline import Outline, Ring

SMALL_LESION_PX = 60
CLOSE_GAP_UM = 40.0
APART_UM = 150.0  # other lesions keep clear of the 75 um within which the evaluation merges them


@dataclasses.dataclass(frozen=True)
class Lesion:
    """One drawn and annotated tumour region, level-0 pixels; holes: benign tissue cut out of it."""

    ring: Ring
    holes: tuple[Outline, ...] = ()


@dataclasses.dataclass(frozen=True)
class Wish:
    """What the plan asks of one slide's lesions."""

    lesions: int = 0
    small: bool = False
    close_pair: bool = False
    hole_group: str | None = None
    at_border: bool = False


def tissue(rng: np.random.Generator, size: tuple[int, int], pieces: int) -> tuple[Ring, ...]:
    """Return one or two outlines that together cover roughly half of the slide (w, h)."""
    width, height = size
    if pieces == 1:
        centre = (width * (0.47 + 0.06 * rng.random()), height * (0.47 + 0.06 * rng.random()))
        radius = (width * (0.38 + 0.04 * rng.random()), height * (0.37 + 0.04 * rng.random()))
        rings = [outline.irregular(rng, centre, radius, roughness=0.24)]
    else:
        first = (width * 0.34, height * (0.40 + 0.06 * rng.random()))
        second = (width * 0.77, height * (0.62 + 0.06 * rng.random()))
        tall, flat = (width * 0.27, height * 0.33), (width * 0.18, height * 0.24)
        rings = [outline.irregular(rng, first, tall, 0.22), outline.irregular(rng, second, flat, 0.24)]
    frame = Polygon([(24, 24), (width - 24, 24), (width - 24, height - 24), (24, height - 24)])
    inside = [outline.largest(Polygon(ring).buffer(0).intersection(frame)) for ring in rings]
    if len(inside) == 2:
        inside[1] = outline.largest(inside[1].difference(inside[0].buffer(0.02 * width)))
    return tuple(outline.ring_of(part) for part in inside if part.area > 0)


def lesions(
    rng: np.random.Generator, size: tuple[int, int], tissue_rings: tuple[Ring, ...], mpp: float, wish: Wish
) -> tuple[Lesion, ...]:
    """Return the lesions a slide is asked for, inside its tissue and apart from each other.

    Radii are 400 to 900 px on a slide of 4096 px and shrink with it.
    """
    if not wish.lesions:
        return ()
    ground = unary_union([Polygon(ring).buffer(0) for ring in tissue_rings])
    scale = min(size) / 4096
    placed: list[Polygon] = []
    apart = APART_UM / mpp
    for number in range(wish.lesions):
        at_border = wish.at_border and number == 0
        radius = scale * (650 + 250 * rng.random()) if number == 0 else scale * (450 + 300 * rng.random())
        lesion = _place(rng, ground, placed, radius, apart, at_border)
        if not lesion and number == 0:
            lesion = _place(rng, ground, placed, 0.6 * radius, apart)
        placed += lesion
        if wish.small and number == 0:  # while there is room
            placed += _place(rng, ground, placed, float(SMALL_LESION_PX), apart)
    if wish.close_pair and placed:
        placed += _beside(rng, ground, placed, scale * 380, CLOSE_GAP_UM / mpp)
    made = [Lesion(outline.ring_of(shape)) for shape in placed]
    if wish.hole_group and made:
        made[0] = dataclasses.replace(made[0], holes=(_hole(rng, placed[0], wish.hole_group),))
    return tuple(made)


def _place(
    rng: np.random.Generator,
    ground: BaseGeometry,
    placed: list[Polygon],
    radius: float,
    apart: float,
    at_border: bool = False,
) -> list[Polygon]:
    """Try spots at random, shrinking slowly, until a lesion fits; return it, or nothing if the tissue is full."""
    left, top, right, bottom = ground.bounds
    others: BaseGeometry = unary_union(placed) if placed else Polygon()
    for attempt in range(240):
        size = radius * (1 - 0.002 * attempt)
        spot = (left + (right - left) * float(rng.random()), top + (bottom - top) * float(rng.random()))
        ring = outline.irregular(rng, spot, (size, size * (0.75 + 0.25 * float(rng.random()))), 0.42)
        whole = Polygon(ring).buffer(0)
        part = outline.largest(whole.intersection(ground))
        share = part.area / whole.area
        fits = 0.6 < share < 0.92 if at_border else share > 0.999
        if fits and (others.is_empty or part.distance(others) > apart):
            return [part]
    return []


def _beside(
    rng: np.random.Generator, ground: BaseGeometry, placed: list[Polygon], radius: float, gap: float
) -> list[Polygon]:
    """Return a lesion `gap` px from the first one and clear of the others, or nothing if there is no room."""
    anchor = placed[0]
    for attempt in range(120):
        size = radius * (1 - 0.004 * attempt)
        shape = Polygon(outline.irregular(rng, (0.0, 0.0), (size, 0.8 * size), 0.22)).buffer(0)
        angle = 2 * math.pi * float(rng.random())
        way = (round(math.cos(angle), 4), round(math.sin(angle), 4))
        centre = anchor.representative_point()
        near, far = 0.0, 4.0 * max(anchor.length, 1.0)
        for _ in range(40):
            middle = (near + far) / 2
            moved = affinity.translate(shape, centre.x + way[0] * middle, centre.y + way[1] * middle)
            near, far = (middle, far) if moved.distance(anchor) < gap else (near, middle)
        moved = affinity.translate(shape, centre.x + way[0] * far, centre.y + way[1] * far)
        clear = all(moved.distance(other) > 3 * gap for other in placed[1:])
        if clear and ground.contains(moved):
            return [moved]
    return []


def _hole(rng: np.random.Generator, lesion: Polygon, group: str) -> Outline:
    """Return a cut-out about a third as wide as the lesion and wholly within it."""
    size = 0.36 * math.sqrt(lesion.area / math.pi)
    while (core := lesion.buffer(-1.25 * size)).is_empty:
        size *= 0.8
    spot = core.representative_point()
    ring = outline.irregular(rng, (spot.x, spot.y), (size, size * 0.8), 0.12)
    inside = outline.largest(Polygon(ring).buffer(0).intersection(lesion.buffer(-8)))
    return Outline(group, outline.ring_of(inside))
