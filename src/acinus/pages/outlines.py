"""Predicted regions as outlines to draw: polygons of a GeoJSON in level-0 px -> SVG paths in px of a thumbnail."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import shapely
import shapely.affinity
from shapely.geometry import shape

from acinus.errors import AcinusError
from acinus.labels.palette import Colour

MOST_OUTLINES = 400
"""So many regions of a slide are drawn, the largest; all are in its GeoJSON."""

TOLERANCE_PX = 0.4  # of the thumbnail: finer steps are not seen


@dataclass(frozen=True)
class Outline:
    """One region: its number in the slide's table of regions, an SVG path (even-odd), and its colour."""

    region: int
    path: str
    colour: Colour


def outlines(
    collection: Mapping[str, Any],
    px_per_level0: float,
    source: str,
    colours: Mapping[str, Colour] | None = None,
    corner0: tuple[int, int] = (0, 0),
) -> tuple[Outline, ...]:
    """Return the polygons of a GeoJSON FeatureCollection, the largest MOST_OUTLINES, in the order of their numbers.

    px_per_level0: thumbnail px per level-0 px. A region's number ends the feature's name ("region 12"). source: the
    file's name, for errors. colours: of the classes by name, instead of the file's own. corner0: the level-0 px
    (x0, y0) that the file counts from.

    Raises:
        AcinusError: no FeatureCollection of polygons.
    """
    regions = []
    try:
        for feature in collection["features"]:
            number = int(str(feature["properties"]["name"]).rsplit(" ", 1)[-1])
            area, kind = shape(feature["geometry"]), feature["properties"]["classification"]
            red, green, blue = (int(part) for part in (colours or {}).get(kind["name"], kind["color"]))
            regions.append((number, area, (red, green, blue)))
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise AcinusError(f"{source}: no GeoJSON of regions ({error!r}); run stage quantify again") from error
    placed = [px_per_level0, 0, 0, px_per_level0, *(px_per_level0 * at for at in corner0)]
    largest = sorted(regions, key=lambda region: (-region[1].area, region[0]))[:MOST_OUTLINES]
    return tuple(
        Outline(number, _path(shapely.affinity.affine_transform(area, placed)), colour)
        for number, area, colour in sorted(largest, key=lambda region: region[0])
    )


def _path(area: Any) -> str:
    """Return the rings of a polygon, or of several, as the text of an SVG path, to a tenth of a px."""
    drawn = area.simplify(TOLERANCE_PX)  # keeps a triangle at least of every ring
    rings = [ring for part in shapely.get_parts(drawn) for ring in (part.exterior, *part.interiors)]
    corners = [[f"{_short(point[0])} {_short(point[1])}" for point in ring.coords[:-1]] for ring in rings]
    return "".join(f"M{'L'.join(texts)}Z" for texts in corners)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
