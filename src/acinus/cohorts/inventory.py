"""The identity of a raw cohort: path, size and fingerprint of every file, without reading the files whole."""

import difflib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from acinus.errors import AcinusError
from acinus.files import read_json, write_json
from acinus.params.cohorts import SlidesCohort
from acinus.params.recipe import Cohort
from acinus.slides.formats import ZARR_METADATA

EDGE_BYTES = 65_536
BLOCK_BYTES = 4_096
BLOCKS = 16
WHOLE_BYTES = 2 * EDGE_BYTES + BLOCKS * BLOCK_BYTES
WHOLE_SUFFIXES = frozenset({".csv", ".geojson", ".ini", ".json", ".txt", ".xml", ".yaml"})
TEMPORARY_SUFFIXES = frozenset({".crdownload", ".part", ".partial", ".swp", ".tmp"})
MISSING = "missing"
UNREADABLE = "unreadable"
_FORMAT = 1
_THREADS = 4  # waiting for disks, not computing


@dataclass(frozen=True)
class Entry:
    """One file or OME-Zarr: path relative to the cohort's root with '/', size in bytes, fingerprint of its content."""

    path: str
    size: int
    fingerprint: str


class _Seen(NamedTuple):
    path: str
    place: Path
    size: int
    mtime_ns: int  # -1: a link that leads nowhere


def inventory(root: Path, memory: Path | None) -> list[Entry]:
    """Return every regular file below `root`, sorted by path; hidden and temporary files are left out.

    An OME-Zarr is listed as one, by its folder. Linked folders are followed, each real folder once, and listed by the
    path that leads there. A link
    to nothing is listed as MISSING and a file that may not be read as UNREADABLE, so that ingest can
    name it. memory: a local JSON file that remembers path, size and mtime, so that a second look
    costs one stat per file; it may be deleted at any time.

    Raises:
        AcinusError: no such folder, a folder that may not be listed, a name that is not UTF-8.
    """
    if not root.is_dir():
        raise AcinusError(
            f"{root}: no such folder; set cohort.root to the folder that holds the slides, by its whole path where the "
            "project has several checkouts"
        )
    seen = sorted(_walk(root))
    remembered = _recall(memory, root)

    def look(file: _Seen) -> str:
        size, mtime_ns, text = remembered.get(file.path, (None, None, None))
        if (size, mtime_ns) == (file.size, file.mtime_ns):
            return str(text)
        return MISSING if file.mtime_ns < 0 else fingerprint(file.place, file.size)

    with ThreadPoolExecutor(_THREADS) as pool:
        prints = list(pool.map(look, seen))
    if memory is not None:
        learned = {
            file.path: [file.size, file.mtime_ns, text]
            for file, text in zip(seen, prints, strict=True)
            if text not in (MISSING, UNREADABLE)
        }
        if learned != remembered:
            write_json(memory, {"format": _FORMAT, "root": str(root.resolve()), "files": learned})
    return [Entry(file.path, file.size, text) for file, text in zip(seen, prints, strict=True)]


def listing(root: Path) -> list[str]:
    """Return the paths that `inventory` has, without reading a file.

    Raises:
        AcinusError: no such folder, a folder that may not be listed, a name that is not UTF-8.
    """
    check_folder(root)
    return sorted(file.path for file in _walk(root))


def check_folder(folder: Path, how: str = "") -> None:
    """Refuse what is no folder of slides; how: with which option another is given.

    Raises:
        AcinusError: no such folder, or a file; names what may be meant.
    """
    if folder.is_file():
        raise AcinusError(f"{folder}: is a file; give the folder that it lies in{how}: {folder.parent}")
    if not folder.is_dir():
        above = folder.absolute().parent
        names = [one.name for one in above.iterdir() if one.is_dir()] if above.is_dir() else []
        near = difflib.get_close_matches(folder.name, names, n=1)
        meant = f" (is {folder.with_name(near[0])} meant?)" if near else ""
        raise AcinusError(f"{folder}: no such folder{meant}; give the folder of your slides{how}")


def own_table(project: Path, cohort: Cohort) -> Path | None:
    """Return the project's own table of the slides, which stands for one below the root; None: it has none."""
    if not isinstance(cohort, SlidesCohort) or Path(cohort.table).is_absolute() or ".." in Path(cohort.table).parts:
        return None
    table = project / cohort.table
    return table if table.is_file() else None


def with_table(entries: Sequence[Entry], project: Path, cohort: Cohort) -> list[Entry]:
    """Return the files of a cohort, the project's own table among them: another text of it is another cohort."""
    table = own_table(project, cohort)
    if table is None or not isinstance(cohort, SlidesCohort):
        return list(entries)
    size = table.stat().st_size
    others = [entry for entry in entries if entry.path != cohort.table]
    return sorted([*others, Entry(cohort.table, size, fingerprint(table, size))], key=lambda entry: entry.path)


