"""QuPath's GeoJSON (0.2 to 0.6), as QuPath, its scripts and other programs write it.

A FeatureCollection, a bare list of features, one feature or one geometry; plain, gzip or zip. Coordinates are level-0
px, and relative to the corner of `openslide.bounds-*` where a slide has them, since QuPath shows that part only. The
file is read feature by feature: memory is its text and the areas.
"""

import gzip
import itertools
import json
import re
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from acinus.annotations.areas import MAX_COORDINATE, NO_AREA, Drawing, cleaned_name
from acinus.annotations.frame import Frame
from acinus.annotations.outline import Colour
from acinus.errors import SlideError, brief

MAX_BYTES = 1_000_000_000
"""Unpacked; a million cells of 30 vertices have about as much."""
_SPACE = re.compile(r"[ \t\n\r]*")
_WITHOUT_AREA = {"Point": "points", "MultiPoint": "points", "LineString": "lines", "MultiLineString": "lines"}
_OLD_IDS = re.compile(r"Path(Annotation|Detection|Cell|Tile|Root)Object|TMACoreObject")
_OLD_TYPES = {"TMACoreObject": "tma_core"}


def read(path: Path, frame: Frame) -> Drawing:
    """Return what a GeoJSON file holds; an object of several polygons is one outline.

    Raises:
        SlideError: not readable, cut off, no GeoJSON, hostile, or a coordinate that is no finite number.
    """
    drawing = Drawing(path, "qupath", counts_from_bounds=True)
    try:
        for number, item in enumerate(_features(_text(path))):
            _add(drawing, item, number, np.array(frame.corner, dtype=np.float64))
    except RecursionError as error:
        raise SlideError(f"{path.name}: is nested too deeply to be annotations; export it again from QuPath") from error
    except ValueError as error:  # json's, and of texts and numbers that are none
        raise SlideError(
            f"{path.name}: not valid GeoJSON ({brief(error)}); copy the file again, or export it again from QuPath"
        ) from error
    return drawing


