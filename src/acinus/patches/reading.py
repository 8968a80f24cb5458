"""The patches of one slide: its pixels, each source tile decoded once, or, for the codec source, its own bytes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from acinus.patches.codec import JPEG_CODECS
from acinus.patches.facts import Tally
from acinus.patches.lossless import cutter
from acinus.patches.source import ELSEWHERE, origins, own_bytes
from acinus.patches.span import Span
from acinus.slides.geometry import Resolution
from acinus.slides.jpeg_tiles import JpegTiles, tiles_of
from acinus.slides.open import SlidePixels
from acinus.slides.pixels import Source
from acinus.slides.slide import Slide
from acinus.slides.tile_pass import TilePass
from acinus.slides.touches import touches_of

NO_TILES = "no JPEG tiles in the level that can be read alone"
BETWEEN = "between the px of the level"
"""Why patches went through OpenSlide."""


@dataclass(frozen=True)
class Reading:
    """How slides are read. codec: of the store. threads: that decode or cut ahead. memory_mib: of decoded tiles."""

    codec: str
    threads: int = 1
    memory_mib: int = 256


def patches_of(
    slide: SlidePixels, at: Resolution, corners: np.ndarray, edge_px: int, how: Reading, tally: Tally
) -> Iterator[tuple[int, np.ndarray | bytes | Span]]:
    """Yield (number, pixels uint8 (edge_px, edge_px, 3) or, for the codec source only, a JPEG or where it lies) of
    every patch.

    In the order in which they are made, tile by tile. corners: int64 (n, 2), level-0 px. `tally` takes the counts.

    Raises:
        SlideError: a tile or a place that cannot be read; names the slide.
    """
    tiles = tiles_of(slide, at.level)
    served = np.full(len(corners), ELSEWHERE)  # by which tile's bytes
    if how.codec == "source" and tiles is not None:
        cut = cutter()
        found = origins(tiles, at, corners, edge_px, cut is not None)
        for number, data in own_bytes(tiles, found, edge_px, cut, how.threads):
            if data:
                served[number] = found.tile[number]
                tally.add("tile" if found.whole[number] else "cut")
                yield number, data
    left = _tile_by_tile(np.flatnonzero(served == ELSEWHERE), corners, tiles, at)
    with TilePass(slide, at, corners[left], edge_px, threads=how.threads, memory_mib=how.memory_mib) as squares:
        for number, pixels in zip(left.tolist(), squares, strict=True):
            tally.add("encoded" if how.codec in JPEG_CODECS else "stored")
            yield number, pixels
    own = np.unique(served[served != ELSEWHERE])
    if own.size:  # those that were decoded, too, are counted by the pass
        own = np.setdiff1d(own, touches_of(Source((edge_px, edge_px), at), corners[left], tiles).tile)
    tally.add("source_tiles", own.size + squares.counts.tiles)
    tally.add("decodes", squares.counts.decoded)
    if isinstance(slide, Slide):
        tally.add_through_openslide(_reason(tiles), squares.counts.through_openslide)


def _tile_by_tile(left: np.ndarray, corners: np.ndarray, tiles: JpegTiles | None, at: Resolution) -> np.ndarray:
    """Return patches in the order of the tiles that they begin in: few tiles wait in memory, however wide the slide.

    Row by row every tile of a row waited for the next row of patches: 60,000 px wide, 90 MB of them.
    """
    if tiles is None:
        return left
    x0, y0 = corners[left].T
    column, row = (np.floor(one / (at.level_downsample * px)) for one, px in zip((x0, y0), tiles.tile_px, strict=True))
    return left[np.lexsort((x0, y0, column, row))]


def _reason(tiles: JpegTiles | None) -> str:
    return NO_TILES if tiles is None else BETWEEN
