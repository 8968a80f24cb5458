"""Irregular closed outlines as rings of level-0 points, their masks, and the ASAP XML that CAMELYON ships."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from acinus.files import write_text

Ring = tuple[tuple[float, float], ...]
GROUP_COLOURS = {"_0": "#00ff00", "_1": "#ffff00", "_2": "#ff0000", "Exclusion": "#ff0000"}


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


def mask(rings: Iterable[Ring], size: tuple[int, int], downsample: int = 1) -> NDArray[np.bool_]:
    """Return the union of rings as a boolean raster (h, w) of `size` = (w, h), in pixels of `downsample`."""
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    for ring in rings:
        draw.polygon([((x / downsample) - 0.5, (y / downsample) - 0.5) for x, y in ring], fill=1)
    return np.array(image, dtype=np.bool_)


@dataclasses.dataclass(frozen=True)
class Outline:
    """One annotated ring (level-0 pixels) and the ASAP group that says what it means."""

    group: str
    ring: Ring


def asap_text(outlines: Sequence[Outline]) -> str:
    """Return the outlines as an ASAP annotation document, polygons in the given order."""
    lines = ['<?xml version="1.0"?>', "<ASAP_Annotations>", "\t<Annotations>"]
    for number, outline in enumerate(outlines):
        group = quoteattr(outline.group)
        lines.append(f'\t\t<Annotation Name="Annotation {number}" Type="Polygon" PartOfGroup={group} Color="#F4FA58">')
        lines.append("\t\t\t<Coordinates>")
        for order, (x0, y0) in enumerate(outline.ring):
            lines.append(f'\t\t\t\t<Coordinate Order="{order}" X="{x0:.1f}" Y="{y0:.1f}" />')
        lines += ["\t\t\t</Coordinates>", "\t\t</Annotation>"]
    lines += ["\t</Annotations>", "\t<AnnotationGroups>"]
    for group in sorted({outline.group for outline in outlines}):
        colour = GROUP_COLOURS.get(group, "#64fe2e")
        lines.append(f'\t\t<Group Name={quoteattr(group)} PartOfGroup="None" Color="{colour}">')
        lines += ["\t\t\t<Attributes />", "\t\t</Group>"]
    lines += ["\t</AnnotationGroups>", "</ASAP_Annotations>"]
    return "\n".join(lines) + "\n"


def write_asap(path: Path, outlines: Sequence[Outline]) -> None:
    """Write the outlines to `path` as ASAP XML, whole or not at all."""
    write_text(path, asap_text(outlines))
