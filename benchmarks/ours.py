"""Our own work with patches: extraction to a store, reading from it, a pass over windows, a giant raster."""

import os
from pathlib import Path
from typing import Literal

import numpy as np

from acinus.labels.colours import to_class_mask
from acinus.parallel import map_over
from acinus.patches.extract import (
    ShardJob,
    SlidePatches,
    SlideSource,
    StorePlan,
    reading_code,
    write_shard_of,
)
from acinus.patches.store import StoreFormat, open_store
from acinus.slides.geometry import at_downsample
from acinus.slides.open import open_slide
from acinus.slides.pyramid import to_pyramid
from acinus.slides.tile_pass import TilePass
from benchmarks.rasters import COLOURS
from benchmarks.references import some
from benchmarks.slides import BenchSlide, load
from benchmarks.tasks import Done, Work

Codec = Literal["jpeg", "raw", "source"]
QUALITY = 90
MEMORY_MIB = 256
SEED = 5


def extract(
    out: str, slide: str, edge_px: int, stride_px: int, codec: Codec, limit: int | None = None, threads: int = 1
) -> Work:
    """One slide's patches into an LMDB store, finished and checksummed, as the stage does it."""
    own = load(Path(slide))
    jobs = _jobs(_plan(Path(out), codec, edge_px, threads), own.path, some(own, edge_px, stride_px, limit), ("slide",))
    return lambda: Done(_write(jobs, 1))


def extract_several(out: str, slide: str, edge_px: int, names: int, workers: int, cores: int | None = None) -> Work:
    """A slide under several names, a shard each, by so many processes; they start within the measured time.

    cores: all threads share so many of the machine's (Linux).
    """
    if cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    own = load(Path(slide))
    every = tuple(f"slide_{number:03d}" for number in range(names))
    jobs = _jobs(_plan(Path(out), "jpeg", edge_px, 1), own.path, own.places(edge_px, edge_px), every)
    return lambda: Done(_write(jobs, workers))


def read_random(out: str, slide: str, edge_px: int, codec: Codec, limit: int) -> Work:
    """Patches of a store read one by one, decoded, in random order."""

    def work() -> Done:
        for key in keys:
            store.read(key)
        return Done(len(keys))

    store = open_store(filled(Path(out), load(Path(slide)), edge_px, codec, limit))
    keys = np.random.default_rng(SEED).permutation(store.keys()).tolist()
    return work


def read_batches(out: str, slide: str, edge_px: int, codec: Codec, limit: int, batch: int) -> Work:
    """The same by batches, as training reads them."""

    def work() -> Done:
        for first in range(0, len(keys), batch):
            store.read_many(keys[first : first + batch])
        return Done(len(keys))

    store = open_store(filled(Path(out), load(Path(slide)), edge_px, codec, limit))
    keys = np.random.default_rng(SEED).permutation(store.keys()).tolist()
    return work


def windows(out: str, slide: str, edge_px: int, stride_px: int) -> Work:
    """The pixels of overlapping windows, each source tile decoded once; notes say how often it was."""

    def work() -> Done:
        with open_slide(own.path, "slide") as opened:
            at = at_downsample(opened.level_downsamples, 1.0)
            with TilePass(opened, at, places, edge_px, 1, MEMORY_MIB) as squares:
                for _ in squares:
                    pass
                counts = squares.counts
        return Done(counts.squares, {"tiles": counts.tiles, "decoded": counts.decoded})

    own = load(Path(slide))
    places = own.places(edge_px, stride_px)
    return work


def raster(out: str, png: str, edge_px: int) -> Work:
    """A giant PNG into a pyramid and that into a store of patches, the edge strips with it."""

    def work() -> Done:
        pyramid = Path(out) / "raster.tif"
        to_pyramid(Path(png), pyramid, QUALITY)
        with open_slide(pyramid, "raster") as opened:
            y, x = np.mgrid[0 : opened.height : edge_px, 0 : opened.width : edge_px]
        places = np.stack([x.ravel(), y.ravel()], axis=1)
        return Done(_write(_jobs(plan, pyramid, places, ("raster",)), 1))

    plan = _plan(Path(out), "jpeg", edge_px, 1)
    return work


def class_mask(out: str, png: str) -> Work:
    """A giant colour-coded PNG into a pyramid of class indices."""

    def work() -> Done:
        to_class_mask(Path(png), Path(out) / "mask.tif", list(COLOURS), 8, [f"class {i}" for i in range(len(COLOURS))])
        return Done(1)

    return work


def filled(out: Path, slide: BenchSlide, edge_px: int, codec: Codec, limit: int) -> Path:
    """Return the folder of a finished store of `limit` patches of a slide."""
    plan = _plan(out, codec, edge_px, 1)
    _write(_jobs(plan, slide.path, some(slide, edge_px, edge_px, limit), ("slide",)), 1)
    return plan.store


def _plan(out: Path, codec: Codec, edge_px: int, threads: int) -> StorePlan:
    return StorePlan(
        store=out / "store",
        ledger=out / "ledger",
        form=StoreFormat("lmdb", codec, QUALITY, edge_px),
        max_shards=256,
        classes=("normal", "tumor"),
        code=reading_code(codec),
        decode_threads=threads,
        memory_mib=MEMORY_MIB,
    )


def _jobs(plan: StorePlan, slide: Path, places: np.ndarray, names: tuple[str, ...]) -> list[ShardJob]:
    """Return one job per name, each of all the places (int64 (n, 2), row by row) of the slide."""
    source = SlideSource(slide, fingerprint="bench")
    spots = tuple((x, y, 0) for x, y in places.tolist())
    return [ShardJob(name, (SlidePatches(name, source, 1.0, spots),), plan) for name in names]


def _write(jobs: list[ShardJob], workers: int) -> int:
    """Write the jobs' shards and finish their store; return how many patches it has."""
    written = map_over(write_shard_of, jobs, "local", workers)
    return jobs[0].plan.images().finish(one.images for one in written).count
