"""An OME-Zarr folder as a slide: its chunks are decoded by `zarr`, an extra, one piece of a level at a time."""

import math
import os
import stat
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import SlideError, install_extra
from acinus.slides.formats import ZARR_METADATA
from acinus.slides.ngff import LevelArray, image_of
from acinus.slides.raster import on_white
from acinus.slides.slide import unread
from acinus.slides.tiled import TiledSlide
from acinus.slides.zarr_metadata import NoSlideError

_DAMAGE = (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, OSError, EOFError, zlib.error)
"""What damaged metadata raise here and in zarr, and damaged chunks in its codecs."""
_SLACK_BYTES = 2**16
"""A chunk file of more than twice its px and these is none: it would be read whole before it is decoded."""


class ZarrSlide(TiledSlide):
    """An OME-Zarr, open for reading; a context manager. Its files are opened when a piece is asked for.

    Of a chunk that is not stored all px have the array's fill value, as Zarr has it.

    Raises:
        SlideError: `zarr` is not installed; the metadata are damaged, or of no slide of 8-bit RGB; a level has no
            chunk at all.
    """

    def __init__(self, path: Path, slide_id: str) -> None:
        super().__init__(path, slide_id)
        self._zarr = self._imported()
        try:
            image = image_of(path)
            self._levels = image.levels
            self._arrays = [self._open(level) for level in self._levels]
        except NoSlideError as error:
            raise unread(self, self._plain(error)[:500]) from error
        except _DAMAGE as error:
            raise self.fault(f"{path.name} does not open ({self._plain(error)[:200]})") from error
        for level in self._levels:
            with os.scandir(level.folder) as entries:
                bare = all(entry.name in ZARR_METADATA for entry in entries)
            if bare:
                raise self.fault(f"{path.name}: level {level.folder.name} has no chunks; copy the whole folder again")
        dimensions = [level.xy(level.array.shape) for level in self._levels]
        tile_px = [level.xy(level.array.piece_sizes) for level in self._levels]
        self._describe("zarr", dimensions, image.downsamples, tile_px, image.mpp)

    def _imported(self) -> Any:
        """Return the package zarr, which is an extra."""
        try:
            import zarr
            import zarr.storage
        except ImportError as error:
            raise SlideError(
                f"slide {self.slide_id}: {self.path.name} is an OME-Zarr, which takes the package zarr; "
                f"{install_extra('zarr')}; or convert it to an OME-TIFF"
            ) from error
        return zarr

    def _open(self, level: LevelArray) -> Any:
        """Return zarr's array of a level, on the local disk."""
        store = self._zarr.storage.LocalStore(level.folder, read_only=True)
        return self._zarr.Array.from_dict(self._zarr.storage.StorePath(store), level.array.metadata)

    def _decode(self, number: int, tile: int) -> np.ndarray:
        """Return uint8 (height, width, 3) of a piece, alpha laid on white."""
        level = self._levels[number]
        row, column = divmod(tile, self._across(number))
        wide, high = self._tile_px[number]
        place: dict[str, Any] = {"t": 0, "z": 0, "c": slice(None)}
        place |= {"y": slice(row * high, (row + 1) * high), "x": slice(column * wide, (column + 1) * wide)}
        try:
            _check_files(level, self._arrays[number], (column * wide, row * high))
            found = np.asarray(self._arrays[number][tuple(place[axis] for axis in level.axes)])
        except _DAMAGE as error:
            what = f"level {number}, chunk at row {row}, column {column}: cannot be decoded"
            raise self.fault(f"{what} ({self._plain(error)[:100]})") from error
        axes = [axis for axis in level.axes if axis in "cyx"]
        pixels = np.ascontiguousarray(found.transpose([axes.index(axis) for axis in "yxc"]))
        return pixels if pixels.shape[2] == 3 else np.ascontiguousarray(on_white(pixels))


def _check_files(level: LevelArray, array: Any, corner: tuple[int, int]) -> None:
    """Pass if the chunk files of the piece at px (x, y) are files of a size that chunks may have, or are not there."""
    sizes = level.array.file_sizes
    at = {"x": corner[0], "y": corner[1], "t": 0, "z": 0}
    channels = range(0, level.array.shape[level.axes.index("c")], sizes[level.axes.index("c")])
    sharded = sizes != level.array.piece_sizes  # of a shard only parts are read
    for channel in channels:
        px = at | {"c": channel}
        numbers = tuple(px[axis] // size for axis, size in zip(level.axes, sizes, strict=True))
        file = level.folder / array.metadata.encode_chunk_key(numbers)
        try:
            facts = file.stat()
        except FileNotFoundError:
            continue
        size = facts.st_size
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError(f"{file.name} is no file")
        if not sharded and size > 2 * math.prod(sizes) + _SLACK_BYTES:
            raise ValueError(f"{file.name} has {size} bytes for {math.prod(sizes)} values")
