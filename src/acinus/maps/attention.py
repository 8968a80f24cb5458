"""What a slide's model looked at, as files for other programs: a pyramidal TIFF, and GeoJSON for QuPath."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acinus.files import atomic_path
from acinus.maps.geometry import MapGeometry
from acinus.maps.tiff import TILE, MapInfo, write_map

PX_PER_PATCH = 4
"""Px of the map along the edge of a patch."""
Patch = Mapping[str, Any]
"""A row of records.ATTENTION: x0, y0, downsample, patch_px and attention, whatever else."""


def edge0_of(patch: Patch) -> float:
    """Return the edge of a patch in level-0 px."""
    return float(patch["patch_px"]) * float(patch["downsample"])


def write_attention_map(path: Path, patches: Sequence[Patch], size0: tuple[int, int], info: MapInfo) -> None:
    """Write the attention of a slide's patches as a map whose highest px is 1; where no patch lies it is 0.

    size0: width and height of the slide, level-0 px. Where patches overlap the strongest is seen. A px of the map is a
    quarter of a patch wide.
    """
    downsample = max(1.0, edge0_of(patches[0]) / PX_PER_PATCH) if patches else float(max(size0))
    geometry = MapGeometry(*size0, downsample)
    write_map(path, _bands(patches, geometry), geometry, info)


def _bands(patches: Sequence[Patch], geometry: MapGeometry) -> Iterator[np.ndarray]:
    """Yield float32 (1, rows, columns) from top to bottom."""
    values = np.array([patch["attention"] for patch in patches], dtype=np.float64)
    values = values / values.max(initial=0.0) if values.max(initial=0.0) > 0 else values
    px = np.array([_px(patch, geometry) for patch in patches], dtype=np.int64).reshape(-1, 4)
    order = np.argsort(values, kind="stable")
    for top in range(0, geometry.rows, TILE):
        band = np.zeros((min(TILE, geometry.rows - top), geometry.columns), dtype=np.float32)
        for left, upper, right, lower, value in zip(*px[order].T.tolist(), values[order].tolist(), strict=True):
            if lower > top and upper < top + len(band):
                band[max(0, upper - top) : lower - top, left:right] = value
        yield band[None]


def _px(patch: Patch, geometry: MapGeometry) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a patch in px of the map, cut at its border."""
    edge0, scale = edge0_of(patch), geometry.downsample
    corners = (patch["x0"], patch["y0"], patch["x0"] + edge0, patch["y0"] + edge0)
    left, top, right, bottom = (max(0, round(corner / scale)) for corner in corners)
    return left, top, min(right, geometry.columns), min(bottom, geometry.rows)


def write_attention_geojson(path: Path, patches: Sequence[Patch], corner0: tuple[int, int] = (0, 0)) -> None:
    """Write every patch as a tile of QuPath's with its attention as a measurement (Measure, Show measurement maps).

    corner0: the level-0 px (x0, y0) that QuPath counts from (see `regions.files`). `share_of_largest` is the attention
    over the largest of the slide: attention itself gets smaller with the number of patches.
    """
    largest = max((float(patch["attention"]) for patch in patches), default=0.0) or 1.0
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        for number, patch in enumerate(patches):
            stream.write(f"{',' if number else ''}\n{json.dumps(_feature(patch, corner0, largest), allow_nan=False)}")
        stream.write("\n]}\n")


def _feature(patch: Patch, corner0: tuple[int, int], largest: float) -> dict[str, Any]:
    left, top, edge0 = patch["x0"] - corner0[0], patch["y0"] - corner0[1], edge0_of(patch)
    right, bottom = left + edge0, top + edge0
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    attention = float(patch["attention"])
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "tile",
            "measurements": {"attention": attention, "share_of_largest": attention / largest},
        },
    }
