"""The probability map on disk: tiled, deflated, pyramidal BigTIFF pages that OpenSlide, QuPath and ASAP open.

One page per class, in class order, each with its own pyramid: that of the first class in the directories
that follow it (where OpenSlide looks for levels), those of the others in SubIFDs. Samples side by side in one
page (chunky) would be shorter to write, but OpenSlide 4.0.1 then shows every tile at the right border garbled
(libtiff's grey reader forgets the other samples where it cuts a tile), and of samples in planes it takes the
second for transparency. Pages are also smaller: neighbouring bytes are neighbouring px.
"""

import contextlib
import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import tifffile

from acinus.errors import AcinusError
from acinus.files import atomic_path
from acinus.maps.geometry import MapGeometry

TILE = 256
"""Edge of a tile, the height of a band, and the size at which a pyramid ends, in px."""
_KIND, _VERSION = "acinus probability map", 1
_DAMAGE = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, struct.error, zlib.error)
_REDUCED, _PAGE = 1, 2  # NewSubfileType; OpenSlide takes reduced pages only for levels
_PAGE_NAME = 285


@dataclass(frozen=True)
class MapInfo:
    """What a map shows: the slide, the class of each channel, mpp (x, y) in um per level-0 px if known."""

    slide_id: str
    classes: tuple[str, ...]
    mpp: tuple[float, float] | None