def fingerprint(path: Path, size: int) -> str:
    """Return blake2b over the size, the first and last 64 KB and 16 evenly spaced blocks of 4 KB; see _folder_print.

    Small files, and text files whatever their size (an annotation changes anywhere), go in whole. In
    others a change of the same size that touches none of the blocks is not seen; one that rewrites
    the file, or its header, directory or end, is.
    """
    if path.is_dir():
        return _folder_print(path)
    inner = size - 2 * EDGE_BYTES - BLOCK_BYTES
    blocks = [(EDGE_BYTES + inner * number // (BLOCKS - 1), BLOCK_BYTES) for number in range(BLOCKS)]
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    try:
        with path.open("rb", buffering=0) as stream:
            if size <= WHOLE_BYTES or path.suffix.lower() in WHOLE_SUFFIXES:
                for piece in iter(lambda: stream.read(1 << 20), b""):
                    digest.update(piece)
            else:
                if hasattr(os, "posix_fadvise"):  # no reading ahead: a cold look is several times quicker
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                for offset, count in [(0, EDGE_BYTES), *blocks, (size - EDGE_BYTES, EDGE_BYTES)]:
                    digest.update(os.pread(stream.fileno(), count, offset))
    except OSError:
        return UNREADABLE
    return digest.hexdigest()


def _folder_print(folder: Path) -> str:
    """Return blake2b over the paths and sizes of all files of a folder that is one slide, and over the fingerprints of
    those that describe it and of 16 others, evenly spaced."""
    files = _files(folder)
    digest = hashlib.blake2b(digest_size=16)
    for path, size, _ in files:
        digest.update(f"{path}\0{size}\n".encode("utf-8", "surrogateescape"))
    described = [file for file in files if PurePosixPath(file[0]).name in ZARR_METADATA]
    others = [file for file in files if PurePosixPath(file[0]).name not in ZARR_METADATA]
    chosen = {others[(len(others) - 1) * number // (BLOCKS - 1)] for number in range(BLOCKS)} if others else set()
    for path, size, _ in [*described, *sorted(chosen)]:
        mark = fingerprint(folder / path, size)
        if mark == UNREADABLE:
            return UNREADABLE
        digest.update(mark.encode())
    return digest.hexdigest()


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """Return (path, size, mtime_ns) of the files of a folder that is one slide, sorted; hidden metadata among them."""
    found: list[tuple[str, int, int]] = []
    waiting = [(folder, "")]
    while waiting:
        place, prefix = waiting.pop()
        with os.scandir(place) as items:
            for item in items:
                if item.is_dir(follow_symlinks=False):
                    waiting.append((Path(item.path), f"{prefix}{item.name}/"))
                elif item.name in ZARR_METADATA or not _is_passing(item.name):
                    facts = item.stat()
                    found.append((prefix + item.name, facts.st_size, facts.st_mtime_ns))
    return sorted(found)


def write_inventory(entries: Sequence[Entry], path: Path) -> None:
    """Write the inventory as JSON: the same files give the same bytes."""
    write_json(path, {"format": _FORMAT, "files": [asdict(entry) for entry in entries]})


def read_inventory(path: Path) -> list[Entry]:
    """Read what write_inventory wrote."""
    data = read_json(path)
    try:
        return [Entry(str(file["path"]), int(file["size"]), str(file["fingerprint"])) for file in data["files"]]
    except (KeyError, TypeError, ValueError) as error:
        raise AcinusError(f"{path}: not an inventory; delete it and run its stage again") from error


def fingerprints(entries: Sequence[Entry]) -> dict[str, str]:
    """Return path -> fingerprint."""
    return {entry.path: entry.fingerprint for entry in entries}


def _walk(root: Path) -> Iterator[_Seen]:
    visited: set[tuple[int, int]] = set()
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                items = sorted(listing, key=lambda item: item.name)
        except OSError as error:
            raise AcinusError(f"{folder}: cannot be listed ({error.strerror}); make the folder readable") from error
        folders = []
        for item in items:
            if _is_passing(item.name):
                continue
            path = prefix + _utf8(item.name, folder)
            try:
                if item.is_dir():
                    if item.name.lower().endswith(".zarr"):
                        yield _as_one(Path(item.path), path)
                    else:
                        folders.append((Path(item.path), path + "/"))
                    continue
                status = item.stat()
            except OSError:  # a link to nothing, or to itself
                yield _Seen(path, Path(item.path), 0, -1)
                continue
            if stat.S_ISREG(status.st_mode):
                yield _Seen(path, Path(item.path), status.st_size, status.st_mtime_ns)
        waiting.extend(reversed(folders))


def _as_one(folder: Path, path: str) -> _Seen:
    """Return a folder that is one slide: in place of a time a number that the sizes and times of all its files make."""
    files = _files(folder)
    number = hashlib.blake2b(repr(files).encode("utf-8", "surrogateescape"), digest_size=7).digest()
    return _Seen(path, folder, sum(size for _, size, _ in files), int.from_bytes(number))


def _is_passing(name: str) -> bool:
    """Return whether a name is hidden or one that a program uses while it writes."""
    return name.startswith((".", "~$")) or name.endswith("~") or Path(name).suffix.lower() in TEMPORARY_SUFFIXES


def _utf8(name: str, folder: Path) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise AcinusError(f"{folder}: the file name {name!r} is not UTF-8; rename the file") from error
    return name


def _recall(memory: Path | None, root: Path) -> Mapping[str, list[Any]]:
    """Return what is remembered of this root; a memory that is absent, damaged or another root's is none."""
    if memory is None:
        return {}
    try:
        data = json.loads(memory.read_text(encoding="utf-8"))
        if data["format"] != _FORMAT or data["root"] != str(root.resolve()):
            return {}
        files = data["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    sound = isinstance(files, dict) and all(isinstance(file, list) and len(file) == 3 for file in files.values())
    return files if sound else {}