def _text(path: Path) -> str:
    try:
        with opened(path) as stream:
            data = stream.read(MAX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SlideError(f"{path.name}: cannot be unpacked ({brief(error)}); copy or export it again") from error
    except OSError as error:  # gzip's BadGzipFile too
        raise SlideError(f"{path.name}: cannot be read ({error.strerror or brief(error)}); check the file") from error
    if len(data) > MAX_BYTES:
        raise SlideError(
            f"{path.name}: more than {MAX_BYTES} bytes of text; export it from QuPath without detections and cells"
        )
    return data.decode(json.detect_encoding(data)).removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")


def opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    """Return the bytes of a file, unpacked where it is gzip or zip (of one JSON)."""
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")
    if magic != b"PK\x03\x04":
        return path.open("rb")
    with zipfile.ZipFile(path) as archive:
        names = [
            name
            for name in archive.namelist()
            if name.lower().endswith((".json", ".geojson")) and not name.startswith("__MACOSX/")
        ]
        if len(names) != 1:
            raise SlideError(f"{path.name}: holds {len(names)} JSON files; expected one; unpack it beside the slides")
        return archive.open(names[0])


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no coordinate")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _features(text: str) -> Iterator[Any]:
    """Yield the features of a collection or list one by one, or the one feature or geometry."""
    at = _skip(text, 0)
    if text[at : at + 1] == "[":
        at = yield from _items(text, at)
    else:
        members: dict[str, Any] = {}
        at = yield from _members(text, at, members)
        if "features" not in members:
            yield members
        elif members.get("type", "FeatureCollection") != "FeatureCollection":
            raise ValueError(f"type {members['type']!r} with features; expected FeatureCollection")
    if at != len(text):
        raise ValueError(f"more text after its end, at character {at}")


def _members(text: str, at: int, members: dict[str, Any]) -> Generator[Any, None, int]:
    """Fill `members` with those of the object at `at`, but yield the items of a list `features`; return its end."""
    at = _expect(text, at, "{")
    while text[at : at + 1] != "}":
        if members:
            at = _expect(text, at, ",")
        key, at = _DECODER.raw_decode(text, at)
        if not isinstance(key, str):
            raise ValueError(f"a key {key!r} that is no text")
        at = _expect(text, at, ":")
        if key == "features":
            members[key] = None
            at = yield from _items(text, at)
        else:
            members[key], at = _DECODER.raw_decode(text, at)
            at = _skip(text, at)
    return _skip(text, at + 1)


def _items(text: str, at: int) -> Generator[Any, None, int]:
    """Yield the items of the list at `at`; return where it ends."""
    at = _expect(text, at, "[")
    first = True
    while text[at : at + 1] != "]":
        if not first:
            at = _expect(text, at, ",")
        first = False
        item, at = _DECODER.raw_decode(text, at)
        yield item
        at = _skip(text, at)
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        there = repr(text[at]) if at < len(text) else "the end of the file"
        raise ValueError(f"{there} instead of {sign!r} at character {at}")
    return _skip(text, at + 1)


def _add(drawing: Drawing, item: Any, number: int, corner: np.ndarray) -> None:
    """Add a feature or a bare geometry."""
    if not isinstance(item, dict):
        raise ValueError(f"feature {number} is no object but {brief(ValueError(repr(item)), 40)}")
    feature = item if item.get("type") == "Feature" or "geometry" in item else {"geometry": item}
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    identity = feature.get("id")
    old = _OLD_IDS.fullmatch(identity) if isinstance(identity, str) else None
    object_type = properties.get("objectType") or properties.get("object_type")
    if not isinstance(object_type, str):
        object_type = _OLD_TYPES.get(old[0], (old[1] or "").lower()) if old else "annotation"
    named = isinstance(identity, str | int) and identity != "" and not old
    source = str(identity) if named else f"feature {number}"
    where = f"feature {number} ({source[:60]!r})" if named else source
    if feature.get("nucleusGeometry") or properties.get("nucleusGeometry"):
        drawing.pass_over("nuclei of cells")
    counted = drawing.passed_over.total()
    polygons = list(_polygons(drawing, feature.get("geometry"), where))
    if not polygons and drawing.passed_over.total() == counted:  # an empty MultiPolygon or collection
        drawing.pass_over(NO_AREA)
    elif polygons:
        name, colour = _classification(properties, where)
        moved = [[ring + corner for ring in rings] for rings in polygons]
        drawing.add(moved, name, source, colour, cleaned_name(object_type.lower())[:40])


def _polygons(drawing: Drawing, geometry: Any, where: str) -> Iterator[list[np.ndarray]]:
    """Yield the polygons of a geometry as rings in its own coordinates; what has no area is counted."""
    if geometry is None:
        drawing.pass_over("without geometry")
        return
    kind = str(geometry.get("type")) if isinstance(geometry, dict) else None
    if kind == "GeometryCollection":
        for part in _list(geometry.get("geometries"), where):
            yield from _polygons(drawing, part, where)
    elif kind in _WITHOUT_AREA:
        drawing.pass_over(_WITHOUT_AREA[kind])
    elif kind in ("Polygon", "MultiPolygon"):
        coordinates = _list(geometry.get("coordinates"), where)
        for polygon in [coordinates] if kind == "Polygon" else coordinates:
            yield [_ring(ring, where) for ring in _list(polygon, where)]
    else:
        raise ValueError(f"{where} has geometry of type {str(kind)[:40]!r}")


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{where}: its coordinates are {brief(ValueError(repr(value)), 40)}, not a list")
    return value


def _ring(ring: Any, where: str) -> np.ndarray:
    """Return float64 (n, 2) of a list of positions [x, y] or [x, y, z]."""
    positions = _list(ring, where)
    if not set(map(type, positions)) <= {list} or not set(map(len, positions)) <= {2, 3, 4}:
        place, strange = next(
            (place, at) for place, at in enumerate(positions) if type(at) is not list or not 2 <= len(at) <= 4
        )
        raise ValueError(f"{where}: position {place} is {brief(ValueError(repr(strange)), 40)}, not [x, y]")
    if not set(map(type, itertools.chain.from_iterable(positions))) <= {int, float}:
        strange = next(x for x in itertools.chain.from_iterable(positions) if type(x) not in (int, float))
        raise ValueError(f"{where}: coordinate {brief(ValueError(repr(strange)), 40)} is no number")
    try:
        values = np.array([position[:2] for position in positions], dtype=np.float64).reshape(-1, 2)
    except OverflowError:
        values = np.array([[np.inf, np.inf]])
    if len(values) and not np.abs(values).max() <= MAX_COORDINATE:
        raise ValueError(f"{where}: a coordinate beyond {MAX_COORDINATE:g} is no level-0 pixel")
    return values


def _classification(properties: dict[str, Any], where: str) -> tuple[str | None, Colour | None]:
    """Return the class and its colour; a derived class is written `Tumor: Positive`, as QuPath shows it."""
    value = properties.get("classification")
    if isinstance(value, str):
        value = {"name": value}
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ValueError(f"{where}: classification is {brief(ValueError(repr(value)), 40)}, not an object")
    names = value.get("names", value.get("name"))
    names = names if isinstance(names, list) else [] if names is None else [names]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{where}: a class name that is no text")
    colour = _colour(value.get("color", value.get("colorRGB"))) or _colour(properties.get("color"))
    return ": ".join(names) or None, colour


def _colour(value: Any) -> Colour | None:
    """Return [r, g, b] or a signed 32-bit ARGB as a colour; None where it is neither."""
    if type(value) is int and -(2**31) <= value < 2**32:
        return (value >> 16 & 255, value >> 8 & 255, value & 255)
    if (
        isinstance(value, list)
        and len(value) in (3, 4)
        and all(type(part) is int and 0 <= part <= 255 for part in value)
    ):
        return (value[0], value[1], value[2])
    return None
