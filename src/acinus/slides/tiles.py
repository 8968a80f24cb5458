"""The bytes of a slide's tiles: whether they are where the directory says, and whether they are pictures.

What OpenSlide 4.0.1 does with a TIFF whose directory is whole (tried with written files): a tile
whose bytes are zeroed or lie behind the end of the file raises; one that is cut in its middle is
filled up with grey without a word; an uncompressed one that is zeroed is black; one with a byte
count of 0 is a legal hole and transparent. So a bad tile mostly fails its slide by name when it is
read; what would pass silently is looked for here: in samples by `probe`, and by `check_under` in all
tiles that patches are about to be read from.
"""

import numpy as np

from acinus.seeds import derive
from acinus.slides.geometry import Resolution
from acinus.slides.pages import CANVASES, MARKERS, Page, flaw, pages_of, read_pages
from acinus.slides.pixels import SlidePixels
from acinus.slides.slide import FileSlide

_UNCOMPRESSED = 1
_TAIL_BYTES = 16  # enough to see an end marker behind a little padding
_PLACE_PX = 256  # edge of a place that is read where the tiles are not known


def probe(slide: SlidePixels, samples: int, seed: int) -> None:
    """Pass if the slide's pixels are really there, as far as `samples` tiles per level can tell.

    In a TIFF every tile of every directory must lie inside the file; of each level the first, the
    last and seeded others must begin and end as their compression demands, and OpenSlide must
    decode them to something. Other formats are read in sampled places only, a row of an array whole.

    Raises:
        SlideError: names slide, level, tile and what was found.
    """
    if not isinstance(slide, FileSlide):
        slide.read(0, 0, slide.width, slide.height, Resolution(1.0, 0, 1.0))
        return
    pages = slide.directories or read_pages(slide.path, slide.slide_id)
    size = slide.path.stat().st_size
    for number, page in enumerate(pages):
        outside = np.flatnonzero((page.offsets < 0) | (page.counts > size - page.offsets))
        outside = outside[page.counts[outside] > 0]
        if outside.size:
            first = int(outside[0])
            needed = int(page.offsets[first]) + int(page.counts[first])
            raise slide.fault(
                f"directory {number}: {outside.size} of {page.counts.size} tiles lie behind the file's end "
                f"(tile {first} needs {needed} bytes, the file has {size}): the file is cut off"
            )
    by_size = {(page.width, page.height): page for page in reversed(pages) if page.tile is not None}
    if slide.properties.get("openslide.vendor") in CANVASES:
        by_size = {}
    for level, dimensions in enumerate(slide.level_dimensions):
        rng = np.random.default_rng(derive(seed, slide.slide_id, level))
        if dimensions in by_size:
            _probe_page(slide, level, by_size[dimensions], samples, rng)
        else:
            _probe_places(slide, level, samples, rng)


def check_under(slide: SlidePixels, at: Resolution, x0: np.ndarray, y0: np.ndarray, edge0: float) -> None:
    """Pass if the tiles under the squares of edge0 level-0 px at (x0, y0) begin and end as they must.

    Looks at a few bytes of each tile, which are about to be read anyway. What is no tiled TIFF of a
    compression with markers passes.

    Raises:
        SlideError: names slide, level, tile and what was found.
    """
    if not isinstance(slide, FileSlide):
        return
    page = next(iter(pages_of(slide, at.level)), None)
    if page is None or page.compression not in MARKERS:
        return
    start, end = MARKERS[page.compression]
    size = slide.path.stat().st_size
    for tile in _under(page, at, x0, y0, edge0):
        offset, count = int(page.offsets[tile]), int(page.counts[tile])
        if count and not 0 <= offset <= size - count:
            raise slide.fault(
                f"level {at.level}, tile {tile}: its {count} bytes from {offset} on lie behind the file's end "
                f"({size} bytes)"
            )
        head = slide.bytes_at(offset, min(len(start), count))
        tail = slide.bytes_at(offset + max(0, count - _TAIL_BYTES), min(_TAIL_BYTES, count))
        if count and not (head == start and tail.rstrip(b"\0").endswith(end)):
            _check_markers(slide, at.level, tile, slide.bytes_at(offset, count), page.compression)


