"""Writing a patch store: shard by shard, each whole or absent, resumable, the same bytes every time."""

import hashlib
import math
import shutil
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from acinus.errors import AcinusError
from acinus.files import atomic_path, read_json, sha256, write_json
from acinus.patches.codec import JPEG_CODECS, PatchDataError, decode, encode
from acinus.patches.facts import SAMPLED, ShardFacts, Tally
from acinus.patches.shard import Span, Spool
from acinus.patches.store import (
    BACKENDS,
    INDEX_FILE,
    VERSION,
    ShardInfo,
    StoreFormat,
    StoreIndex,
    damage_of,
    size_damage,
)
from acinus.records import is_safe_id
from acinus.threads import mapped_ahead

Patch = tuple[str, str, np.ndarray | bytes | Span]
"""(key, class name, pixels, or what is encoded already: bytes, or where they lie)."""


@dataclass(frozen=True)
class Note:
    """A finished shard in the ledger. identity: a digest of all that it was made from. about: how it was made."""

    identity: str
    shard: ShardInfo
    about: ShardFacts | None


def encoded(patches: Iterable[Patch], form: StoreFormat, threads: int, tally: Tally) -> Generator[Patch, None, None]:
    """Yield (key, class name, bytes) of every patch in the order given; what is encoded passes as it is.

    Every SAMPLED-th encoded patch of a codec that loses something is decoded again; `tally` takes its loss.

    Raises:
        AcinusError: a patch of another size than the store's, or of another kind than the codec's.
    """

    def encode_one(patch: Patch) -> tuple[str, str, bytes, list[float | None]]:
        key, label, image = patch
        assert isinstance(image, np.ndarray)
        data = encoded_patch(key, image, form)
        measured = form.codec in JPEG_CODECS and is_sampled(key)
        return key, label, data, [psnr_db(image, decode(data, form.codec))] if measured else []

    for ready, run in groupby(patches, key=lambda patch: not isinstance(patch[2], np.ndarray)):
        if ready:
            yield from run
            continue
        for key, label, data, losses in mapped_ahead(encode_one, run, threads):
            tally.losses_db += losses
            yield key, label, data


def encoded_patch(key: str, image: np.ndarray, form: StoreFormat) -> bytes:
    """Return the bytes of one patch. AcinusError: another size than the store's, or another kind than the codec's."""
    edge = form.patch_px
    if image.shape[:2] != (edge, edge):
        raise AcinusError(f"patch {key} has shape {image.shape}, expected ({edge}, {edge}, ...); check patch_px")
    try:
        return encode(image, form.codec, form.quality)
    except PatchDataError as error:
        raise PatchDataError(f"patch {key}: {error}") from error


def is_sampled(key: str) -> bool:
    """Return whether an encoded patch is one of those that are decoded again: the same ones in every run."""
    return hashlib.blake2b(key.encode(), digest_size=64).digest()[0] % SAMPLED == 0


def psnr_db(image: np.ndarray, back: np.ndarray) -> float | None:
    """Return the peak signal-to-noise ratio of uint8 images in dB, 10 log10(255² / mean squared error); None: equal."""
    difference = image.astype(np.int32) - back
    squares = int(np.square(difference, out=difference).sum(dtype=np.int64))
    return 10 * math.log10(255**2 * image.size / squares) if squares else None


def plan_shards(slide_ids: Iterable[str], max_shards: int) -> dict[str, list[str]]:
    """Return shard name -> the slides it holds whole, sorted: one each while there are at most `max_shards`.

    Beyond that by hash of the slide_id, so that a slide more in the cohort leaves the others where they are.
    """
    slides = sorted(set(slide_ids))
    if len(slides) <= max_shards:
        return {slide: [slide] for slide in slides}
    shards: dict[str, list[str]] = {}
    for slide in slides:
        number = int.from_bytes(hashlib.blake2b(slide.encode(), digest_size=8).digest(), "big") % max_shards
        shards.setdefault(f"shard-{number:05d}", []).append(slide)
    return dict(sorted(shards.items()))


