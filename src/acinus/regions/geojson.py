"""Regions as GeoJSON that QuPath imports as annotations (File, Import objects; or by dropping the file on the slide).

Read by QuPath's QuPathTypeAdapters: objectType, name, classification {name, color}, measurements (a map of numbers,
without null). Coordinates are level-0 px, y down, as QuPath has them, not degrees as RFC 7946 has them.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acinus.files import atomic_path

Colour = tuple[int, int, int]
Add = Callable[[Mapping[str, Any]], None]


@contextlib.contextmanager
def feature_collection(path: Path) -> Iterator[Add]:
    """Give what adds a feature to a FeatureCollection, a line each; the file appears whole at the end or not at all."""
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        begun = False

        def add(one: Mapping[str, Any]) -> None:
            nonlocal begun
            stream.write(f"{',' if begun else ''}\n{json.dumps(one, allow_nan=False)}")
            begun = True

        yield add
        stream.write("\n]}\n")


def feature(
    row: Mapping[str, Any], polygons: Sequence[Sequence[np.ndarray]], class_name: str, colour: Colour
) -> dict[str, Any]:
    """Return one region as a Feature. row: of records.REGIONS; polygons: rings (n, 2) in level-0 px, not closed."""
    closed = [[_closed(ring) for ring in polygon] for polygon in polygons]
    single = len(closed) == 1
    measured = {name: row[name] for name in ("area_mm2", "prob_max", "prob_mean") if row[name] is not None}
    return {
        "type": "Feature",
        "geometry": {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": closed[0] if single else closed,
        },
        "properties": {
            "objectType": "annotation",
            "name": f"region {row['region']}",
            "classification": {"name": class_name, "color": list(colour)},
            "measurements": measured,
        },
    }


def _closed(ring: np.ndarray) -> list[list[float]]:
    """Return a ring as lists of x, y with its first point once more at its end; whole numbers without a point."""
    points = [[int(value) if value.is_integer() else value for value in point] for point in ring.tolist()]
    return [*points, points[0]]
