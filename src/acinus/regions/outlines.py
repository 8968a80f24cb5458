"""Outlines of regions along the borders of their px, as valid polygons with holes.

A region is a set of 4-connected parts that meet at corners. Each part is one polygon; its holes are what it goes
around, 4-connected too. Rings meet themselves or each other at points only, as OGC's simple features want it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from acinus.regions.cleaned import FOUR

Polygon = list[np.ndarray]
"""Rings of corners, int64 (n, 2) of (column, row) of px borders, not closed: the outer one, then its holes."""


def outlines(mask: np.ndarray) -> list[Polygon]:
    """Return the polygons of a bool mask (rows, columns), in the order of their first px, row by row.

    Together they cover exactly the px of the mask: px (c, r) is the square [c, c + 1] x [r, r + 1].
    """
    parts, number = ndimage.label(mask, FOUR)
    polygons: list[Polygon] = [[] for _ in range(number)]
    holes: list[tuple[int, np.ndarray]] = []
    for ring in _rings(mask):
        column, row = ring[0].tolist()  # the first corner, row by row: what the ring goes around begins right below
        if mask[row, column]:
            polygons[parts[row, column] - 1].append(ring)
        else:
            holes.append((int(parts[row - 1, column]) - 1, ring))
    for part, ring in holes:
        polygons[part].append(ring)
    return polygons


def cut(mask: np.ndarray) -> list[Polygon]:
    """Return the polygons of a mask without holes: it is cut across the top of each hole that `outlines` finds."""
    tops = sorted({int(hole[:, 1].min()) for polygon in outlines(mask) for hole in polygon[1:]})
    pieces: list[Polygon] = []
    for top, bottom in zip([0, *tops], [*tops, len(mask)], strict=True):
        pieces += [[ring + np.array([0, top]) for ring in polygon] for polygon in outlines(mask[top:bottom])]
    return pieces


def _rings(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rings of a mask, each beginning at its first corner row by row, in the order of those corners.

    A corner is a point where the border turns. Along a row of corners every first and second are joined by an
    edge, and along a column alike. Where two px meet at a corner only, it is two corners, one of each px.
    """
    row, column, falling, twin = _corners(mask)
    # along rows the px on the left comes first; along columns the px above, the second twin of a rising pair
    by_row = np.lexsort((twin, column, row))
    by_column = np.lexsort((np.where(falling, twin, -twin), row, column))
    partner = np.empty((2, len(row)), dtype=np.int64)
    for along, order in enumerate((by_row, by_column)):
        partner[along, order[0::2]], partner[along, order[1::2]] = order[1::2], order[0::2]
    points = np.stack([column, row], axis=1)
    rings: list[np.ndarray] = []
    seen = np.zeros(len(row), dtype=bool)
    across, down = partner.tolist()
    for start in range(len(row)):
        if seen[start]:
            continue
        ring, at = [], start
        while True:
            there = across[at]
            ring += [at, there]
            at = down[there]
            if at == start:
                break
        seen[ring] = True
        rings += _simple(points[ring])
    yield from sorted(rings, key=lambda ring: (int(ring[0, 1]), int(ring[0, 0])))


def _corners(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return row, column, falling and twin of every corner, row by row.

    Where two px meet at a corner only there are twins 0 and 1, those of the left and of the right px; falling: the
    left one is above. Else twin is 0.
    """
    padded = np.pad(mask, 1)
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    meeting = (nw == se) & (ne == sw) & (nw != ne)
    row, column = np.nonzero(nw ^ ne ^ sw ^ se | meeting)
    times = 1 + meeting[row, column]
    row, column = np.repeat(row, times), np.repeat(column, times)
    twin = np.zeros(len(row), dtype=np.int64)
    twin[1:] = (row[1:] == row[:-1]) & (column[1:] == column[:-1])
    return row, column, nw[row, column], twin


def _simple(ring: np.ndarray) -> list[np.ndarray]:
    """Return a ring as rings that visit no point twice, each beginning at its first corner row by row."""
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    rings: list[np.ndarray] = []
    for column, row in [*ring.tolist(), ring[0].tolist()]:
        point = (column, row)
        if point in place:
            loop = path[place[point] :]
            corners = np.array(loop, dtype=np.int64)
            rings.append(np.roll(corners, -int(np.lexsort(corners.T)[0]), axis=0))
            for passed in loop[1:]:
                del place[passed]
            del path[place[point] + 1 :]
        else:
            place[point] = len(path)
            path.append(point)
    return rings


@dataclass(frozen=True, eq=False)
class Shape:
    """The px of one region within its box. mask: bool (rows, columns); others: px of other regions there."""

    region: int
    top: int
    left: int
    mask: np.ndarray
    others: np.ndarray


@dataclass(eq=False)
class Shapes:
    """Collects each region's px from bands and gives them out when the region has ended.

    Memory is 2 bits per px of the boxes of the regions that a band passes through, and one region's px.
    """

    boxes: np.ndarray
    _parts: dict[int, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)

    def add(self, top: int, regions: np.ndarray) -> Iterator[Shape]:
        """Take the next rows, int64 (rows, columns) of region numbers; yield the regions that end there, by number.

        boxes: as `table.Found` has them.
        """
        bottom = top + len(regions)
        for region in np.flatnonzero((self.boxes[1:, 0] < bottom) & (self.boxes[1:, 2] >= top)) + 1:
            first_row, first, last_row, last = self.boxes[region].tolist()
            window = regions[max(0, first_row - top) : last_row + 1 - top, first : last + 1]
            parts = self._parts.setdefault(int(region), [])
            parts.append(
                (np.packbits(window == region, axis=1), np.packbits((window > 0) & (window != region), axis=1))
            )
            if last_row < bottom:
                del self._parts[int(region)]
                mask, others = (
                    np.unpackbits(np.concatenate(rows), axis=1, count=last + 1 - first).astype(bool)
                    for rows in zip(*parts, strict=True)
                )
                yield Shape(int(region), first_row, first, mask, others)
