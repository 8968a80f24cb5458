"""Whole files or none: outputs are written beside their place and moved there when finished."""

import contextlib
import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acinus.errors import AcinusError, WriteError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_WRITE_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path (file or folder) beside `path`; on success it replaces `path`.

    The suffix is kept, since writers choose formats by it. On failure nothing stands under
    the final name that did not stand there before.

    Raises:
        WriteError: the folder cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise WriteError(
            f"{path.parent}: cannot write here ({error.strerror}); make the folder writable or change the path"
        ) from error
    try:
        part = scratch / path.name
        yield part
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        part.replace(path)
    except OSError as error:
        if error.errno not in _WRITE_FAILURES:  # an input that failed inside the block is not ours to explain
            raise
        raise WriteError(f"{path}: cannot be written ({error.strerror}); free space or change the path") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path`, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def note_if_empty(folder: Path, why: str) -> None:
    """Say in none.txt why a folder is empty: an output that holds nothing must not look like one that got lost."""
    if not any(folder.iterdir()):
        write_text(folder / "none.txt", f"{why}\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as sorted, indented JSON without NaN (an undefined figure is null)."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; a missing or damaged file is one clear line."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AcinusError(f"{path}: not found; run the stage that writes it (dvc repro)") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AcinusError(f"{path}: not valid JSON ({error}); delete it and run its stage again") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_lock(path: Path) -> "BaseFileLock":
    """Return the lock of the file `path`, not taken yet; the file stays.

    The system lets go of it with its process: a kill leaves none behind. Where the file system cannot do that,
    taking it is an OSError rather than a lock of another kind.
    """
    from filelock import FileLock  # 65 ms of CPU, for those who lock

    return FileLock(path, fallback_to_soft=False)


def try_lock(path: Path) -> "BaseFileLock | None":
    """Take and return the lock of the file `path`, or None where somebody else holds it; `release()` it."""
    from filelock import Timeout

    lock = file_lock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock
