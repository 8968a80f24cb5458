"""Shards as LMDB files: one file each, keys in order, values as encoded."""

import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import lmdb

from acinus.errors import AcinusError
from acinus.patches.shard import Backend, Place, Spool, StoreDamageError

SUFFIX = ".lmdb"
PUTS_PER_TRANSACTION = 16
"""Few, since what a transaction holds is new memory; a part of the format: it decides which pages are written twice."""
PUTS_PER_OPENING = 64 * PUTS_PER_TRANSACTION
"""The map is let go after so many, since the pages that transactions look at stay in memory while it is open."""
_MIB = 1 << 20
_PAGE = 4096

_OPEN: weakref.WeakValueDictionary[tuple[int, int], lmdb.Environment] = weakref.WeakValueDictionary()
"""Environments by (device, inode): LMDB allows one per file and process, however many stores (and links) there are.

A forked child inherits them usable: they are read-only and without locks. The last reader that lets go closes.
"""


def _write(part: Path, place: Place, spool: Spool) -> None:
    """Write the shard: the same patches give the same bytes, since keys are in order and transactions split alike."""
    entries = spool.entries()
    size = sum(_PAGE * (2 + (len(entry.key) + entry.size) // _PAGE) for entry in entries)
    map_size = (2 * size // _MIB + 16) * _MIB  # an upper bound only: without writemap the file ends with its pages

    def opened() -> lmdb.Environment:
        return lmdb.open(str(part), map_size=map_size, subdir=False, lock=False, sync=False, metasync=False)

    try:
        for first in range(0, len(entries), PUTS_PER_OPENING):
            with opened() as env:
                for start in range(first, min(first + PUTS_PER_OPENING, len(entries)), PUTS_PER_TRANSACTION):
                    with env.begin(write=True) as transaction:
                        for entry in entries[start : start + PUTS_PER_TRANSACTION]:
                            transaction.put(entry.key.encode(), spool.data(entry), append=True)
        with opened() as env:
            env.sync(True)
    except lmdb.Error as error:
        raise AcinusError(
            f"{place.file(SUFFIX)}: cannot be written ({error}); free space or change the path"
        ) from error


class _LmdbReader:
    def __init__(self, place: Place) -> None:
        self._name = place.name
        path = place.file(SUFFIX)
        try:
            status = path.stat()
            where = (status.st_dev, status.st_ino)
            env = _OPEN.get(where)
            if env is None:
                env = lmdb.open(str(path), subdir=False, lock=False, readonly=True, readahead=False)
                _OPEN[where] = env
        except (lmdb.Error, OSError) as error:
            raise StoreDamageError(f"shard {place.name} does not open ({error})") from error
        self._env: lmdb.Environment = env

    def each(self, keys: Sequence[str]) -> Iterator[bytes | memoryview | None]:
        try:
            with self._env.begin(buffers=True) as transaction:  # the map itself is lent, not a copy of it
                for key in keys:
                    yield transaction.get(key.encode())
        except lmdb.Error as error:
            raise StoreDamageError(f"shard {self._name} cannot be read ({error})") from error

    def keys(self) -> list[str]:
        try:
            with self._env.begin() as transaction:
                return [str(key, "ascii") for key in transaction.cursor().iternext(keys=True, values=False)]
        except (lmdb.Error, UnicodeDecodeError) as error:
            raise StoreDamageError(f"shard {self._name} cannot be read ({error})") from error

    def close(self) -> None:
        del self._env  # not env.close(): another store may read the same file


BACKEND = Backend(SUFFIX, _write, _LmdbReader)
