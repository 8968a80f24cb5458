"""From sampled patches to a store: what one worker does for one shard, and how the work is cut into shards."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from acinus.code import code_digest
from acinus.errors import AcinusError, SlideError
from acinus.labels.labels import LabelRow, LabelRules, open_labels
from acinus.patches.encoding import Patch, encoded
from acinus.patches.facts import ShardFacts, Tally
from acinus.patches.keys import patch_key
from acinus.patches.lossless import PACKAGE, cutter_version
from acinus.patches.reading import Reading, patches_of
from acinus.patches.store import MASKS, VERSION, ShardInfo, StoreFormat
from acinus.patches.writer import StoreWriter, plan_shards
from acinus.slides.geometry import at_downsample
from acinus.slides.open import SlidePixels, open_slide
from acinus.slides.tiles import check_under

GROUND = ("background", "foreground")
"""What the labels 0 and 1 of a segmentation's patches are called."""


@dataclass(frozen=True)
class SlideSource:
    """Where a slide's pixels and labels are.

    fingerprint, label_fingerprint: of the files, so that what was replaced is extracted again.
    shard: the shard that it belongs into (slides of one array file), or None: any.
    label: needed for a segmentation only.
    """

    path: Path
    fingerprint: str
    shard: str | None = None
    label: LabelRow | None = None
    label_fingerprint: str | None = None


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

    store, ledger: as StoreWriter. classes: names of the recipe's classes 0, 1, ... code: a digest of what
    else decides the pixels (the reading code and its libraries), see `reading_code`. rules: how labels are
    read; given for a segmentation, whose masks make a second store inside the first (see store.MASKS).
    """

    store: Path
    ledger: Path
    form: StoreFormat
    max_shards: int
    classes: tuple[str, ...]
    code: str
    rules: LabelRules | None = None
    decode_threads: int = 1
    memory_mib: int = 256

    @property
    def names(self) -> tuple[str, ...]:
        """What the labels 0, 1, ... of the patches are called."""
        return self.classes if self.rules is None else GROUND

    def images(self) -> StoreWriter:
        """Return the writer of the patches' pixels."""
        return StoreWriter(self.store, self.ledger, self.form)

    def masks(self) -> StoreWriter:
        """Return the writer of the masks; its ledger lies beside the other, which keeps nothing but its own notes."""
        form = StoreFormat(self.form.backend, "mask", 0, self.form.patch_px)
        return StoreWriter(self.store / MASKS, self.ledger.with_name(f"{self.ledger.name}.{MASKS}"), form)


@dataclass(frozen=True)
class ShardJob:
    """One shard to write: plain values, so that it travels to another process."""

    name: str
    slides: tuple[SlidePatches, ...]
    plan: StorePlan


@dataclass(frozen=True)
class Written:
    """The facts of a written shard, of the shard of its masks (a segmentation's), and how its patches were made."""

    images: ShardInfo
    masks: ShardInfo | None
    facts: ShardFacts


def shard_jobs(sample: pd.DataFrame, sources: Mapping[str, SlideSource], plan: StorePlan) -> list[ShardJob]:
    """Return one job per shard, sorted by name. sample: records.SAMPLE rows. sources: by slide_id.

    Raises:
        AcinusError: a slide without a source; patches of another size than the store's; a label that is no class.
    """
    groups = sample.groupby("slide_id", sort=True)
    by_slide = {str(slide): _slide_patches(str(slide), rows, sources, plan) for slide, rows in groups}
    shards = plan_shards((slide for slide, own in by_slide.items() if own.source.shard is None), plan.max_shards)
    for slide, own in by_slide.items():
        if own.source.shard is not None:
            shards.setdefault(own.source.shard, []).append(slide)
    return [
        ShardJob(name, tuple(by_slide[slide] for slide in sorted(slides)), plan)
        for name, slides in sorted(shards.items())
    ]


def _slide_patches(
    slide_id: str, rows: pd.DataFrame, sources: Mapping[str, SlideSource], plan: StorePlan
) -> SlidePatches:
    source = sources.get(slide_id)
    if source is None or (plan.rules is not None and source.label is None):
        what = "not" if source is None else "has no label"
        raise AcinusError(f"slide {slide_id}: in the sample but {what} in the manifest; run ingest and what follows")
    downsamples, edges = rows["downsample"].unique(), rows["patch_px"].unique()
    if len(downsamples) != 1 or list(edges) != [plan.form.patch_px]:
        raise AcinusError(
            f"slide {slide_id}: patches of downsample {list(downsamples)} and {list(edges)} px, expected one "
            f"downsample and {plan.form.patch_px} px; run index and sample again"
        )
    labels = rows["label"]
    if not labels.between(0, len(plan.names) - 1).all():
        raise AcinusError(
            f"slide {slide_id}: label {int(labels.min())} is none of classes {list(plan.names)}; run sample again"
        )
    ordered = rows.sort_values(["y0", "x0"])
    places = zip(ordered["x0"].tolist(), ordered["y0"].tolist(), ordered["label"].tolist(), strict=True)
    return SlidePatches(slide_id, source, float(downsamples[0]), tuple(places))