def write_map(path: Path, bands: Iterable[np.ndarray], geometry: MapGeometry, info: MapInfo) -> None:
    """Write `bands`, float (channels, rows, columns) in [0, 1] from top to bottom, as uint8 round(p * 255).

    A channel for every name of `info.classes`. Level k has ceil(size / 2^k) px, down to at most 256 px,
    each px the mean of 2 x 2 px of the level before. The resolution tags give the map's mpp
    (mpp * downsample), the description is JSON: geometry, mpp, classes and the SHA-256 of the pixels (one
    for one class, else a list). The same bands give the same bytes. Memory is bounded by the largest band
    and a strip of 512 rows; the channels and their pyramids are built in files beside the result.
    """
    if not info.classes:
        raise ValueError(f"map of slide {info.slide_id} without classes, expected at least one")
    shapes = [geometry.shape]  # of the levels
    while max(shapes[-1]) > TILE:
        shapes.append(((shapes[-1][0] + 1) // 2, (shapes[-1][1] + 1) // 2))
    with atomic_path(path) as part:
        channels = [part.with_suffix(f".channel{number}") for number in range(len(info.classes))]
        description = _description(geometry, info, _scratch(channels, bands, geometry))
        with tifffile.TiffWriter(part, bigtiff=True, byteorder="<") as tiff:
            for number, channel in enumerate(channels):
                first: dict[str, Any] = {"description": description, "subfiletype": 0}
                if number:
                    first = {"description": None, "subfiletype": _PAGE, "subifds": len(shapes) - 1}
                if len(channels) > 1:
                    name = json.dumps(info.classes[number])[1:-1]  # TIFF text is ASCII
                    first["extratags"] = [(_PAGE_NAME, 2, 0, name, True)]
                for level, (pixels, shape) in enumerate(_levels(channel, shapes)):
                    tiff.write(
                        _tiles(pixels, shape),
                        shape=shape,
                        dtype=np.uint8,
                        photometric="minisblack",
                        tile=(TILE, TILE),
                        compression="adobe_deflate",
                        software="acinus",
                        metadata=None,
                        maxworkers=1,
                        **({"description": None, "subfiletype": _REDUCED} if level else first),
                        **_resolution(geometry, info.mpp, level),
                    )


def _description(geometry: MapGeometry, info: MapInfo, digests: list[str]) -> str:
    """Return what a map's file says of itself: ASCII JSON on one line, keys sorted."""
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


def _scratch(channels: list[Path], bands: Iterable[np.ndarray], geometry: MapGeometry) -> list[str]:
    """Put the bands into one file per channel; return the SHA-256 of the pixels of each."""
    digests, top = [hashlib.sha256() for _ in channels], 0
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(channel.open("wb")) for channel in channels]
        for band in bands:
            expected = (len(channels), band.shape[-2], geometry.columns)
            if band.shape != expected or top + band.shape[1] > geometry.rows:
                raise ValueError(f"band {band.shape} at row {top}, expected {expected} within {geometry.rows} rows")
            for values, stream, digest in zip(band, streams, digests, strict=True):
                pixels = np.rint(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8, order="C")
                digest.update(pixels.data)
                stream.write(pixels.data)
            top += band.shape[1]
    if top != geometry.rows:
        raise ValueError(f"bands end at row {top}, expected {geometry.rows} rows")
    return [digest.hexdigest() for digest in digests]


def _levels(path: Path, shapes: list[tuple[int, int]]) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Yield file and shape of the levels of the channel in file `path`, uint8; all but the first lie beside it."""
    source = path
    for number, shape in enumerate(shapes):
        if number:
            target = path.with_suffix(f"{path.suffix}.{number}")
            with target.open("wb") as stream:  # a full disk fails here, as a write
                for strip in _strips(source, shapes[number - 1], 2 * TILE):
                    stream.write(_halved(strip).data)
            source = target
        yield source, shape


def _strips(path: Path, shape: tuple[int, int], rows: int) -> Iterator[np.ndarray]:
    """Yield the px of a file from top to bottom, so many rows at a time, the last fewer.

    They are read: a mapped file would count as memory of the process.
    """
    with path.open("rb") as stream:
        for top in range(0, shape[0], rows):
            count = min(rows, shape[0] - top)
            yield np.fromfile(stream, dtype=np.uint8, count=count * shape[1]).reshape(count, shape[1])


def _halved(values: np.ndarray) -> np.ndarray:
    """Return the rounded means of 2 x 2 px; an odd last row or column stands for its missing neighbour."""
    even = np.pad(values, ((0, values.shape[0] % 2), (0, values.shape[1] % 2)), mode="edge").astype(np.uint16)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint8)


def _tiles(path: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the tiles of a level in row-major order, those at the border filled up with 0."""
    for strip in _strips(path, shape, TILE):
        whole = np.pad(strip, ((0, TILE - len(strip)), (0, -shape[1] % TILE)))
        yield from np.split(whole, whole.shape[1] // TILE, axis=1)


def _resolution(geometry: MapGeometry, mpp: tuple[float, float] | None, level: int) -> dict[str, Any]:
    """Return tifffile's arguments for px per cm at a level; without mpp, unit none (readers then know of no mpp)."""
    if mpp is None:
        return {"resolution": (1, 1), "resolutionunit": "NONE"}
    x, y = (um * geometry.downsample * 2**level for um in mpp)
    return {"resolution": (1e4 / x, 1e4 / y), "resolutionunit": "CENTIMETER"}


def read_map(path: Path) -> tuple[np.ndarray, MapGeometry, MapInfo]:
    """Return a small map's pixels, its geometry and what it shows; large ones: `open_map`.

    The pixels are uint8 (rows, columns) for a map of one channel, (channels, rows, columns) for several.

    Raises:
        AcinusError: no such file, a TIFF of another origin, damaged or changed pixels.
    """
    with open_map(path) as reader:
        pixels = np.empty((len(reader.info.classes), *reader.geometry.shape), dtype=np.uint8)
        for top, band in reader.bands():
            pixels[:, top : top + band.shape[1]] = band
        return pixels[0] if len(pixels) == 1 else pixels, reader.geometry, reader.info


@contextlib.contextmanager
def open_map(path: Path) -> Iterator["MapReader"]:
    """Give a reader of the map's pixels, band by band or in crops.

    Raises:
        AcinusError: no such file, a TIFF of another origin, missing tiles.
    """
    with contextlib.ExitStack() as stack:
        with _damage_named(path):
            reader = MapReader(path, stack.enter_context(path.open("rb")))
        yield reader


class _Channel(NamedTuple):
    """Where the tiles of one channel lie in the file, row by row, and the SHA-256 of its pixels."""

    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    digest: str


class MapReader:
    """An open map. geometry: its grid on the slide; info: the slide and the class of each channel."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        """Read and check the directories of every channel's first level."""
        self._path, self._stream = path, stream
        with tifffile.TiffFile(stream) as tiff:
            self.geometry, self.info, digests = _parsed(path, tiff.pages.first.description)
            # the first class is the first page, also where its pyramid is damaged; each other one is marked as a page
            pages = [tiff.pages.first]
            if len(self.info.classes) > 1:
                pages += [page for page in list(tiff.pages)[1:] if page.subfiletype == _PAGE]
            if not len(pages) == len(digests) == len(self.info.classes) > 0:
                raise ValueError(f"{len(pages)} pages, {len(digests)} checksums, {len(self.info.classes)} classes")
            size_bytes = path.stat().st_size
            self._channels = [
                _channel(page, digest, self.geometry, size_bytes) for page, digest in zip(pages, digests, strict=True)
            ]

    def bands(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (top, uint8 (channels, up to 256 rows, columns)) over the whole map, from top to bottom.

        Every tile is decoded once; memory is a band. The pixels are held against those that were written before the
        last band is given out.

        Raises:
            AcinusError: damaged or changed pixels.
        """
        height, columns = self.geometry.shape
        digests = [hashlib.sha256() for _ in self._channels]
        for top in range(0, height, TILE):
            band = self.window(top, 0, min(TILE, height - top), columns)
            for digest, values in zip(digests, band, strict=True):
                digest.update(values.data)
            whole = top + TILE >= height
            if whole and [digest.hexdigest() for digest in digests] != [channel.digest for channel in self._channels]:
                raise AcinusError(
                    f"{self._path}: its pixels are not those that were written; delete it and run stage infer again"
                )
            yield top, band

    def window(self, top: int, left: int, rows: int, columns: int) -> np.ndarray:
        """Return a crop within the map, uint8 (channels, rows, columns); its pixels are not held against the checksum.

        Raises:
            AcinusError: damaged tiles.
            ValueError: a crop that is not within the map.
        """
        height, width = self.geometry.shape
        if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:
            raise ValueError(f"crop of {rows} x {columns} px at ({top}, {left}), the map has {height} x {width} px")
        result = np.empty((len(self._channels), rows, columns), dtype=np.uint8)
        for row in range(top // TILE, (top + rows - 1) // TILE + 1):
            for column in range(left // TILE, (left + columns - 1) // TILE + 1):
                from_y, from_x = max(top, row * TILE), max(left, column * TILE)
                to_y, to_x = min(top + rows, (row + 1) * TILE), min(left + columns, (column + 1) * TILE)
                inside = np.s_[from_y - row * TILE : to_y - row * TILE, from_x - column * TILE : to_x - column * TILE]
                for channel in range(len(self._channels)):
                    part = result[channel, from_y - top : to_y - top, from_x - left : to_x - left]
                    part[...] = self._tile(channel, row, column)[inside]
        return result

    def _tile(self, channel: int, row: int, column: int) -> np.ndarray:
        """Return one tile, uint8 (256, 256)."""
        where, number = self._channels[channel], row * -(-self.geometry.columns // TILE) + column
        with _damage_named(self._path):
            self._stream.seek(where.offsets[number])
            packed = self._stream.read(where.counts[number])
            pixels = zlib.decompressobj().decompress(packed, TILE * TILE + 1)
            return np.frombuffer(pixels, dtype=np.uint8).reshape(TILE, TILE)


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Say in one line what is wrong with a file that cannot be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise AcinusError(f"{path}: not found; run stage infer (dvc repro)") from error
    except _DAMAGE as error:
        text = " ".join(str(error).split())
        raise AcinusError(f"{path}: not a whole map ({text}); delete it and run stage infer again") from error


def _parsed(path: Path, description: str) -> tuple[MapGeometry, MapInfo, list[str]]:
    """Return what `_description` was given, or refuse a TIFF that is no map of ours.

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


def _channel(page: tifffile.TiffPage, digest: str, geometry: MapGeometry, size_bytes: int) -> _Channel:
    """Return where a page's tiles lie; refuse one that is not as ours, before a wrong size in it is believed."""
    layout = (str(page.dtype), page.shape, page.tile, int(page.compression))
    expected = ("uint8", geometry.shape, (TILE, TILE), int(tifffile.COMPRESSION.ADOBE_DEFLATE))
    if layout != expected:
        raise ValueError(f"pixels {layout}, expected {expected}")
    offsets, counts = tuple(page.dataoffsets), tuple(page.databytecounts)
    number = -(-geometry.columns // TILE) * -(-geometry.rows // TILE)
    if not len(offsets) == len(counts) == number:
        raise ValueError(f"{len(offsets)} tiles, expected {number}")
    end = max(offset + count for offset, count in zip(offsets, counts, strict=True))
    if end > size_bytes or min(counts) < 1:
        raise ValueError(f"tiles are missing: the file ends at byte {size_bytes}, its tiles at {end}")
    return _Channel(offsets, counts, digest)
