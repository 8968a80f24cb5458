"""A slide's own JPEG bytes as patches: a whole tile as it is, a part of one cut without loss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from acinus.patches.lossless import Cut
from acinus.patches.span import Span
from acinus.slides.geometry import Resolution
from acinus.slides.jpeg_tiles import JpegTiles
from acinus.slides.pixels import Source
from acinus.slides.touches import touches_of
from acinus.threads import mapped_ahead

ELSEWHERE = -1
"""The tile of a patch that has no bytes of its own."""


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
    found = touches_of(source, corners, tiles)
    tile_px = np.array(tiles.tile_px)
    column_row, inside = np.divmod(np.stack([found.x, found.y], axis=1), tile_px)
    whole = (inside == 0).all(axis=1) & bool((tile_px == edge_px).all())
    part = (inside % tiles.mcu_px == 0) & (inside + edge_px <= tile_px) & (edge_px % np.array(tiles.mcu_px) == 0)
    usable = found.served & found.inside & (whole | (part.all(axis=1) & can_cut)) & source.exact
    number = column_row[:, 1] * tiles.across + column_row[:, 0]
    return Origins(np.where(usable, number, ELSEWHERE), inside[:, 0], inside[:, 1], whole & usable)


def own_bytes(
    tiles: JpegTiles, found: Origins, edge_px: int, cut: Cut | None, threads: int
) -> Iterator[tuple[int, bytes | Span]]:
    """Yield (number of the patch, its JPEG) of every patch with bytes of its own, tile by tile.

    A whole tile as a span of the slide's file, checked. b"" for a hole and for a part that cannot be cut after all.
    Each tile is read once here, and its entropy coding undone at most once.

    Raises:
        SlideError: a tile that is no whole JPEG of the tile's size; names slide, level and tile.
    """

    def of_tile(numbers: np.ndarray) -> Sequence[tuple[int, bytes | Span]]:
        tile = int(found.tile[numbers[0]])
        if bool(found.whole[numbers[0]]):
            head, offset, count = tiles.place(tile)
            whole = Span(head, tiles.slide.path, offset, count) if count else b""
            return [(number, whole) for number in numbers.tolist()]
        data = tiles.data(tile).rstrip(b"\0")  # some writers pad a tile
        if not data:
            return [(number, b"") for number in numbers.tolist()]
        assert cut is not None  # origins finds no parts without
        corners = list(zip(found.x[numbers].tolist(), found.y[numbers].tolist(), strict=True))
        try:
            return list(zip(numbers.tolist(), cut(data, corners, edge_px), strict=True))
        except ValueError:  # a decoder may take it yet, or else names the tile
            return [(number, b"") for number in numbers.tolist()]

    # bytes that only pass through are not worth a thread's while
    for pairs in mapped_ahead(of_tile, _by_tile(found.tile), 1 if found.whole.any() else threads):
        yield from pairs


def _by_tile(tile: np.ndarray) -> list[np.ndarray]:
    """Return the numbers of the patches of each tile, tiles in order."""
    order = np.argsort(tile, kind="stable")
    order = order[tile[order] != ELSEWHERE]
    if not order.size:
        return []
    return np.split(order, np.flatnonzero(np.diff(tile[order])) + 1)
