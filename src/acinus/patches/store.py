"""The patch store: shards of encoded patches behind one interface, whatever keeps them."""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from acinus.errors import AcinusError
from acinus.files import read_json, sha256
from acinus.params.faults import no_image_files
from acinus.patches import files_store, hdf5_store, lmdb_store
from acinus.patches.codec import PatchDataError, codec_of, decode
from acinus.patches.keys import parse_key
from acinus.patches.shard import Backend, Place, Reader, StoreDamageError
from acinus.records import is_safe_id

VERSION = 1
INDEX_FILE = "store.json"
MASKS = "masks"
"""The folder, inside the image store of a segmentation, of the store that keeps its masks by the same keys."""

MAX_OPEN = 32

BACKENDS: dict[str, Backend] = {
    "lmdb": lmdb_store.BACKEND,
    "hdf5": hdf5_store.BACKEND,
    "files": files_store.BACKEND,
}


@dataclass(frozen=True)
class StoreFormat:
    """How patches are kept. patch_px: edge of every patch. quality: of JPEG only. codec mask: class indices.

    Raises:
        AcinusError: the files backend with a codec that makes no image files.
    """

    backend: Literal["lmdb", "hdf5", "files"]
    codec: Literal["jpeg", "png", "raw", "source", "mask"]
    quality: int
    patch_px: int

    def __post_init__(self) -> None:
        if BACKENDS[self.backend].image_files and not codec_of(self.codec).suffix:
            raise AcinusError(no_image_files(self.codec, self.backend))

    def place(self, folder: Path, shard: str) -> Place:
        """Return where a shard lies in the store at `folder`."""
        return Place(folder, shard, codec_of(self.codec).suffix)


@dataclass(frozen=True)
class ShardInfo:
    """What a finished shard holds. bytes, sha256: of its file. classes: patches per class."""

    name: str
    count: int
    bytes: int
    sha256: str
    slides: tuple[str, ...]
    classes: dict[str, int]


@dataclass(frozen=True)
class StoreIndex:
    """store.json: what the store is and what it holds. The shards are sorted by name."""

    version: int
    backend: Literal["lmdb", "hdf5", "files"]
    codec: Literal["jpeg", "png", "raw", "source", "mask"]
    jpeg_quality: int | None
    patch_px: int
    count: int
    classes: dict[str, int]
    shards: tuple[ShardInfo, ...]


def read_index(folder: Path) -> StoreIndex:
    """Return what store.json says. AcinusError: as open_store."""
    path = folder / INDEX_FILE
    if not path.is_file():
        raise AcinusError(
            f"{folder}: no finished patch store ({INDEX_FILE} is missing, it is written last); run extract (dvc repro)"
        )
    content: Any = read_json(path)
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        raise AcinusError(f"{path}: store version {version!r}, this program reads {VERSION}; run extract again")
    try:
        index = TypeAdapter(StoreIndex).validate_python(content)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise AcinusError(f"{path}: {where}: {error.errors()[0]['msg']}; delete the store and run extract") from error
    for shard in index.shards:
        if not is_safe_id(shard.name):
            raise AcinusError(f"{path}: shard name {shard.name!r} is not safe; delete the store and run extract")
    return index


