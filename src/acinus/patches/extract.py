"""From sampled patches to a store: what one worker does for one shard, and how the work is cut into shards."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import openslide
import pandas as pd

from acinus.code import code_digest
from acinus.errors import AcinusError, SlideError
from acinus.patches.keys import patch_key
from acinus.patches.store import VERSION, ShardInfo, StoreFormat
from acinus.patches.writer import StoreWriter, plan_shards
from acinus.slides.geometry import at_downsample
from acinus.slides.slide import Slide
from acinus.slides.tiles import check_under

LIBRARIES = ("h5py", "imagecodecs", "lmdb", "numpy", "openslide-python", "pillow", "simplejpeg")


@dataclass(frozen=True)
class SlideSource:
    """Where a slide's pixels are. fingerprint: of the file, so that a replaced slide is extracted again."""

    path: Path
    fingerprint: str


@dataclass(frozen=True)
class SlidePatches:
    """The patches to take from one slide. places: (x0, y0, class index), level-0 px, row by row.

    downsample: level-0 px per working px.
    """

    slide_id: str
    source: SlideSource
    downsample: float
    places: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class StorePlan:
    """What all shards of a store have in common.

    store, ledger: as StoreWriter. classes: the names of the labels 0, 1, ... code: a digest of what
    else decides the pixels (the reading code and its libraries), see `reading_code`.
    """

    store: Path
    ledger: Path
    form: StoreFormat
    max_shards: int
    classes: tuple[str, ...]
    code: str


@dataclass(frozen=True)
class ShardJob:
    """One shard to write: plain values, so that it travels to another process."""

    name: str
    slides: tuple[SlidePatches, ...]
    plan: StorePlan


def shard_jobs(sample: pd.DataFrame, sources: Mapping[str, SlideSource], plan: StorePlan) -> list[ShardJob]:
    """Return one job per shard, sorted by name. sample: records.SAMPLE rows. sources: by slide_id.

    Raises:
        AcinusError: a slide without a source; patches of another size than the store's; a label that is no class.
    """
    groups = sample.groupby("slide_id", sort=True)
    by_slide = {str(slide): _slide_patches(str(slide), rows, sources, plan) for slide, rows in groups}
    return [
        ShardJob(name, tuple(by_slide[slide] for slide in slides), plan)
        for name, slides in plan_shards(by_slide, plan.max_shards).items()
    ]


def _slide_patches(
    slide_id: str, rows: pd.DataFrame, sources: Mapping[str, SlideSource], plan: StorePlan
) -> SlidePatches:
    if slide_id not in sources:
        raise AcinusError(f"slide {slide_id}: in the sample but not in the manifest; run ingest and what follows")
    downsamples, edges = rows["downsample"].unique(), rows["patch_px"].unique()
    if len(downsamples) != 1 or list(edges) != [plan.form.patch_px]:
        raise AcinusError(
            f"slide {slide_id}: patches of downsample {list(downsamples)} and {list(edges)} px, expected one "
            f"downsample and {plan.form.patch_px} px; run index and sample again"
        )
    labels = rows["label"]
    if not labels.between(0, len(plan.classes) - 1).all():
        raise AcinusError(f"slide {slide_id}: label {int(labels.min())} is none of classes {list(plan.classes)}")
    ordered = rows.sort_values(["y0", "x0"])
    places = zip(ordered["x0"].tolist(), ordered["y0"].tolist(), ordered["label"].tolist(), strict=True)
    return SlidePatches(slide_id, sources[slide_id], float(downsamples[0]), tuple(places))


def identity_of(job: ShardJob) -> str:
    """Return a digest of all that decides the shard's bytes; a shard of another identity is written again."""
    slides = [[slide.slide_id, slide.source.fingerprint, slide.downsample, slide.places] for slide in job.slides]
    facts = [VERSION, asdict(job.plan.form), job.plan.classes, job.plan.code, slides]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def write_shard_of(job: ShardJob) -> ShardInfo:
    """Write the shard of a job and return its facts, or only return them where it is there already, undamaged.

    Raises:
        SlideError: a slide, or one tile of it, that cannot be read; names the slide. Nothing is left of the shard.
        AcinusError: the store cannot be written.
    """
    writer = StoreWriter(job.plan.store, job.plan.ledger, job.plan.form)
    identity = identity_of(job)
    return writer.finished(job.name, identity) or writer.write_shard(job.name, identity, _read(job))


def _read(job: ShardJob) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (key, class name, pixels) of every patch of a job."""
    edge = job.plan.form.patch_px
    for own in job.slides:
        with Slide(own.source.path, own.slide_id) as slide:
            at = at_downsample(slide.level_downsamples, own.downsample)
            corners = np.array(own.places, dtype=np.int64).reshape(-1, 3)
            check_under(slide, at, corners[:, 0], corners[:, 1], edge * own.downsample)
            for x0, y0, label in own.places:
                if not (0 <= x0 < slide.width and 0 <= y0 < slide.height):
                    raise SlideError(
                        f"slide {own.slide_id}: patch at level-0 px ({x0}, {y0}) begins outside "
                        f"{slide.width} x {slide.height}; the slide was replaced: run ingest and what follows"
                    )
                yield patch_key(own.slide_id, x0, y0), job.plan.classes[label], slide.read(x0, y0, edge, edge, at)


def reading_code() -> str:
    """Return a digest of the code that makes pixels and bytes: the rooms slides and patches, and their libraries."""
    return code_digest(("slides", "patches"), LIBRARIES, {"openslide": openslide.__library_version__})
