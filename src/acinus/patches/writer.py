"""Writing a patch store: shard by shard, each whole or absent, resumable, the same bytes every time."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from acinus.errors import AcinusError
from acinus.files import atomic_path, read_json, sha256, write_json
from acinus.patches.codec import JPEG_CODECS
from acinus.patches.encoding import Patch, encoded_patch
from acinus.patches.shard import Spool
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

    def write_shard(
        self, name: str, identity: str, patches: Iterable[Patch], about: Callable[[], Any] = lambda: None
    ) -> ShardInfo:
        """Write one shard from (key, class name, patch) in any order; replaces an old one.

        A patch is uint8 (patch_px, patch_px, 3), of the codec mask (patch_px, patch_px), or what it is encoded
        as: bytes, or a span. identity: a digest of all that the patches were made from, for `finished`. about: what
        else to note of the shard in the ledger (plain values), asked for after its last patch.

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
            self._forget(name)
            self._backend.write(part, place, spool)
            entries = len(spool.entries())
            info = ShardInfo(name, entries, part.stat().st_size, sha256(part), spool.slides(), spool.classes())
        write_json(self._note(name), {"identity": identity, "shard": asdict(info), "about": about()})
        return info

    def about(self, name: str) -> Any:
        """Return what write_shard was told to note of a shard; None where there is no such note."""
        try:
            note = read_json(self._note(name))
        except AcinusError:
            return None
        return note.get("about") if isinstance(note, dict) else None

    def finished(self, name: str, identity: str) -> ShardInfo | None:
        """Return the shard's facts where it was written whole from the same identity and is undamaged, else None."""
        path = self._note(name)
        if not path.is_file():
            return None
        try:
            note = read_json(path)
            if not isinstance(note, dict) or note.get("identity") != identity:
                return None
            info = TypeAdapter(ShardInfo).validate_python(note.get("shard"))
        except (AcinusError, ValidationError):  # a damaged note is no note: the shard is written again
            return None
        if info.name != name or damage_of(self.folder, self.form, info):
            return None
        return info

    def finish(self, shards: Iterable[ShardInfo]) -> StoreIndex:
        """Write store.json over these shards and delete all that is not of them. Called once, at the end.

        Raises:
            AcinusError: a shard that is not there, or a slide in two of them.
        """
        ordered = sorted(shards, key=lambda shard: shard.name)
        self._check_plan(ordered)
        self.reopen()
        self._sweep(ordered)
        index = _index(self.form, ordered)
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

    def _forget(self, name: str) -> None:
        """Take back the word that this shard, and so the store, is finished."""
        self._note(name).unlink(missing_ok=True)
        self.reopen()

    def _sweep(self, shards: list[ShardInfo]) -> None:
        """Delete shards that are not planned, files of another backend and what a killed process left."""
        names = {shard.name for shard in shards}
        keep = {self.form.place(self.folder, name).file(self._backend.suffix) for name in names}
        _delete_all_but(keep, self.folder / "shards")
        images = self.folder / "images"
        for label in sorted(images.iterdir()) if images.is_dir() else []:
            own = {label / shard.name for shard in shards if label.name in shard.classes}
            _delete_all_but(own if self._backend.image_files else set(), label)
            if label.is_dir() and not any(label.iterdir()):
                label.rmdir()
        if images.is_dir() and not any(images.iterdir()):
            images.rmdir()
        _delete_all_but({self._note(name) for name in names}, self.ledger)
        for left in sorted(self.folder.glob(f".{INDEX_FILE}.*.part")):
            _delete(left)


def _index(form: StoreFormat, shards: list[ShardInfo]) -> StoreIndex:
    classes: dict[str, int] = {}
    for shard in shards:
        for label, count in shard.classes.items():
            classes[label] = classes.get(label, 0) + count
    quality = form.quality if form.codec in JPEG_CODECS else None
    count = sum(shard.count for shard in shards)
    return StoreIndex(VERSION, form.backend, form.codec, quality, form.patch_px, count, classes, tuple(shards))


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
