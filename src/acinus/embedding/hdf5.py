"""HDF5 files that others may have made: opened, and their datasets held against what is expected of them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from acinus.errors import AcinusError, brief

MAX_PATCHES = 20_000_000
MAX_INFLATION = 200
"""A dataset that is so many times its file is no features but a bomb: compressed float numbers hardly shrink."""
REMEDY = "delete it and make it anew"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Give the open HDF5 file; what libhdf5 says of a damaged one becomes one line."""
    if not path.is_file():
        raise AcinusError(f"{path}: not found; run the stage embed (dvc repro)")
    try:  # locking=False: reading takes no lock, and file systems of clusters often have none
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise AcinusError(f"{path}: damaged, or no HDF5 file ({brief(error)}); {REMEDY}") from error


def dataset(file: h5py.File, path: Path, name: str, dims: int, kinds: str) -> Any:
    """Return a dataset of the file itself with so many axes, whose numbers are of one of the `kinds` of numpy.

    Raises:
        AcinusError: none such, or one that lies in other files or is far larger than the file.
    """
    link = file.get(name, getlink=True)
    found = file.get(name) if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise AcinusError(f"{path}: has no dataset {name}; expected a file of features with it ({REMEDY})")
    if found.ndim != dims or found.dtype.kind not in kinds:
        raise AcinusError(f"{path}: {name} is {found.dtype} {found.shape}, expected {dims} axes of numbers; {REMEDY}")
    if found.nbytes > MAX_INFLATION * path.stat().st_size or found.shape[0] > MAX_PATCHES:
        raise AcinusError(f"{path}: {name} of {found.shape} in a file of {path.stat().st_size} bytes; {REMEDY}")
    return found
