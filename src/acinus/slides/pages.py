"""The directories of a TIFF: where the bytes of a slide's tiles lie and what they are."""

import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile

from acinus.errors import SlideError
from acinus.slides.pixels import REMEDY
from acinus.slides.slide import FileSlide

JPEG = 7
MARKERS = {JPEG: (b"\xff\xd8", b"\xff\xd9"), 33003: (b"\xff\x4f", b"\xff\xd9"), 33005: (b"\xff\x4f", b"\xff\xd9")}
"""TIFF compression -> first and last two bytes of a tile (JPEG, and Aperio's two kinds of JPEG 2000)."""

CANVASES = frozenset({"leica", "ventana"})
"""Vendors whose levels are canvases on which directories or tiles are laid: a directory of a level's size is so by
chance."""
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
DAMAGED = (tifffile.TiffFileError, ValueError, KeyError, IndexError, TypeError, OSError, OverflowError, struct.error)
"""What tifffile raises where a directory is damaged."""
TILE_DAMAGE = (*DAMAGED, RuntimeError, ArithmeticError)
"""Also of what pixels are decoded by: imagecodecs' errors are RuntimeErrors, tiles of no width divide by zero."""
MAX_TILE_PX = 2**25
"""Largest tile that is decoded: a directory may claim any size."""
_REMEMBERED = 8  # files whose directories are kept: a directory of 80,000 tiles takes a second to read again


@dataclass(frozen=True, eq=False)
class Page:
    """One directory of a TIFF: its size in px, its tile size (None where striped) and where its bytes lie."""

    width: int
    height: int
    tile: tuple[int, int] | None  # (width, height) px
    compression: int
    offsets: np.ndarray  # int64, per tile or strip
    counts: np.ndarray  # int64; 0 is a legal hole
    photometric: int = 2
    plain_rgb: bool = True  # three 8-bit samples per px that lie together
    jpeg_tables: bytes = b""
    bits: int = 8  # per sample

    @property
    def grid(self) -> tuple[int, int]:
        """How many tiles there are (across, down)."""
        assert self.tile is not None
        return -(-self.width // self.tile[0]), -(-self.height // self.tile[1])


def pages_of(slide: FileSlide, level: int) -> list[Page]:
    """Return the tiled directories that may be a level: usually one, none where its tiles are not known.

    By their size; Philips' directories are padded to whole tiles, so there by their order.

    Raises:
        SlideError: a damaged directory.
    """
    if slide.properties.get("openslide.vendor") in CANVASES:
        return []
    if slide.directories:
        return [page for page in slide.directories[level : level + 1] if page.tile is not None]
    tiled = [page for page in read_pages(slide.path, slide.slide_id) if page.tile is not None]
    if slide.properties.get("openslide.vendor") == "philips":
        return tiled[level : level + 1] if len(tiled) == len(slide.level_dimensions) else []
    return [page for page in tiled if (page.width, page.height) == slide.level_dimensions[level]]


def read_pages(path: Path, slide_id: str) -> list[Page]:
    """Return the directories of a TIFF in file order; an empty list where the path is no TIFF.

    Remembered for the last few files, as long as their size and time stay; the arrays are read-only.

    Raises:
        SlideError: a damaged directory; names slide and file.
    """
    if path.is_dir():
        return []
    facts = path.stat()
    try:
        return list(_pages(path, facts.st_size, facts.st_mtime_ns))
    except DAMAGED as error:
        raise SlideError(
            f"slide {slide_id}: {path.name} has a damaged TIFF directory ({' '.join(str(error).split())}); {REMEDY}"
        ) from error


@lru_cache(maxsize=_REMEMBERED)
def _pages(path: Path, size: int, mtime_ns: int) -> tuple[Page, ...]:
    """Read the directories; size and time are asked for so that a new file is not taken for the old."""
    del size, mtime_ns
    with path.open("rb") as stream:
        if stream.read(4) not in _MAGIC:
            return ()
    with tifffile.TiffFile(path) as tiff:
        return tuple(page_of(page) for page in tiff.pages if isinstance(page, tifffile.TiffPage))


def page_of(page: tifffile.TiffPage) -> Page:
    """Return what is kept of a directory, after its file is closed.

    Raises:
        ValueError: as many offsets as byte counts are not there; another of DAMAGED.
    """
    offsets, counts = (np.array(values, dtype=np.int64) for values in (page.dataoffsets, page.databytecounts))
    if offsets.size != counts.size:
        raise ValueError(f"{offsets.size} tile offsets but {counts.size} byte counts")
    offsets.flags.writeable = counts.flags.writeable = False
    return Page(
        int(page.imagewidth),
        int(page.imagelength),
        (int(page.tilewidth), int(page.tilelength)) if page.is_tiled else None,
        int(page.compression),
        offsets,
        counts,
        int(page.photometric) if page.photometric is not None else -1,
        page.samplesperpixel == 3 and page.bitspersample == 8 and page.planarconfig == 1 and not page.extrasamples,
        bytes(page.jpegtables or b""),
        int(np.max(page.bitspersample)),  # one number, or one per sample
    )


def flaw(data: bytes, compression: int) -> str:
    """Return what is wrong with the first and last bytes of a tile, "" where they are as they must be."""
    if compression not in MARKERS:
        return ""
    start, end = MARKERS[compression]
    if not data.startswith(start):
        return f"begins with {data[:2].hex()}, not {start.hex()}"
    if not data.rstrip(b"\0").endswith(end):  # some writers pad a tile with zeros
        return f"its {len(data)} bytes break off without an end marker"
    return ""
