"""Shards as image files: images/<class>/<shard>/<slide_id>_<x0>_<y0>.png, which torchvision's ImageFolder reads.

A folder per shard inside each class folder is what makes a shard whole or absent: a folder is renamed in
one step, hundreds of images are not. ImageFolder walks into it and takes the class from the first folder.
The shard's own file lists its images with their classes and checksums.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from acinus.errors import AcinusError
from acinus.files import atomic_path, sha256
from acinus.patches.keys import file_stem
from acinus.patches.shard import Backend, Place, Spool, StoreDamageError
from acinus.records import is_safe_id

SUFFIX = ".tsv"
_HEAD = "key\tclass\tsha256\n"


def _write(part: Path, place: Place, spool: Spool) -> None:
    """Write the images, class by class, then their list."""
    for folder in _class_folders(place):
        shutil.rmtree(folder)
    lines = {}
    for label in spool.classes():
        with atomic_path(place.images / label / place.name) as folder:
            folder.mkdir()
            for entry in (entry for entry in spool.entries() if entry.label == label):
                data = spool.data(entry)
                (folder / f"{file_stem(entry.key)}{place.image_suffix}").write_bytes(data)
                lines[entry.key] = f"{entry.key}\t{label}\t{hashlib.sha256(data).hexdigest()}\n"
    part.write_text(_HEAD + "".join(lines[key] for key in sorted(lines)), encoding="ascii")


def _listed(place: Place) -> dict[str, tuple[Path, str]]:
    """Return key -> (image file, SHA-256) from the shard's list."""
    try:
        head, *lines = place.file(SUFFIX).read_text(encoding="ascii").splitlines(keepends=True)
        rows = [line.removesuffix("\n").split("\t") for line in lines]
        if head != _HEAD or not all(is_safe_id(label) for _, label, _ in rows):
            raise ValueError("not a list of images")
        return {key: (image_path(place, label, key), digest) for key, label, digest in rows}
    except (OSError, ValueError, AcinusError) as error:
        raise StoreDamageError(f"shard {place.name} does not open ({error})") from error


def image_path(place: Place, label: str, key: str) -> Path:
    """Return where the image of a key of this shard and class lies."""
    return place.images / label / place.name / f"{file_stem(key)}{place.image_suffix}"


class _FilesReader:
    def __init__(self, place: Place) -> None:
        self._name = place.name
        self._listed = _listed(place)

    def each(self, keys: Sequence[str]) -> Iterator[bytes | memoryview | None]:
        for key in keys:
            if key not in self._listed:
                yield None
                continue
            path, _ = self._listed[key]
            try:
                data = path.read_bytes()
            except OSError as error:
                raise StoreDamageError(f"shard {self._name}: {path.name} cannot be read ({error.strerror})") from error
            yield data

    def keys(self) -> list[str]:
        return sorted(self._listed)

    def close(self) -> None:
        self._listed = {}


def _check(place: Place) -> None:
    """Hold every image against its checksum; a missing image is damage, and so is one that nobody listed."""
    listed = _listed(place)
    for path, digest in listed.values():
        if not path.is_file():
            raise StoreDamageError(f"shard {place.name}: {path.name} is missing")
        if sha256(path) != digest:
            raise StoreDamageError(f"shard {place.name}: {path.name} has other bytes than were written")
    written = {path for path, _ in listed.values()}
    for folder in _class_folders(place):
        for path in sorted(folder.rglob("*")):
            if path not in written:
                raise StoreDamageError(f"shard {place.name}: {path.name} was never written")


def _class_folders(place: Place) -> list[Path]:
    """Return the shard's folder in every class folder that has one."""
    return [folder for folder in sorted(place.images.glob(f"*/{place.name}")) if folder.is_dir()]


BACKEND = Backend(SUFFIX, _write, _FilesReader, _check, image_files=True)
