"""From sampled patches to a store: how the work is cut into shards, what a worker does for one, and the store's end.

The end: the masks' store, the lists of image and mask files, and last of all store.json.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import openslide
import pandas as pd

from acinus.code import code_digest
from acinus.errors import AcinusError, SlideError
from acinus.files import write_text
from acinus.labels.labels import LabelRow, LabelRules, open_labels
from acinus.params import Split
from acinus.patches.facts import ShardFacts, Tally
from acinus.patches.files_store import image_path
from acinus.patches.keys import patch_key
from acinus.patches.lossless import PACKAGE, cutter_version
from acinus.patches.reading import patches_of
from acinus.patches.store import BACKENDS, MASKS, VERSION, ShardInfo, StoreFormat, StoreIndex
from acinus.patches.writer import Patch, StoreWriter, encoded, plan_shards
from acinus.slides.geometry import at_downsample
from acinus.slides.open import SlidePixels, open_slide
from acinus.slides.tiles import check_under

GROUND = ("background", "foreground")
"""What the labels 0 and 1 of a segmentation's patches are called."""

LIST_COLUMNS = ("image", "mask", "slide_id", "x0", "y0")
"""Of a list of image and mask files."""


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

    @property
    def corners(self) -> np.ndarray:
        """int64 (n, 2): x0, y0 of the patches, level-0 px."""
        return np.array(self.places, dtype=np.int64).reshape(-1, 3)[:, :2]


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
    free = [slide for slide, patches in by_slide.items() if patches.source.shard is None]
    shards = plan_shards(free, plan.max_shards)
    for slide, patches in by_slide.items():
        if patches.source.shard is not None:
            shards.setdefault(patches.source.shard, []).append(slide)
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
    slides = []
    for slide in job.slides:
        label_facts: list[Any] = []
        if slide.source.label is not None:  # not its path, which differs between machines
            facts = sorted((key, value) for key, value in asdict(slide.source.label).items() if key != "path")
            label_facts = [slide.source.label_fingerprint, facts]
        slides.append([slide.slide_id, label_facts, slide.downsample, slide.places])
    rules = asdict(job.plan.rules) if job.plan.rules is not None else None
    return _digest([VERSION, asdict(job.plan.masks().form), job.plan.names, job.plan.code, rules, slides])


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
    note = images.finished(job.name, identity)
    if note is not None and note.about is not None:
        info, facts = note.shard, note.about
    else:
        tally = Tally()
        with closing(encoded(_read(job, tally), job.plan.form, job.plan.decode_threads, tally)) as patches:
            info = images.write_shard(job.name, identity, patches, tally)
        facts = tally.facts()
    if job.plan.rules is None:
        return Written(info, None, facts)
    masks, identity = job.plan.masks(), masks_identity_of(job)
    if mask_note := masks.finished(job.name, identity):
        return Written(info, mask_note.shard, facts)
    images.reopen()  # pixels without their masks are no finished store
    return Written(info, masks.write_shard(job.name, identity, _read_masks(job, job.plan.rules)), facts)


def _read(job: ShardJob, tally: Tally) -> Iterator[Patch]:
    """Yield (key, class name, pixels or bytes) of every patch of a job, slide by slide."""
    plan = job.plan
    for patches in job.slides:
        with open_slide(patches.source.path, patches.slide_id) as slide:
            at = at_downsample(slide.level_downsamples, patches.downsample)
            corners, edge0 = patches.corners, plan.form.patch_px * patches.downsample
            _check_on_slide(slide, corners, edge0)
            check_under(slide, at, corners[:, 0], corners[:, 1], edge0)
            made = patches_of(slide, at, corners, plan.form, tally, plan.decode_threads, plan.memory_mib)
            for number, patch in made:
                x0, y0, label = patches.places[number]
                yield patch_key(patches.slide_id, x0, y0), plan.names[label], patch


def _read_masks(job: ShardJob, rules: LabelRules) -> Iterator[Patch]:
    """Yield (key, class name, class indices) of every patch of a job."""
    for patches in job.slides:
        assert patches.source.label is not None  # shard_jobs refuses a slide without
        x0s, y0s = patches.corners.T
        labels = open_labels(patches.source.label, rules)
        windows = labels.windows(x0s, y0s, job.plan.form.patch_px, patches.downsample)
        for (x0, y0, label), window in zip(patches.places, windows, strict=True):
            yield patch_key(patches.slide_id, x0, y0), job.plan.names[label], window


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


def finish_stores(plan: StorePlan, written: Iterable[Written], sample: pd.DataFrame) -> StoreIndex:
    """Finish the store over these shards, which are all of the sample's, and return what its store.json says.

    A segmentation's masks are finished first; with a backend of image files, train.csv, val.csv and
    test.csv list every image beside its mask, by paths relative to the store. What a former run of
    another kind left (masks, lists) is deleted. Called once, at the end.

    Raises:
        AcinusError: a shard that is not there, or a slide in two of them.
    """
    shards = list(written)
    images, masks = plan.images(), plan.masks()
    images.reopen()
    if plan.rules is not None:
        masks.finish(shard.masks for shard in shards if shard.masks is not None)
    else:
        for folder in (masks.folder, masks.ledger):
            if folder.is_dir():
                shutil.rmtree(folder)
    for split in get_args(Split):
        file = plan.store / f"{split}.csv"
        file.unlink(missing_ok=True)
        for left in sorted(plan.store.glob(f".{file.name}.*.part")):  # by a run that was killed
            shutil.rmtree(left)
        if plan.rules is not None and BACKENDS[plan.form.backend].image_files:
            write_text(file, _list(plan, [shard.images for shard in shards], sample[sample["split"] == split]))
    return images.finish(shard.images for shard in shards)


def _list(plan: StorePlan, shards: list[ShardInfo], rows: pd.DataFrame) -> str:
    """Return the CSV of one split, slide by slide and row by row."""
    shard_of = {slide: shard.name for shard in shards for slide in shard.slides}
    stores = plan.images(), plan.masks()
    lines = []
    ordered = rows.sort_values(["slide_id", "y0", "x0"])[["slide_id", "x0", "y0", "label"]]
    for slide_id, x0, y0, label in ordered.itertuples(index=False, name=None):
        key = patch_key(slide_id, x0, y0)
        places = [store.form.place(store.folder, shard_of[slide_id]) for store in stores]
        files = [image_path(place, plan.names[label], key).relative_to(plan.store).as_posix() for place in places]
        lines.append([*files, slide_id, x0, y0])
    return pd.DataFrame(lines, columns=LIST_COLUMNS).to_csv(index=False, lineterminator="\n")
