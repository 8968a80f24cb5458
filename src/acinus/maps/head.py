"""What a map's file says of itself: JSON in the TIFF's description."""

import json
from dataclasses import dataclass
from pathlib import Path

from acinus.errors import AcinusError
from acinus.maps.geometry import MapGeometry

_KIND, _VERSION = "acinus probability map", 1


@dataclass(frozen=True)
class MapInfo:
    """What a map shows: the slide, the class of each channel, mpp (x, y) in um per level-0 px if known."""

    slide_id: str
    classes: tuple[str, ...]
    mpp: tuple[float, float] | None


def describe(geometry: MapGeometry, info: MapInfo, digests: list[str]) -> str:
    """Return the description: ASCII JSON on one line, keys sorted; one checksum stands alone, several in a list."""
    return json.dumps(
        {
            "kind": _KIND,
            "version": _VERSION,
            "slide_id": info.slide_id,
            "classes": list(info.classes),
            "width": geometry.width,
            "height": geometry.height,
            "downsample": geometry.downsample,
            "mpp": None if info.mpp is None else list(info.mpp),
            "pixels_sha256": digests[0] if len(digests) == 1 else digests,
        },
        sort_keys=True,
    )


def parse(path: Path, description: str) -> tuple[MapGeometry, MapInfo, list[str]]:
    """Return what `describe` was given, or refuse a TIFF that is no map of ours.

    Raises:
        AcinusError: no map, or one of another version.
        KeyError, TypeError, ValueError: a map whose description is damaged.
    """
    try:
        head = json.loads(description)
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("kind") != _KIND:
        raise AcinusError(f"{path}: a TIFF, but no probability map of acinus; remove it and run stage infer again")
    if head.get("version") != _VERSION:
        raise AcinusError(
            f"{path}: map format {head.get('version')!r} found, expected {_VERSION}; run stage infer again"
        )
    geometry = MapGeometry(head["width"], head["height"], head["downsample"])
    mpp = None if head["mpp"] is None else (float(head["mpp"][0]), float(head["mpp"][1]))
    digests = head["pixels_sha256"]
    info = MapInfo(str(head["slide_id"]), tuple(head["classes"]), mpp)
    return geometry, info, [digests] if isinstance(digests, str) else list(digests)
