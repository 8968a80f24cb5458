"""Irregular closed outlines as rings of level-0 points, and their masks."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

Ring = tuple[tuple[float, float], ...]


def irregular(
    rng: np.random.Generator,
    centre: tuple[float, float],
    radius: tuple[float, float],
    roughness: float = 0.3,
    points: int = 0,
) -> Ring:
    """Return a star-shaped ring around `centre` with half-axes `radius`, turned at random.

    `roughness` is about the relative deviation of the radius; coordinates are rounded to 0.1 px, which
    hides the last bit of sine and cosine. `points` 0 takes one point every 12 px or so.
    """
    count = points or max(24, int(2 * math.pi * max(radius) / 12))
    angle = np.arange(count) * (2 * math.pi / count)
    wave = np.ones(count)
    for k in range(2, max(4, min(64, count // 4))):
        amplitude = roughness * float(rng.normal()) * 1.15 / k**1.5
        wave += amplitude * np.cos(k * angle + 2 * math.pi * float(rng.random()))
    swell = np.clip(wave, 0.45, 1.6)
    turn = math.pi * float(rng.random())
    x, y = radius[0] * swell * np.cos(angle), radius[1] * swell * np.sin(angle)
    x0 = centre[0] + x * math.cos(turn) - y * math.sin(turn)
    y0 = centre[1] + x * math.sin(turn) + y * math.cos(turn)
    return tuple(zip(np.round(x0, 1).tolist(), np.round(y0, 1).tolist(), strict=True))


def largest(geometry: BaseGeometry) -> Polygon:
    """Return the largest polygon of a geometry without its holes (an empty one if there is none)."""
    if isinstance(geometry, Polygon):
        return Polygon(geometry.exterior) if not geometry.is_empty else geometry
    if isinstance(geometry, MultiPolygon):
        return Polygon(max(geometry.geoms, key=lambda part: float(part.area)).exterior)
    return Polygon()


def ring_of(polygon: Polygon) -> Ring:
    """Return the exterior of a polygon as an open ring rounded to 0.1 px."""
    return tuple((round(x, 1), round(y, 1)) for x, y in list(polygon.exterior.coords)[:-1])


def mask(rings: Sequence[Ring], size: tuple[int, int], downsample: int = 1) -> NDArray[np.bool_]:
    """Return the union of rings as a boolean raster (h, w) of `size` = (w, h), in pixels of `downsample`."""
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    for ring in rings:
        draw.polygon([((x / downsample) - 0.5, (y / downsample) - 0.5) for x, y in ring], fill=1)
    return np.array(image, dtype=np.bool_)