def identity_of(job: ShardJob) -> str:
    """Return a digest of all that decides the bytes of the shard's pixels; of another identity it is written again."""
    slides = [[slide.slide_id, slide.source.fingerprint, slide.downsample, slide.places] for slide in job.slides]
    return _digest([VERSION, asdict(job.plan.form), job.plan.names, job.plan.code, slides])


def masks_identity_of(job: ShardJob) -> str:
    """Return a digest of all that decides the bytes of the shard's masks: labels and their rules, not the pixels."""
    slides = [[slide.slide_id, _label_facts(slide.source), slide.downsample, slide.places] for slide in job.slides]
    rules = asdict(job.plan.rules) if job.plan.rules is not None else None
    return _digest([VERSION, asdict(job.plan.masks().form), job.plan.names, job.plan.code, rules, slides])


def _label_facts(source: SlideSource) -> list[Any]:
    """Return what of a label decides a mask; not its path, which differs between machines."""
    if source.label is None:
        return []
    facts = asdict(source.label)
    return [source.label_fingerprint, sorted((key, value) for key, value in facts.items() if key != "path")]


def _digest(facts: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def write_shard_of(job: ShardJob) -> Written:
    """Write the shard of a job and return its facts, or only return them where it is there already, undamaged.

    A segmentation's masks are a shard of the same name and keys in the store of masks.

    Raises:
        SlideError: a slide, a tile of it or its label cannot be read; names the slide. Nothing is left of the shard.
        AcinusError: the store cannot be written.
    """
    images, identity = job.plan.images(), identity_of(job)
    own, facts = images.finished(job.name, identity), _facts_of(images, job.name)
    if own is None or facts is None:
        tally = Tally()
        with closing(encoded(_read(job, tally), job.plan.form, job.plan.decode_threads, tally)) as patches:
            own = images.write_shard(job.name, identity, patches, lambda: asdict(tally.facts()))
        facts = tally.facts()
    if job.plan.rules is None:
        return Written(own, None, facts)
    masks, identity = job.plan.masks(), masks_identity_of(job)
    found = masks.finished(job.name, identity)
    if found is None:
        images.reopen()  # pixels without their masks are no finished store
        found = masks.write_shard(job.name, identity, _read_masks(job, job.plan.rules))
    return Written(own, found, facts)


def _facts_of(images: StoreWriter, shard: str) -> ShardFacts | None:
    """Return how the patches of a shard were made, as noted when it was written; None where nothing readable is."""
    try:
        return TypeAdapter(ShardFacts).validate_python(images.about(shard))
    except ValidationError:
        return None


def _read(job: ShardJob, tally: Tally) -> Iterator[Patch]:
    """Yield (key, class name, pixels or bytes) of every patch of a job, slide by slide."""
    edge, plan = job.plan.form.patch_px, job.plan
    how = Reading(plan.form.codec, plan.decode_threads, plan.memory_mib)
    for own in job.slides:
        with open_slide(own.source.path, own.slide_id) as slide:
            at = at_downsample(slide.level_downsamples, own.downsample)
            corners = _corners(own)
            _check_on_slide(slide, corners, edge * own.downsample)
            check_under(slide, at, corners[:, 0], corners[:, 1], edge * own.downsample)
            for number, patch in patches_of(slide, at, corners, edge, how, tally):
                x0, y0, label = own.places[number]
                yield patch_key(own.slide_id, x0, y0), plan.names[label], patch


def _read_masks(job: ShardJob, rules: LabelRules) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (key, class name, class indices) of every patch of a job."""
    for own in job.slides:
        assert own.source.label is not None  # shard_jobs refuses a slide without
        corners = _corners(own)
        labels = open_labels(own.source.label, rules)
        windows = labels.windows(corners[:, 0], corners[:, 1], job.plan.form.patch_px, own.downsample)
        for (x0, y0, label), window in zip(own.places, windows, strict=True):
            yield patch_key(own.slide_id, x0, y0), job.plan.names[label], window


def _corners(own: SlidePatches) -> np.ndarray:
    """Return int64 (n, 2): x0, y0 of the patches, level-0 px."""
    return np.array(own.places, dtype=np.int64).reshape(-1, 3)[:, :2]


def _check_on_slide(slide: SlidePixels, corners: np.ndarray, edge0: float) -> None:
    """Refuse a patch of which no pixel is on the slide; one that hangs over a border is legal."""
    beyond = (corners >= (slide.width, slide.height)) | (corners + edge0 <= 0)
    if beyond.any():
        x0, y0 = corners[int(beyond.any(axis=1).argmax())].tolist()
        raise SlideError(
            f"slide {slide.slide_id}: patch at level-0 px ({x0}, {y0}) lies outside "
            f"{slide.width} x {slide.height}; the slide was replaced: run ingest and what follows"
        )


def reading_code(codec: str) -> str:
    """Return a digest of the code that makes pixels and bytes: what this module imports, and its libraries.

    What cuts JPEGs counts for the codec source alone: with it, or with another version, bytes differ.
    """
    others = {"openslide": openslide.__library_version__}
    if codec == "source":
        others[PACKAGE] = cutter_version()
    return _digest([code_digest(__name__), others])
