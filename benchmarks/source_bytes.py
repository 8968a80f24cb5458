"""The tile bytes of a built slide, whole JPEGs in memory, found by tifffile: what the limits begin with."""

from pathlib import Path

import numpy as np
import tifffile

from benchmarks.slides import TILE_PX


def tiles_under(path: Path, places: np.ndarray, edge_px: int) -> dict[tuple[int, int], bytes]:
    """Return (row, column) -> stand-alone JPEG of every tile of level 0 that the squares at `places` touch."""
    wanted = sorted({spot for x, y in places.tolist() for spot in touched(x, y, edge_px)})
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        across = -(-page.imagewidth // TILE_PX)
        tables = page.jpegtables or b"\xff\xd8\xff\xd9"
        found = {}
        for row, column in wanted:
            number = row * across + column
            tiff.filehandle.seek(page.dataoffsets[number])
            found[row, column] = tables[:-2] + tiff.filehandle.read(page.databytecounts[number])[2:]
        return found


def touched(x: int, y: int, edge_px: int) -> list[tuple[int, int]]:
    """Return (row, column) of the tiles of level 0 under a square."""
    rows = range(y // TILE_PX, (y + edge_px - 1) // TILE_PX + 1)
    return [(r, c) for r in rows for c in range(x // TILE_PX, (x + edge_px - 1) // TILE_PX + 1)]
