"""Locks between the workers of a search. The system lets go of each with its process: a kill leaves none behind."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from optuna.storages.journal._file import BaseJournalFileLock


class FileLock(BaseJournalFileLock):
    """The lock of Optuna's journal; its own would stay for half a minute after a kill."""

    def __init__(self, path: Path) -> None:
        """Lock by the file `path`, which is made for that."""
        self._path = path
        self._stream: TextIOWrapper | None = None

    def acquire(self) -> bool:
        """Wait for the lock and take it."""
        self._stream = self._path.open("w")
        fcntl.flock(self._stream, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let go of the lock."""
        if self._stream is not None:
            self._stream.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file `path` within the block, waiting for it first."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def try_lock(path: Path) -> TextIOWrapper | None:
    """Return the open file that holds the lock until it is closed, or None where another process holds it."""
    stream = path.open("w")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return None
    return stream