class StoreWriter:
    """Writes shards into a store and remembers which are finished, and from what they were made.

    folder: of the store, which holds nothing but patches, shards and store.json. ledger: a folder
    outside the store, one small file per finished shard, written after it: what makes a killed extract
    go on where it was. It lies outside since an identity covers more (the code, say) than the bytes
    depend on, and equal stores should be equal folders. Several processes may write different shards.
    """

    def __init__(self, folder: Path, ledger: Path, form: StoreFormat) -> None:
        self.folder = folder
        self.ledger = ledger
        self.form = form
        self._backend = BACKENDS[form.backend]

    def write_shard(self, name: str, identity: str, patches: Iterable[Patch], tally: Tally | None = None) -> ShardInfo:
        """Write one shard from (key, class name, patch) in any order; replaces an old one.

        A patch is uint8 (patch_px, patch_px, 3), of the codec mask (patch_px, patch_px), or what it is encoded
        as: bytes, or a span. identity: a digest of all that the patches were made from, for `finished`. tally: what
        the ledger notes of how they were made, asked for after the last patch.

        Raises:
            AcinusError: a patch of another size, a key twice, an unsafe name, a folder that cannot be written; a
                slide that changed while it was read.
        """
        if not is_safe_id(name):
            raise AcinusError(f"shard name {name!r} is not safe as a file name; rename the slide")
        place = self.form.place(self.folder, name)
        with atomic_path(place.file(self._backend.suffix)) as part, Spool(part.parent) as spool:
            for key, label, image in patches:
                spool.add(key, label, encoded_patch(key, image, self.form) if isinstance(image, np.ndarray) else image)
            self._note(name).unlink(missing_ok=True)
            self.reopen()
            self._backend.write(part, place, spool)
            entries = len(spool.entries())
            info = ShardInfo(name, entries, part.stat().st_size, sha256(part), spool.slides(), spool.classes())
        write_json(self._note(name), asdict(Note(identity, info, tally.facts() if tally is not None else None)))
        return info

    def finished(self, name: str, identity: str) -> Note | None:
        """Return what the ledger says of a shard that was written whole from the same identity and is undamaged."""
        if not self._note(name).is_file():
            return None
        try:
            note = TypeAdapter(Note).validate_python(read_json(self._note(name)))
        except (AcinusError, ValidationError):  # a damaged note is no note: the shard is written again
            return None
        if (note.identity, note.shard.name) != (identity, name) or damage_of(self.folder, self.form, note.shard):
            return None
        return note

    def finish(self, shards: Iterable[ShardInfo]) -> StoreIndex:
        """Write store.json over these shards and delete all that is not of them. Called once, at the end.

        Raises:
            AcinusError: a shard that is not there, or a slide in two of them.
        """
        ordered = sorted(shards, key=lambda shard: shard.name)
        self._check_plan(ordered)
        self.reopen()
        self._sweep(ordered)
        classes: Counter[str] = Counter()
        for shard in ordered:
            classes.update(shard.classes)
        form, count = self.form, sum(shard.count for shard in ordered)
        quality = form.quality if form.codec in JPEG_CODECS else None
        index = StoreIndex(
            VERSION, form.backend, form.codec, quality, form.patch_px, count, dict(classes), tuple(ordered)
        )
        write_json(self.folder / INDEX_FILE, asdict(index))
        return index

    def reopen(self) -> None:
        """Take back the word that the store is finished, if it was given."""
        (self.folder / INDEX_FILE).unlink(missing_ok=True)

    def _check_plan(self, shards: list[ShardInfo]) -> None:
        """Refuse shards that are not there (a look at their sizes; their bytes were checked when they were made)."""
        home: dict[str, str] = {}
        for shard in shards:
            place = self.form.place(self.folder, shard.name)
            if misfit := size_damage(place.file(self._backend.suffix), shard):
                raise AcinusError(f"{self.folder}: {misfit}; run extract again (dvc repro)")
            for slide in shard.slides:
                if slide in home:
                    raise AcinusError(
                        f"{self.folder}: slide {slide} is in shards {home[slide]} and {shard.name}; "
                        "a shard holds whole slides: delete the store and run extract"
                    )
                home[slide] = shard.name

    def _note(self, name: str) -> Path:
        return self.ledger / f"{name}.json"

    def _sweep(self, shards: list[ShardInfo]) -> None:
        """Delete shards that are not planned, files of another backend and what a killed process left."""
        places = [self.form.place(self.folder, shard.name) for shard in shards]
        _delete_all_but({place.file(self._backend.suffix) for place in places}, self.folder / "shards")
        images = self.folder / "images"
        for label in sorted(images.iterdir()) if images.is_dir() else []:
            folders = {label / shard.name for shard in shards if label.name in shard.classes}
            _delete_all_but(folders if self._backend.image_files else set(), label)
            if label.is_dir() and not any(label.iterdir()):
                label.rmdir()
        if images.is_dir() and not any(images.iterdir()):
            images.rmdir()
        _delete_all_but({self._note(shard.name) for shard in shards}, self.ledger)
        for left in sorted(self.folder.glob(f".{INDEX_FILE}.*.part")):
            _delete(left)


def _delete_all_but(keep: set[Path], folder: Path) -> None:
    if not folder.is_dir():
        _delete(folder)
        return
    for path in sorted(folder.iterdir()):
        if path not in keep:
            _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
