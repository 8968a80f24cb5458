"""Which code and libraries made something: what a resumable stage, or a cluster, must not mix."""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NUMBERS = (
    "imagecodecs",
    "lmdb",
    "numpy",
    "openslide-bin",
    "pandas",
    "pillow",
    "pyarrow",
    "pyvips-binary",
    "scikit-image",
    "scipy",
    "segmentation-models-pytorch",
    "shapely",
    "simplejpeg",
    "tifffile",
    "timm",
    "torch",
)
"""Libraries on whose versions results depend."""


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


@cache
def running_versions() -> dict[str, str]:
    """Return what this process runs: a digest of the package's files, Python's version, those of NUMBERS.

    As they were when it was first asked: a process that goes on after its files were edited runs the old ones.
    """
    package = Path(__file__).resolve().parent
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        digest.update(hashlib.blake2b(path.read_bytes()).digest())
    libraries = {name: _version(name) for name in NUMBERS}
    return {"acinus's code": digest.hexdigest(), "Python": ".".join(platform.python_version_tuple()[:2])} | libraries


def _version(name: str) -> str:
    """Return the version of a library without the build it is of (+cpu, +cu130)."""
    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return "not from a package"
