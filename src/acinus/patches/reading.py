"""The patches of one slide: its pixels, each source tile decoded once, or, for the codec source, its own bytes.

A whole tile passes as it is, a part of one is cut without loss.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from acinus.patches.codec import JPEG_CODECS
from acinus.patches.facts import Tally
from acinus.patches.lossless import Cut, cutter
from acinus.patches.shard import Span
from acinus.patches.store import StoreFormat
from acinus.slides.geometry import Resolution
from acinus.slides.jpeg_tiles import JpegTiles, tiles_of
from acinus.slides.pixels import SlidePixels, Source
from acinus.slides.slide import Slide
from acinus.slides.tile_pass import TilePass
from acinus.slides.touches import touches_of
from acinus.threads import mapped_ahead

NO_TILES = "no JPEG tiles in the level that can be read alone"
BETWEEN = "between the px of the level"
"""Why patches went through OpenSlide."""

ELSEWHERE = -1
"""The tile of a patch that has no bytes of its own."""


def patches_of(
    slide: SlidePixels,
    at: Resolution,
    corners: np.ndarray,
    form: StoreFormat,
    tally: Tally,
    threads: int = 1,
    memory_mib: int = 256,
) -> Iterator[tuple[int, np.ndarray | bytes | Span]]:
    """Yield (number, patch) of every patch, in the order in which they are made, tile by tile.

    A patch is uint8 (patch_px, patch_px, 3) or, for the codec source only, a JPEG or where it lies. corners: int64
    (n, 2), level-0 px. `tally` takes the counts. threads: that decode or cut ahead. memory_mib: of decoded tiles.

    Raises:
        SlideError: a tile or a place that cannot be read; names the slide.
    """
    edge_px, tiles = form.patch_px, tiles_of(slide, at.level)
    served = np.full(len(corners), ELSEWHERE)  # by which tile's bytes
    if form.codec == "source" and tiles is not None:
        cut = cutter()
        places = origins(tiles, at, corners, edge_px, cut is not None)
        for number, data in own_bytes(tiles, places, edge_px, cut, threads):
            if data:
                served[number] = places.tile[number]
                tally.counts["tile" if places.whole[number] else "cut"] += 1
                yield number, data
    numbers = np.flatnonzero(served == ELSEWHERE)
    if tiles is not None:
        # In the order of the tiles that they begin in. Row by row every tile of a row waited for the next row of
        # patches: 60,000 px wide, 90 MB of them.
        x0, y0 = corners[numbers].T
        tile_px0 = at.level_downsample * tiles.tile_px[0], at.level_downsample * tiles.tile_px[1]
        numbers = numbers[np.lexsort((x0, y0, np.floor(x0 / tile_px0[0]), np.floor(y0 / tile_px0[1])))]
    with TilePass(slide, at, corners[numbers], edge_px, threads, memory_mib) as squares:
        for number, pixels in zip(numbers.tolist(), squares, strict=True):
            tally.counts["encoded" if form.codec in JPEG_CODECS else "stored"] += 1
            yield number, pixels
    own_tiles = np.unique(served[served != ELSEWHERE])
    if own_tiles.size:  # those that were decoded, too, are counted by the pass
        decoded = touches_of(Source((edge_px, edge_px), at), corners[numbers], tiles).tile
        own_tiles = np.setdiff1d(own_tiles, decoded)
    tally.counts["source_tiles"] += own_tiles.size + squares.counts.tiles
    tally.counts["decodes"] += squares.counts.decoded
    if isinstance(slide, Slide):
        reason = NO_TILES if tiles is None else BETWEEN
        tally.through_openslide[reason] += squares.counts.through_openslide


@dataclass(frozen=True)
class Origins:
    """The source tile that each of n patches lies in, ELSEWHERE where it has no bytes there, and its place in it.

    All (n,). tile: number. x, y: px in the tile. whole: the patch is that tile.
    """

    tile: np.ndarray
    x: np.ndarray
    y: np.ndarray
    whole: np.ndarray


def origins(tiles: JpegTiles, at: Resolution, corners: np.ndarray, edge_px: int, can_cut: bool) -> Origins:
    """Return where patches have bytes of their own. corners: int64 (n, 2), level-0 px.

    A patch has where the working resolution is the level's own and it lies on the level whole and in one tile,
    which it either is or, with `can_cut`, a part of on its grid of blocks.
    """
    source = Source((edge_px, edge_px), at)
    touches = touches_of(source, corners, tiles)
    tile_px = np.array(tiles.tile_px)
    column_row, inside = np.divmod(np.stack([touches.x, touches.y], axis=1), tile_px)
    whole = (inside == 0).all(axis=1) & bool((tile_px == edge_px).all())
    part = (inside % tiles.mcu_px == 0) & (inside + edge_px <= tile_px) & (edge_px % np.array(tiles.mcu_px) == 0)
    usable = touches.served & touches.inside & (whole | (part.all(axis=1) & can_cut)) & source.exact
    number = column_row[:, 1] * tiles.across + column_row[:, 0]
    return Origins(np.where(usable, number, ELSEWHERE), inside[:, 0], inside[:, 1], whole & usable)


def own_bytes(
    tiles: JpegTiles, places: Origins, edge_px: int, cut: Cut | None, threads: int
) -> Iterator[tuple[int, bytes | Span]]:
    """Yield (number of the patch, its JPEG) of every patch with bytes of its own, tile by tile.

    A whole tile as a span of the slide's file, checked. b"" for a hole and for a part that cannot be cut after all.
    Each tile is read once here, and its entropy coding undone at most once.

    Raises:
        SlideError: a tile that is no whole JPEG of the tile's size; names slide, level and tile.
    """

    def of_tile(numbers: np.ndarray) -> Iterable[tuple[int, bytes | Span]]:
        tile = int(places.tile[numbers[0]])
        patches: Sequence[bytes | Span] = [b""] * len(numbers)
        if bool(places.whole[numbers[0]]):
            head, offset, count = tiles.place(tile)
            if count:
                patches = [Span(head, tiles.slide.path, offset, count)] * len(numbers)
        elif data := tiles.data(tile).rstrip(b"\0"):  # some writers pad a tile
            assert cut is not None  # origins finds no parts without
            corners = list(zip(places.x[numbers].tolist(), places.y[numbers].tolist(), strict=True))
            with contextlib.suppress(ValueError):  # a decoder may take it yet, or else names the tile
                patches = cut(data, corners, edge_px)
        return zip(numbers.tolist(), patches, strict=True)

    order = np.argsort(places.tile, kind="stable")
    order = order[places.tile[order] != ELSEWHERE]
    by_tile = np.split(order, np.flatnonzero(np.diff(places.tile[order])) + 1) if order.size else []
    # bytes that only pass through are not worth a thread's while
    for pairs in mapped_ahead(of_tile, by_tile, 1 if places.whole.any() else threads):
        yield from pairs
