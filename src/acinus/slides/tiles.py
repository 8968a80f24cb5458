"""The bytes of a slide's tiles: whether they are where the directory says, and whether they are pictures.

What OpenSlide 4.0.1 does with a TIFF whose directory is whole (tried with written files): a tile
whose bytes are zeroed or lie behind the end of the file raises; one that is cut in its middle is
filled up with grey without a word; an uncompressed one that is zeroed is black; one with a byte
count of 0 is a legal hole and transparent. So a bad tile mostly fails its slide by name when it is
read; what would pass silently is looked for here: in samples by `probe`, and by `check_under` in all
tiles that patches are about to be read from.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from acinus.errors import SlideError
from acinus.seeds import derive
from acinus.slides.geometry import Resolution
from acinus.slides.open import SlidePixels
from acinus.slides.slide import REMEDY, Slide

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DAMAGED = (tifffile.TiffFileError, ValueError, KeyError, IndexError, TypeError, OSError, struct.error)
_MARKERS = {7: (b"\xff\xd8", b"\xff\xd9"), 33003: (b"\xff\x4f", b"\xff\xd9"), 33005: (b"\xff\x4f", b"\xff\xd9")}
"""TIFF compression -> first and last two bytes of a tile (JPEG, and Aperio's two kinds of JPEG 2000)."""

_UNCOMPRESSED = 1
_TAIL_BYTES = 16  # enough to see an end marker behind a little padding
_PLACE_PX = 256  # edge of a place that is read where the tiles are not known


@dataclass(frozen=True)
class Page:
    """One directory of a TIFF: its size in px, its tile size (None where striped) and where its bytes lie."""

    width: int
    height: int
    tile: tuple[int, int] | None  # (width, height) px
    compression: int
    offsets: np.ndarray  # int64, per tile or strip
    counts: np.ndarray  # int64; 0 is a legal hole


def probe(path: Path, slide: SlidePixels, samples: int, seed: int) -> None:
    """Pass if the slide's pixels are really there, as far as `samples` tiles per level can tell.

    In a TIFF every tile of every directory must lie inside the file; of each level the first, the
    last and seeded others must begin and end as their compression demands, and OpenSlide must
    decode them to something. Other formats are read in sampled places only, a row of an array whole.

    Raises:
        SlideError: names slide, level, tile and what was found.
    """
    if not isinstance(slide, Slide):
        slide.read(0, 0, slide.width, slide.height, Resolution(1.0, 0, 1.0))
        return
    pages = read_pages(path, slide.slide_id)
    size = path.stat().st_size
    for number, page in enumerate(pages):
        outside = np.flatnonzero((page.offsets < 0) | (page.offsets + page.counts > size))
        outside = outside[page.counts[outside] > 0]
        if outside.size:
            first = int(outside[0])
            raise _bad(
                slide,
                f"directory {number}: {outside.size} of {page.counts.size} tiles lie behind the file's end "
                f"(tile {first} needs {int(page.offsets[first] + page.counts[first])} bytes, the file has {size}): "
                "the file is cut off",
            )
    by_size = {(page.width, page.height): page for page in reversed(pages) if page.tile is not None}
    with path.open("rb") as stream:
        for level, dimensions in enumerate(slide.level_dimensions):
            level_seed = derive(seed, slide.slide_id, level)
            page_here = by_size.get(dimensions)
            if page_here is None:
                _probe_places(slide, level, samples, level_seed)
            else:
                _probe_page(stream, slide, level, page_here, _chosen(page_here.counts, samples, level_seed))


def check_under(slide: SlidePixels, at: Resolution, x0: np.ndarray, y0: np.ndarray, edge0: float) -> None:
    """Pass if the tiles under the squares of edge0 level-0 px at (x0, y0) begin and end as they must.

    Looks at a few bytes of each tile, which are about to be read anyway. What is no tiled TIFF of a
    compression with markers passes.

    Raises:
        SlideError: names slide, level, tile and what was found.
    """
    if not isinstance(slide, Slide):
        return
    pages = [page for page in read_pages(slide.path, slide.slide_id) if page.tile is not None]
    page = next((one for one in pages if (one.width, one.height) == slide.level_dimensions[at.level]), None)
    if page is None or page.compression not in _MARKERS:
        return
    start, end = _MARKERS[page.compression]
    with slide.path.open("rb") as stream:
        for tile in _under(page, at, x0, y0, edge0):
            offset, count = int(page.offsets[tile]), int(page.counts[tile])
            head = _bytes_at(stream, offset, min(len(start), count))
            tail = _bytes_at(stream, offset + max(0, count - _TAIL_BYTES), min(_TAIL_BYTES, count))
            if count and not (head == start and tail.rstrip(b"\0").endswith(end)):
                _check_markers(slide, at.level, tile, _bytes_at(stream, offset, count), page.compression)


def _under(page: Page, at: Resolution, x0: np.ndarray, y0: np.ndarray, edge0: float) -> list[int]:
    """Return the tiles of a page under squares, with the px around them that shrinking looks at."""
    assert page.tile is not None
    margin = np.ceil(at.downsample / at.level_downsample) + 2
    across, down = -(-page.width // page.tile[0]), -(-page.height // page.tile[1])
    touched = np.zeros((down, across), dtype=bool)
    ends = []
    for corner, tile_px, number in ((x0, page.tile[0], across), (y0, page.tile[1], down)):
        first = np.floor((corner / at.level_downsample - margin) / tile_px)
        last = np.floor(((corner + edge0) / at.level_downsample + margin) / tile_px)
        ends.append(np.clip(np.stack([first, last]), 0, number - 1).astype(np.int64))
    for left, right, top, bottom in np.unique(np.concatenate(ends), axis=1).T.tolist():
        touched[top : bottom + 1, left : right + 1] = True
    return np.flatnonzero(touched).tolist()


def _bytes_at(stream: BinaryIO, offset: int, count: int) -> bytes:
    stream.seek(offset)
    return stream.read(count)


def read_pages(path: Path, slide_id: str) -> list[Page]:
    """Return the directories of a TIFF in file order; an empty list where the file is no TIFF."""
    with path.open("rb") as stream:
        if stream.read(4) not in _MAGIC:
            return []
    try:
        with tifffile.TiffFile(path) as tiff:
            return [_page(page) for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
    except _DAMAGED as error:
        raise SlideError(
            f"slide {slide_id}: {path.name} has a damaged TIFF directory ({' '.join(str(error).split())}); {REMEDY}"
        ) from error


def _page(page: tifffile.TiffPage) -> Page:
    offsets, counts = (np.asarray(values, dtype=np.int64) for values in (page.dataoffsets, page.databytecounts))
    if offsets.size != counts.size:
        raise ValueError(f"{offsets.size} tile offsets but {counts.size} byte counts")
    tile = (int(page.tilewidth), int(page.tilelength)) if page.is_tiled else None
    return Page(int(page.imagewidth), int(page.imagelength), tile, int(page.compression), offsets, counts)


def _chosen(counts: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Return the tiles to look at: first, last and seeded others among those that have bytes."""
    present = np.flatnonzero(counts)
    if present.size <= samples:
        return present
    inner = np.random.default_rng(seed).choice(present[1:-1], size=max(0, samples - 2), replace=False)
    return np.unique(np.concatenate([present[:1], present[-1:], inner]))


def _probe_page(stream: BinaryIO, slide: Slide, level: int, page: Page, chosen: np.ndarray) -> None:
    assert page.tile is not None
    across = -(-page.width // page.tile[0])
    blank = 0
    for tile in chosen.tolist():
        stream.seek(int(page.offsets[tile]))
        data = stream.read(int(page.counts[tile]))
        zeroed = not data.strip(b"\0")
        blank += zeroed
        if zeroed and page.compression != _UNCOMPRESSED:
            raise _bad(slide, f"level {level}, tile {tile}: its {len(data)} bytes are all zero")
        _check_markers(slide, level, tile, data, page.compression)
        column, row = tile % across * page.tile[0], tile // across % -(-page.height // page.tile[1]) * page.tile[1]
        wide, high = min(page.tile[0], page.width - column), min(page.tile[1], page.height - row)
        if not slide.read_level(column, row, wide, high, level)[..., 3].any():
            raise _bad(slide, f"level {level}, tile {tile}: {len(data)} bytes, but no pixel comes out")
    if chosen.size and blank == chosen.size:  # one black tile may be a black filling; all of them are no slide
        raise _bad(slide, f"level {level}: the bytes of all {blank} sampled tiles are zero")


def _check_markers(slide: Slide, level: int, tile: int, data: bytes, compression: int) -> None:
    if compression not in _MARKERS:
        return
    start, end = _MARKERS[compression]
    if not data.startswith(start):
        raise _bad(slide, f"level {level}, tile {tile}: begins with {data[:2].hex()}, not {start.hex()}")
    if not data.rstrip(b"\0").endswith(end):  # some writers pad a tile with zeros
        raise _bad(slide, f"level {level}, tile {tile}: its {len(data)} bytes break off without an end marker")


def _probe_places(slide: Slide, level: int, samples: int, seed: int) -> None:
    """Read seeded places of a level whose tiles are not known, corners first; OpenSlide must not fail."""
    width, height = slide.level_dimensions[level]
    wide, high = min(width, _PLACE_PX), min(height, _PLACE_PX)
    rng = np.random.default_rng(seed)
    xs = [0, width - wide, *rng.integers(0, width - wide + 1, max(0, samples - 2)).tolist()]
    ys = [0, height - high, *rng.integers(0, height - high + 1, max(0, samples - 2)).tolist()]
    for x, y in list(zip(xs, ys, strict=True))[:samples]:
        slide.read_level(x, y, wide, high, level)


def _bad(slide: Slide, what: str) -> SlideError:
    return SlideError(f"slide {slide.slide_id}: {what}; {REMEDY}")