def _under(page: Page, at: Resolution, x0: np.ndarray, y0: np.ndarray, edge0: float) -> list[int]:
    """Return the tiles of a page under squares, with the px around them that shrinking looks at."""
    assert page.tile is not None
    margin = np.ceil(at.downsample / at.level_downsample) + 2
    across, down = page.grid
    ends = []
    for corner, tile_px, number in ((x0, page.tile[0], across), (y0, page.tile[1], down)):
        first = np.floor((corner / at.level_downsample - margin) / tile_px)
        last = np.floor(((corner + edge0) / at.level_downsample + margin) / tile_px)
        ends.append(np.clip(np.stack([first, last]), 0, number - 1).astype(np.int64))
    (left, right), (top, bottom) = ends
    corners = np.zeros((down + 1, across + 1), dtype=np.int64)  # summed along both axes: squares over each tile
    for row, column, sign in ((top, left, 1), (top, right + 1, -1), (bottom + 1, left, -1), (bottom + 1, right + 1, 1)):
        np.add.at(corners, (row, column), sign)
    squares = corners.cumsum(axis=0).cumsum(axis=1)[:down, :across]
    return np.flatnonzero(squares).tolist()


def _probe_page(slide: FileSlide, level: int, page: Page, samples: int, rng: np.random.Generator) -> None:
    """Look at the first, the last and seeded others of the tiles that have bytes."""
    assert page.tile is not None
    chosen = np.flatnonzero(page.counts)
    if chosen.size > samples:
        inner = rng.choice(chosen[1:-1], size=max(0, samples - 2), replace=False)
        chosen = np.unique(np.concatenate([chosen[:1], chosen[-1:], inner]))
    (tile_wide, tile_high), (across, down) = page.tile, page.grid
    blank = 0
    for tile in chosen.tolist():
        data = slide.bytes_at(int(page.offsets[tile]), int(page.counts[tile]))
        zeroed = not data.strip(b"\0")
        blank += zeroed
        if zeroed and page.compression != _UNCOMPRESSED:
            raise slide.fault(f"level {level}, tile {tile}: its {len(data)} bytes are all zero")
        _check_markers(slide, level, tile, data, page.compression)
        column, row = tile % across * tile_wide, tile // across % down * tile_high
        wide, high = min(tile_wide, page.width - column), min(tile_high, page.height - row)
        if not slide.read_level(column, row, wide, high, level)[..., 3].any():
            raise slide.fault(f"level {level}, tile {tile}: {len(data)} bytes, but no pixel comes out")
    if chosen.size and blank == chosen.size:  # one black tile may be a black filling; all of them are no slide
        raise slide.fault(f"level {level}: the bytes of all {blank} sampled tiles are zero")


def _check_markers(slide: FileSlide, level: int, tile: int, data: bytes, compression: int) -> None:
    if what := flaw(data, compression):
        raise slide.fault(f"level {level}, tile {tile}: {what}")


def _probe_places(slide: FileSlide, level: int, samples: int, rng: np.random.Generator) -> None:
    """Read seeded places of a level whose tiles are not known, corners first; OpenSlide must not fail."""
    width, height = slide.level_dimensions[level]
    wide, high = min(width, _PLACE_PX), min(height, _PLACE_PX)
    xs = [0, width - wide, *rng.integers(0, width - wide + 1, max(0, samples - 2)).tolist()]
    ys = [0, height - high, *rng.integers(0, height - high + 1, max(0, samples - 2)).tolist()]
    for x, y in list(zip(xs, ys, strict=True))[:samples]:
        slide.read_level(x, y, wide, high, level)
