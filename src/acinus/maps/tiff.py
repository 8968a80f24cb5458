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
from typing import Any, BinaryIO

import numpy as np
import tifffile

from acinus.errors import AcinusError
from acinus.files import atomic_path
from acinus.maps.geometry import MapGeometry
from acinus.maps.head import MapInfo, describe, parse
from acinus.maps.pyramid import TILE, Level, count_levels, levels, tiles

_DAMAGE = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, struct.error, zlib.error)
_REDUCED, _PAGE = 1, 2  # NewSubfileType; OpenSlide takes reduced pages only for levels
_PAGE_NAME = 285


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
    with atomic_path(path) as part:
        channels = [part.with_suffix(f".channel{number}") for number in range(len(info.classes))]
        description = describe(geometry, info, _scratch(channels, bands, geometry))
        um = (info.mpp[0] * geometry.downsample, info.mpp[1] * geometry.downsample) if info.mpp else None
        with tifffile.TiffWriter(part, bigtiff=True, byteorder="<") as tiff:
            for number, channel in enumerate(channels):
                head: dict[str, Any] = {"description": description}
                if len(channels) > 1:
                    name = json.dumps(info.classes[number])[1:-1]  # TIFF text is ASCII
                    head["extratags"] = [(_PAGE_NAME, 2, 0, name, True)]
                if number:
                    head |= {"description": None, "subfiletype": _PAGE, "subifds": count_levels(geometry.shape) - 1}
                _write_pyramid(tiff, levels(channel, geometry.shape), um, head)


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
            stream = stack.enter_context(path.open("rb"))
            reader = _reader(path, stream)
        yield reader


@dataclass(frozen=True)
class _Channel:
    """Where the tiles of one channel lie in the file, row by row, and the SHA-256 of its pixels."""

    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    digest: str


class MapReader:
    """An open map. geometry: its grid on the slide; info: the slide and the class of each channel."""

    def __init__(
        self, path: Path, stream: BinaryIO, geometry: MapGeometry, info: MapInfo, channels: list[_Channel]
    ) -> None:
        self.geometry, self.info = geometry, info
        self._path, self._stream, self._channels = path, stream, channels

    def bands(self, rows: int = TILE) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (top, uint8 (channels, up to `rows`, columns)) over the whole map, from top to bottom.

        Every tile is decoded once; memory is a tile row and a band. The pixels are held against those that
        were written before the last band is given out.

        Raises:
            AcinusError: damaged or changed pixels.
        """
        if rows < 1:
            raise ValueError(f"bands of {rows} rows, expected at least 1")
        height, columns = self.geometry.shape
        digests = [hashlib.sha256() for _ in self._channels]
        strip, strip_top = self.window(0, 0, min(TILE, height), columns), 0
        for top in range(0, height, rows):
            band = np.empty((len(self._channels), min(rows, height - top), columns), dtype=np.uint8)
            done = 0
            while done < band.shape[1]:
                if top + done >= strip_top + TILE:
                    strip_top += TILE
                    strip = self.window(strip_top, 0, min(TILE, height - strip_top), columns)
                piece = strip[:, top + done - strip_top :][:, : band.shape[1] - done]
                band[:, done : done + piece.shape[1]] = piece
                done += piece.shape[1]
            for digest, values in zip(digests, band, strict=True):
                digest.update(values.data)
            if top + rows >= height:
                self._verify([digest.hexdigest() for digest in digests])
            yield top, band

    def sampled(self, columns: int, rows: int, downsample: float) -> np.ndarray:
        """Return uint8 (channels, rows, columns): the map's px under the centre of every px of another grid.

        downsample: level-0 px per px of that grid. One pass over the map, band by band.
        """
        under = [
            np.minimum(((np.arange(count) + 0.5) * downsample / self.geometry.downsample).astype(np.int64), size - 1)
            for count, size in ((rows, self.geometry.rows), (columns, self.geometry.columns))
        ]
        result = np.zeros((len(self.info.classes), rows, columns), dtype=np.uint8)
        for top, band in self.bands():
            wanted = (under[0] >= top) & (under[0] < top + band.shape[1])
            result[:, wanted] = band[:, under[0][wanted] - top][:, :, under[1]]
        return result

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

    def _verify(self, found: list[str]) -> None:
        if found != [channel.digest for channel in self._channels]:
            raise AcinusError(
                f"{self._path}: its pixels are not those that were written; delete it and run stage infer again"
            )


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


def _reader(path: Path, stream: BinaryIO) -> MapReader:
    """Read and check the directories of every channel's first level."""
    with tifffile.TiffFile(stream) as tiff:
        geometry, info, digests = parse(path, tiff.pages.first.description)
        # the first class is the first page, also where its pyramid is damaged; each other one is marked as a page
        pages = [tiff.pages.first]
        if len(info.classes) > 1:
            pages += [page for page in list(tiff.pages)[1:] if page.subfiletype == _PAGE]
        if not len(pages) == len(digests) == len(info.classes) > 0:
            raise ValueError(f"{len(pages)} pages, {len(digests)} checksums, {len(info.classes)} classes")
        channels = [
            _channel(page, digest, geometry, path.stat().st_size) for page, digest in zip(pages, digests, strict=True)
        ]
    return MapReader(path, stream, geometry, info, channels)


def _channel(page: tifffile.TiffPage, digest: str, geometry: MapGeometry, size_bytes: int) -> _Channel:
    """Return where a page's tiles lie; refuse one that is not as ours, before a wrong size in it is believed."""
    found = (str(page.dtype), page.shape, page.tile, int(page.compression))
    expected = ("uint8", geometry.shape, (TILE, TILE), int(tifffile.COMPRESSION.ADOBE_DEFLATE))
    if found != expected:
        raise ValueError(f"pixels {found}, expected {expected}")
    offsets, counts = tuple(page.dataoffsets), tuple(page.databytecounts)
    number = -(-geometry.columns // TILE) * -(-geometry.rows // TILE)
    if not len(offsets) == len(counts) == number:
        raise ValueError(f"{len(offsets)} tiles, expected {number}")
    end = max(offset + count for offset, count in zip(offsets, counts, strict=True))
    if end > size_bytes or min(counts) < 1:
        raise ValueError(f"tiles are missing: the file ends at byte {size_bytes}, its tiles at {end}")
    return _Channel(offsets, counts, digest)


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


def _write_pyramid(
    tiff: tifffile.TiffWriter,
    pyramid: Iterable[Level],
    um_per_px: tuple[float, float] | None,
    head: dict[str, Any],
) -> None:
    """Write the levels of one channel; `head`: further arguments of tifffile for its first level."""
    for number, level in enumerate(pyramid):
        tiff.write(
            tiles(level),
            shape=level.shape,
            dtype=np.uint8,
            photometric="minisblack",
            tile=(TILE, TILE),
            compression="adobe_deflate",
            software="acinus",
            metadata=None,
            maxworkers=1,
            **({"description": None, "subfiletype": _REDUCED} if number else {"subfiletype": 0} | head),
            **_resolution(um_per_px, number),
        )


def _resolution(um_per_px: tuple[float, float] | None, level: int) -> dict[str, Any]:
    """Return tifffile's arguments for px per cm at a level; without mpp, unit none (readers then know of no mpp)."""
    if um_per_px is None:
        return {"resolution": (1, 1), "resolutionunit": "NONE"}
    return {
        "resolution": (1e4 / (um_per_px[0] * 2**level), 1e4 / (um_per_px[1] * 2**level)),
        "resolutionunit": "CENTIMETER",
    }
