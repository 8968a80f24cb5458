"""Which code and libraries made something: what a resumable stage must not mix."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path


def code_digest(rooms: Iterable[str], libraries: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """Return a digest of every module of the package's `rooms` and of the versions of installed `libraries`.

    A room is a folder of the package, or a single module (`training.py`).

    others: further versions by name, of what is no Python package.
    """
    package = Path(__file__).resolve().parent
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(path for room in rooms for path in _modules(package / room)):
        name = path.relative_to(package).as_posix()
        digest.update(name.encode() + b"\0" + hashlib.blake2b(path.read_bytes()).digest())
    versions = {name: version(name) for name in libraries} | dict(others or {})
    digest.update(json.dumps(versions, sort_keys=True).encode())
    return digest.hexdigest()


def _modules(room: Path) -> list[Path]:
    return [room] if room.suffix == ".py" else list(room.glob("*.py"))
