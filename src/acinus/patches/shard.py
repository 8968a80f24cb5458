"""What a shard is, whatever keeps it: encoded patches in the order of their keys, and the backend's four functions."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from acinus.errors import AcinusError
from acinus.patches.keys import parse_key
from acinus.patches.span import Span, SpanFiles
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


@dataclass(frozen=True, slots=True)
class Entry:
    """One encoded patch in a spool. size: bytes. offset: in its file, for what is not held in memory.

    origin: of a span, the number of its head and file (the offset is in that), else OWN_FILE.
    """

    key: str
    label: str
    offset: int
    size: int
    origin: int


OWN_FILE = -1
IN_MEMORY = 32 << 20
"""Bytes of a spool that need no file."""


class Spool:
    """Encoded patches on their way into a shard: added in any order, read in the order of their keys.

    The first IN_MEMORY bytes wait in memory, all others in a nameless file, so that memory does not grow with the
    shard and a killed process leaves nothing. Of a span only its place waits: its bytes are read where they lie, so
    that they are written once. A context manager. folder: on the disk of the store.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._entries: dict[str, Entry] = {}
        self._held: dict[str, bytes] = {}
        self._room, self._end = IN_MEMORY, 0
        self._spans = SpanFiles()
        self._origins: list[tuple[bytes, Path]] = []
        self._numbers: dict[tuple[bytes, Path], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._spans:
            self._file.close()

    def add(self, key: str, label: str, data: bytes | Span) -> None:
        """Take one encoded patch.

        Raises:
            AcinusError: a key that is none or comes twice; a class name that cannot be a folder; a span of a file that
                is not there.
        """
        parse_key(key)
        if key in self._entries:
            raise AcinusError(f"patch {key} comes twice; keys of a store must be unique: check the sample table")
        if not is_safe_id(label):
            raise AcinusError(f"class {label!r}: expected a name of letters, digits, _ and -; change classes")
        if isinstance(data, Span):
            self._spans.note(key, data.path)
            if (origin := self._origin(data)) != OWN_FILE:
                self._entries[key] = Entry(key, label, data.offset, len(data.head) + data.count, origin)
                return
            data = self._spans.read(key, data)
        self._entries[key] = Entry(key, label, self._end, len(data), OWN_FILE)
        if len(data) <= self._room:
            self._held[key] = data
            self._room -= len(data)
        else:
            self._file.write(data)
            self._end += len(data)

    def _origin(self, span: Span) -> int:
        """Return the number of a span's head and file, OWN_FILE where there is no room for one head more.

        Nearly all tiles of a slide have one head; where each has another, they are bytes like any others.
        """
        known = span.head, span.path
        number = self._numbers.get(known, OWN_FILE)
        if number == OWN_FILE and len(span.head) <= self._room:
            self._room -= len(span.head)
            number = self._numbers[known] = len(self._origins)
            self._origins.append(known)
        return number

    def entries(self) -> list[Entry]:
        """Return every entry in the order of the keys."""
        return [self._entries[key] for key in sorted(self._entries)]

    def data(self, entry: Entry) -> bytes:
        """Return the bytes of an entry.

        Raises:
            AcinusError: a span whose file is not what it was; names file and key.
        """
        if entry.origin != OWN_FILE:
            head, path = self._origins[entry.origin]
            return self._spans.read(entry.key, Span(head, path, entry.offset, entry.size - len(head)))
        if entry.key in self._held:
            return self._held[entry.key]
        self._file.flush()
        # not seek and read, which throw the buffer away and fill it again: 35 kB in 118 us, by pread in 12
        return os.pread(self._file.fileno(), entry.size, entry.offset)

    def slides(self) -> tuple[str, ...]:
        """Return the ids of the slides that the patches are of, sorted."""
        return tuple(sorted({key.partition("/")[0] for key in self._entries}))

    def classes(self) -> dict[str, int]:
        """Return the number of patches per class."""
        counts: dict[str, int] = {}
        for entry in self._entries.values():
            counts[entry.label] = counts.get(entry.label, 0) + 1
        return dict(sorted(counts.items()))


class Reader(Protocol):
    """One open shard."""

    def each(self, keys: Sequence[str]) -> Iterator[bytes | memoryview | None]:
        """Yield the encoded patch of every key, or None where there is no such key. StoreDamageError: cannot be read.

        What is yielded may lie in the shard's own memory: it holds until the next one is asked for.
        """

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