class Store:
    """Patches by key, over the shards that store.json lists, of which at most MAX_OPEN are open at a time.

    Reads by one thread at a time. Safe to hand to other processes: a copy there, forked or spawned, opens its own
    files where they are first read.
    """

    def __init__(self, folder: Path, index: StoreIndex) -> None:
        self.folder = folder
        self.index = index
        self._backend = BACKENDS[index.backend]
        self._format = StoreFormat(index.backend, index.codec, index.jpeg_quality or 0, index.patch_px)
        self._shard_of = {slide: shard for shard in index.shards for slide in shard.slides}
        self._open: OrderedDict[str, Reader] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> tuple[Path, StoreIndex]:
        return self.folder, self.index

    def __setstate__(self, state: tuple[Path, StoreIndex]) -> None:
        Store.__init__(self, *state)

    def read(self, key: str) -> np.ndarray:
        """Return uint8 (patch_px, patch_px, 3), of masks (patch_px, patch_px). AcinusError: no such key, or damaged."""
        ((_, image),) = self.visit([key])
        return image

    def read_many(self, keys: Sequence[str]) -> np.ndarray:
        """Return what `read` gives of every key, stacked in their order; read in the order in which they lie."""
        edge = self.index.patch_px
        # one block and not an array per patch: those would each be new pages of memory, 100 us per 256-px patch
        images = np.empty((len(keys), edge, edge, *codec_of(self.index.codec).depth), dtype=np.uint8)
        for number, image in self.visit(keys):
            images[number] = image
        return images

    def visit(self, keys: Sequence[str]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number in `keys`, patch) of each, shard by shard and key by key, with one look into every shard."""
        places = sorted((self._shard(key).name, key, number) for number, key in enumerate(keys))
        for _, group in groupby(places, key=itemgetter(0)):
            _, shard_keys, numbers = zip(*group, strict=True)
            reader = self._reader(self._shard(shard_keys[0]))
            for number, key, data in zip(numbers, shard_keys, reader.each(shard_keys), strict=True):
                yield number, self._decoded(key, data)

    def _shard(self, key: str) -> ShardInfo:
        """Return the shard that the slide of a key is in. AcinusError: not a key, or no slide of this store."""
        shard = self._shard_of.get(key.partition("/")[0])
        if shard is None:
            raise self._missing(key)
        return shard

    def _missing(self, key: str) -> AcinusError:
        parse_key(key)  # not a key at all: says so. Only here, since a key that is found was checked as it was written
        return AcinusError(f"{self.folder}: no patch {key}; the sample is newer than the store: run extract")

    def _decoded(self, key: str, data: bytes | memoryview | None) -> np.ndarray:
        if data is None:
            raise self._missing(key)
        try:
            image = decode(data, self.index.codec)
        except PatchDataError as error:
            raise StoreDamageError(f"{self.folder}: patch {key} is {error}; run extract again (dvc repro)") from error
        if image.shape[:2] != (self.index.patch_px, self.index.patch_px):
            raise StoreDamageError(
                f"{self.folder}: patch {key} has {image.shape[1]} x {image.shape[0]} px, expected "
                f"{self.index.patch_px} x {self.index.patch_px}; run extract again (dvc repro)"
            )
        return image

    def keys(self) -> list[str]:
        """Return every key, sorted."""
        return sorted(key for shard in self.index.shards for key in self._reader(shard).keys())  # noqa: SIM118

    def verify(self) -> None:
        """Hold every byte against its checksum. StoreDamageError: one line that names every damaged shard."""
        self.close()
        damage = [what for shard in self.index.shards if (what := damage_of(self.folder, self._format, shard))]
        if damage:
            raise StoreDamageError(f"{self.folder}: {'; '.join(damage)}; run extract again (dvc repro)")

    def close(self) -> None:
        """Let go of open files; a later read opens them again."""
        while self._open:
            self._open.popitem()[1].close()

    def _reader(self, shard: ShardInfo) -> Reader:
        """Return the shard's reader, opening it (and letting go of the one longest unused) as needed."""
        if os.getpid() != self._process:  # a forked child shares its parent's file positions and library state
            self._open, self._process = OrderedDict(), os.getpid()
        if shard.name in self._open:
            self._open.move_to_end(shard.name)
            return self._open[shard.name]
        place = self._format.place(self.folder, shard.name)
        try:
            # a file cut short would be a bus error, not an exception, once it is mapped
            if misfit := size_damage(place.file(self._backend.suffix), shard):
                raise StoreDamageError(misfit)
            reader = self._backend.open(place)
        except StoreDamageError as error:
            raise StoreDamageError(f"{self.folder}: {error}; run extract again (dvc repro)") from error
        self._open[shard.name] = reader
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)[1].close()
        return reader


def open_store(folder: Path) -> Store:
    """Open a finished store for reading.

    Raises:
        AcinusError: no finished store there, a version that is not known, or a store.json that is none.
    """
    return Store(folder, read_index(folder))


def open_mask_store(folder: Path) -> Store:
    """Open the masks of the image store at `folder`: same keys, uint8 (patch_px, patch_px) class indices.

    Raises:
        AcinusError: as open_store; also where the image store itself is not finished.
    """
    read_index(folder)
    return open_store(folder / MASKS)


def damage_of(folder: Path, form: StoreFormat, shard: ShardInfo) -> str | None:
    """Return what is wrong with a shard on disk, named, or None where every byte is as written."""
    backend, place = BACKENDS[form.backend], form.place(folder, shard.name)
    path = place.file(backend.suffix)
    if misfit := size_damage(path, shard):
        return misfit
    if sha256(path) != shard.sha256:
        return f"shard {shard.name}: {path.name} has other bytes than were written"
    try:
        backend.check(place)
    except StoreDamageError as error:
        return str(error)
    return None


def size_damage(path: Path, shard: ShardInfo) -> str | None:
    """Return how a shard's file is missing or of another size than was written, or None."""
    if not path.is_file():
        return f"shard {shard.name}: {path.name} is missing"
    size = path.stat().st_size
    if size != shard.bytes:
        return f"shard {shard.name}: {path.name} has {size} bytes, expected {shard.bytes}"
    return None
