"""The least that the work can cost: the codec alone, on bytes that are in memory already, nothing kept."""

from pathlib import Path

import lmdb
import numpy as np
import simplejpeg

from acinus.patches.lossless import cutter
from benchmarks.ours import filled
from benchmarks.references import some
from benchmarks.slides import TILE_PX, load
from benchmarks.source_bytes import tiles_under, touched
from benchmarks.tasks import Done, Work

SEED = 5


def decode_encode(out: str, slide: str, edge_px: int, stride_px: int, limit: int | None = None) -> Work:
    """Every touched tile decoded once, every patch (within one tile) encoded once, as the store's JPEG is."""

    def work() -> Done:
        count = 0
        for spot, data in tiles.items():
            pixels = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
            for x, y in within[spot]:
                patch = np.ascontiguousarray(pixels[y : y + edge_px, x : x + edge_px])
                simplejpeg.encode_jpeg(patch, 90, "RGB", "444", fastdct=False)
                count += 1
        return Done(count)

    tiles, within = _by_tile(slide, edge_px, stride_px, limit)
    return work


def lossless_cut(out: str, slide: str, edge_px: int, stride_px: int, limit: int | None = None) -> Work:
    """Every patch cut out of its tile's bytes by a call of its own of the package turbojpeg."""
    import turbojpeg

    def work() -> Done:
        count = 0
        for spot, data in tiles.items():
            for x, y in within[spot]:
                turbojpeg.transform(data, x=x, y=y, w=edge_px, h=edge_px, crop=True, copynone=True)
                count += 1
        return Done(count)

    tiles, within = _by_tile(slide, edge_px, stride_px, limit)
    return work


def lossless_cuts(out: str, slide: str, edge_px: int, stride_px: int, limit: int | None = None) -> Work:
    """All patches of a tile cut out of its bytes by one call of libjpeg-turbo: the least that is known."""
    cut = cutter()
    if cut is None:
        raise ModuleNotFoundError("the package turbojpeg is not installed")

    def work() -> Done:
        return Done(sum(len(cut(data, within[spot], edge_px)) for spot, data in tiles.items()))

    tiles, within = _by_tile(slide, edge_px, stride_px, limit)
    return work


def decode(out: str, slide: str, edge_px: int, limit: int) -> Work:
    """The JPEGs of a store of ours decoded in random order, from memory."""

    def work() -> Done:
        for data in patches:
            simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
        return Done(len(patches))

    patches = _stored(filled(Path(out), load(Path(slide)), edge_px, "jpeg", limit))
    return work


def _stored(folder: Path) -> list[bytes]:
    """Return the values of the store's only LMDB file, shuffled."""
    (path,) = folder.rglob("*.lmdb")
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as store, store.begin() as look:
        values = [value for _, value in look.cursor()]
    return [values[i] for i in np.random.default_rng(SEED).permutation(len(values))]


def _by_tile(
    slide: str, edge_px: int, stride_px: int, limit: int | None
) -> tuple[dict[tuple[int, int], bytes], dict[tuple[int, int], list[tuple[int, int]]]]:
    """Return the bytes of every touched tile, and the corners of the patches within it, in its own px."""
    own = load(Path(slide))
    places = some(own, edge_px, stride_px, limit)
    within: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for x, y in places.tolist():
        (spot,) = touched(x, y, edge_px)
        within.setdefault(spot, []).append((x % TILE_PX, y % TILE_PX))
    return tiles_under(own.path, places, edge_px), within
