"""The probability map on disk: one tiled, deflated, pyramidal BigTIFF that OpenSlide, QuPath and ASAP open."""

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from acinus.errors import AcinusError
from acinus.files import atomic_path
from acinus.mapping.geometry import MapGeometry

_KIND, _VERSION = "acinus probability map", 1
_TILE = 256
_DAMAGE = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, struct.error)  # what readers raise


@dataclass(frozen=True)
class MapInfo:
    """What a map shows: the slide, the class of each channel, mpp (x, y) in um per level-0 px if known."""

    slide_id: str
    classes: tuple[str, ...]
    mpp: tuple[float, float] | None


def write_map(path: Path, bands: Iterable[np.ndarray], geometry: MapGeometry, info: MapInfo) -> None:
    """Write `bands`, float (classes, rows, columns) in [0, 1] from top to bottom, as uint8 round(p * 255).

    One grey channel: a map holds one class today (the tumour's), several are refused. Level k has
    ceil(size / 2^k) px, down to at most 256 px, each level the mean of 2 x 2 px of the one before.
    The resolution tags give the map's mpp (mpp * downsample), the description is JSON: geometry,
    mpp, classes and the SHA-256 of the pixels. The same bands give the same bytes. Memory is bounded
    by the largest band and a strip of 512 rows; the pyramid is built in files beside the result.
    """
    if len(info.classes) != 1:
        raise AcinusError(
            f"map of slide {info.slide_id}: classes {list(info.classes)} given, expected one; write one map per class"
        )
    with atomic_path(path) as part:
        base, digest = _scratch(part, bands, geometry)
        description = _describe(geometry, info, digest)
        um = (info.mpp[0] * geometry.downsample, info.mpp[1] * geometry.downsample) if info.mpp else None
        with tifffile.TiffWriter(part, bigtiff=True, byteorder="<") as tiff:
            for number, level in enumerate(_levels(part, base)):
                tiff.write(
                    _tiles(level),
                    shape=level.shape,
                    dtype=np.uint8,
                    photometric="minisblack",
                    tile=(_TILE, _TILE),
                    compression="adobe_deflate",
                    description=None if number else description,
                    subfiletype=1 if number else 0,
                    software="acinus",
                    metadata=None,
                    maxworkers=1,
                    **_resolution(um, number),
                )


def read_map(path: Path) -> tuple[np.ndarray, MapGeometry, MapInfo]:
    """Return the map's pixels uint8 (rows, columns), its geometry and what it shows.

    Raises:
        AcinusError: no such file, a TIFF of another origin, damaged or changed pixels.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            head = _parse(path, page.description)
            geometry = MapGeometry(head["width"], head["height"], head["downsample"])
            _check_page(page, geometry, path.stat().st_size)
            pixels = np.ascontiguousarray(page.asarray(maxworkers=1))
        mpp = None if head["mpp"] is None else (float(head["mpp"][0]), float(head["mpp"][1]))
        info = MapInfo(str(head["slide_id"]), tuple(head["classes"]), mpp)
    except FileNotFoundError as error:
        raise AcinusError(f"{path}: not found; run stage infer (dvc repro)") from error
    except _DAMAGE as error:
        text = " ".join(str(error).split())
        raise AcinusError(f"{path}: not a whole map ({text}); delete it and run stage infer again") from error
    if hashlib.sha256(pixels.data).hexdigest() != head.get("pixels_sha256"):
        raise AcinusError(f"{path}: its pixels are not those that were written; delete it and run stage infer again")
    return pixels, geometry, info


def _check_page(page: tifffile.TiffPage, geometry: MapGeometry, size_bytes: int) -> None:
    """Refuse a directory that does not describe our tiles, before a wrong size in it is believed."""
    found = (str(page.dtype), page.shape, page.tile, int(page.compression))
    expected = ("uint8", geometry.shape, (_TILE, _TILE), int(tifffile.COMPRESSION.ADOBE_DEFLATE))
    if found != expected:
        raise ValueError(f"pixels {found}, expected {expected}")
    ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if max(ends) > size_bytes or min(page.databytecounts) < 1:
        raise ValueError(f"tiles are missing: the file ends at byte {size_bytes}, its tiles at {max(ends)}")


def _describe(geometry: MapGeometry, info: MapInfo, digest: str) -> str:
    """Return the description: ASCII JSON on one line, keys sorted."""
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
            "pixels_sha256": digest,
        },
        sort_keys=True,
    )


def _parse(path: Path, description: str) -> dict[str, Any]:
    """Return the description's JSON, or refuse a TIFF that is no map of ours."""
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
    return head


def _scratch(part: Path, bands: Iterable[np.ndarray], geometry: MapGeometry) -> tuple[np.ndarray, str]:
    """Put the bands into a file beside `part`; return it as an array (rows, columns) and the SHA-256 of its pixels."""
    digest = hashlib.sha256()

    def rows() -> Iterator[np.ndarray]:
        top = 0
        for band in bands:
            expected = (1, band.shape[-2], geometry.columns)
            if band.shape != expected or top + band.shape[1] > geometry.rows:
                raise ValueError(f"band {band.shape} at row {top}, expected {expected} within {geometry.rows} rows")
            values = np.rint(np.clip(band[0], 0.0, 1.0) * 255).astype(np.uint8, order="C")
            digest.update(values.data)
            top += len(values)
            yield values
        if top != geometry.rows:
            raise ValueError(f"bands end at row {top}, expected {geometry.rows} rows")

    return _on_disk(part.with_suffix(".level0"), rows(), geometry.shape), digest.hexdigest()


def _on_disk(path: Path, parts: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Write rows of uint8 to `path` and return them as a mapped array (a full disk then fails as a write)."""
    with path.open("wb") as stream:
        for part in parts:
            stream.write(np.ascontiguousarray(part).data)
    return np.memmap(path, dtype=np.uint8, mode="r", shape=shape)


def _levels(part: Path, base: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the pyramid from `base` down to at most 256 px, each level in a file beside `part`."""
    level, number = base, 0
    yield level
    while max(level.shape) > _TILE:
        number += 1
        strips = (_halved(level[row : row + 2 * _TILE]) for row in range(0, level.shape[0], 2 * _TILE))
        shape = ((level.shape[0] + 1) // 2, (level.shape[1] + 1) // 2)
        level = _on_disk(part.with_suffix(f".level{number}"), strips, shape)
        yield level


def _halved(values: np.ndarray) -> np.ndarray:
    """Return the rounded means of 2 x 2 px; an odd last row or column stands for its missing neighbour."""
    even = np.pad(values, ((0, values.shape[0] % 2), (0, values.shape[1] % 2)), mode="edge").astype(np.uint16)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint8)


def _tiles(level: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the level's tiles in row-major order, those at the border filled up with 0."""
    for row in range(0, level.shape[0], _TILE):
        for column in range(0, level.shape[1], _TILE):
            tile = np.zeros((_TILE, _TILE), dtype=np.uint8)
            part = level[row : row + _TILE, column : column + _TILE]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def _resolution(um_per_px: tuple[float, float] | None, level: int) -> dict[str, Any]:
    """Return tifffile's arguments for px per cm at a level; without mpp, unit none (readers then know of no mpp)."""
    if um_per_px is None:
        return {"resolution": (1, 1), "resolutionunit": "NONE"}
    return {
        "resolution": (1e4 / (um_per_px[0] * 2**level), 1e4 / (um_per_px[1] * 2**level)),
        "resolutionunit": "CENTIMETER",
    }
