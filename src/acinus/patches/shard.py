"""What a shard is, whatever keeps it: encoded patches in the order of their keys, and what a backend must do."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, Self

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


@dataclass(frozen=True)
class Span:
    """A patch that lies in its slide's file already: where, instead of a second copy of its bytes.

    A JPEG: `head`, then `count` bytes of the file from `offset` on, which end with its end marker.
    """

    head: bytes
    path: Path
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One encoded patch in a spool. size: bytes. offset: in its file, for what is not held in memory.

    origin: of a span, its head and its slide's file (the offset is in that); None: the spool's own file.
    """

    key: str
    label: str
    offset: int
    size: int
    origin: tuple[bytes, Path] | None = None


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
        self._slide_files = _SlideFiles()
        self._origins: dict[tuple[bytes, Path], tuple[bytes, Path]] = {}  # each once, however many entries have it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._slide_files.close()
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
            self._slide_files.note(key, data.path)
            origin = data.head, data.path
            if origin not in self._origins and len(data.head) <= self._room:
                self._room -= len(data.head)
                self._origins[origin] = origin
            if origin in self._origins:
                size = len(data.head) + data.count
                self._entries[key] = Entry(key, label, data.offset, size, self._origins[origin])
                return
            # nearly all tiles of a slide have one head; where each has another, they are bytes like any others
            data = self._slide_files.read(key, data)
        self._entries[key] = Entry(key, label, self._end, len(data))
        if len(data) <= self._room:
            self._held[key] = data
            self._room -= len(data)
        else:
            self._file.write(data)
            self._end += len(data)

    def entries(self) -> list[Entry]:
        """Return every entry in the order of the keys."""
        return [self._entries[key] for key in sorted(self._entries)]

    def data(self, entry: Entry) -> bytes:
        """Return the bytes of an entry.

        Raises:
            AcinusError: a span whose file is not what it was; names file and key.
        """
        if entry.origin is not None:
            head, path = entry.origin
            return self._slide_files.read(entry.key, Span(head, path, entry.offset, entry.size - len(head)))
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
        return dict(sorted(Counter(entry.label for entry in self._entries.values()).items()))


class _SlideFiles:
    """Reads spans, in the order of their slides: one file is open at a time. Tells when a file is not what it was."""

    def __init__(self) -> None:
        self._stamps: dict[Path, tuple[int, int]] = {}
        self._open: tuple[Path, BinaryIO] | None = None

    def note(self, key: str, path: Path) -> None:
        """Remember a file as it is now, where it was not noted before; asked for before it is read.

        Raises:
            AcinusError: it is not there any more; names file and patch.
        """
        if path not in self._stamps:
            try:
                self._stamps[path] = _stamp(path.stat())
            except OSError as error:
                raise _changed(key, path) from error

    def read(self, key: str, span: Span) -> bytes:
        """Return the bytes of a span.

        Raises:
            AcinusError: the file is not the one that was noted; names file and patch.
        """
        try:
            if self._open is None or self._open[0] != span.path:
                self.close()
                self._open = span.path, span.path.open("rb", buffering=0)
            file = self._open[1].fileno()
            same = _stamp(os.fstat(file)) == self._stamps[span.path]
            data = os.pread(file, span.count, span.offset)
        except OSError as error:
            raise _changed(key, span.path) from error
        if not same or len(data) < span.count or not data.endswith(b"\xff\xd9"):  # a JPEG's end marker
            raise _changed(key, span.path)
        return span.head + data

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _changed(key: str, path: Path) -> AcinusError:
    return AcinusError(f"patch {key}: {path.name}: the slide changed while it was read; run extract again (dvc repro)")


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
    image_files: every patch is an image file of its own, which not every codec can be.
    """

    suffix: str
    write: Callable[[Path, Place, Spool], None]
    open: Callable[[Place], Reader]
    check: Callable[[Place], None] = lambda place: None
    image_files: bool = False
