"""What a shard is, whatever keeps it: encoded patches in the order of their keys, and the backend's four functions."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from acinus.errors import AcinusError
from acinus.patches.keys import parse_key
from acinus.records import is_safe_id


class StoreDamageError(AcinusError):
    """A patch store, or a part of it, that does not hold what was written; the text names shard or key."""


@dataclass(frozen=True)
class Place:
    """Where one shard lies. image_suffix: of its codec as an image file ("" where it is none)."""

    folder: Path  # of the store
    name: str
    image_suffix: str

    def file(self, suffix: str) -> Path:
        """Return the shard's file (of the files backend: the list of its images)."""
        return self.folder / "shards" / f"{self.name}{suffix}"

    @property
    def images(self) -> Path:
        """The folder of class folders that ImageFolder reads (files backend)."""
        return self.folder / "images"


@dataclass(frozen=True, order=True)
class Entry:
    """One encoded patch in a spool."""

    key: str
    label: str
    offset: int
    size: int


class Spool:
    """Encoded patches on their way into a shard: added in any order, read in the order of their keys.

    The bytes wait in a nameless file, so that memory does not grow with the shard and a killed process
    leaves nothing. A context manager. folder: on the disk of the store.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._entries: dict[str, Entry] = {}
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, key: str, label: str, data: bytes) -> None:
        """Take one encoded patch.

        Raises:
            AcinusError: a key that is none or comes twice; a class name that cannot be a folder.
        """
        parse_key(key)
        if key in self._entries:
            raise AcinusError(f"patch {key} comes twice; keys of a store must be unique: check the sample table")
        if not is_safe_id(label):
            raise AcinusError(f"class {label!r}: expected a name of letters, digits, _ and -; change classes")
        self._file.write(data)
        self._entries[key] = Entry(key, label, self._end, len(data))
        self._end += len(data)

    def entries(self) -> list[Entry]:
        """Return every entry in the order of the keys."""
        return sorted(self._entries.values())

    def data(self, entry: Entry) -> bytes:
        """Return the bytes of an entry."""
        self._file.seek(entry.offset)
        return self._file.read(entry.size)

    def slides(self) -> tuple[str, ...]:
        """Return the ids of the slides that the patches are of, sorted."""
        return tuple(sorted({parse_key(key)[0] for key in self._entries}))

    def classes(self) -> dict[str, int]:
        """Return the number of patches per class."""
        counts: dict[str, int] = {}
        for entry in self.entries():
            counts[entry.label] = counts.get(entry.label, 0) + 1
        return dict(sorted(counts.items()))


class Reader(Protocol):
    """One open shard."""

    def get(self, key: str) -> bytes | None:
        """Return the encoded patch, or None where there is no such key. StoreDamageError: it cannot be read."""

    def keys(self) -> list[str]:
        """Return every key, sorted."""

    def close(self) -> None:
        """Let go of the file."""


@dataclass(frozen=True)
class Backend:
    """One way to keep a shard.

    write(part, place, spool) writes the shard's file to the temporary path `part`.
    open(place) gives a Reader of a shard whose file has its full size.
    check(place) raises StoreDamageError for what the checksum of the shard's file does not cover.
    remove(place) deletes what the shard has besides its file.
    image_files: every patch is an image file of its own, which not every codec can be.
    """

    suffix: str
    write: Callable[[Path, Place, Spool], None]
    open: Callable[[Place], Reader]
    check: Callable[[Place], None]
    remove: Callable[[Place], None]
    image_files: bool = False


def nothing_beside(place: Place) -> None:
    """The `check` and `remove` of a backend whose shard is one file."""
