"""Shards as HDF5 files: the encoded patches end to end in one byte array, with keys, classes and offsets beside it."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from acinus.errors import WriteError
from acinus.patches.shard import Backend, Place, Spool, StoreDamageError

SUFFIX = ".h5"
_BESIDE = 1 << 20  # room for keys, classes and what libhdf5 adds


def _write(part: Path, place: Place, spool: Spool) -> None:
    """Write the shard. Datasets: `keys` (n, sorted), `labels` (n), `offsets` (n + 1), `patches` (bytes, end to end)."""
    entries = spool.entries()
    offsets = np.zeros(len(entries) + 1, dtype=np.int64)
    np.cumsum([entry.size for entry in entries], out=offsets[1:])
    needed, free = int(offsets[-1]), shutil.disk_usage(part.parent).free
    if free < needed + _BESIDE:  # libhdf5 does not survive a disk that fills up under it
        raise WriteError(f"{place.file(SUFFIX)}: needs {needed + _BESIDE} bytes, {free} are free; free space")
    with h5py.File(part, "w") as file:
        # track_times=False: else HDF5 stores the time of writing and no two files are alike
        file.create_dataset("keys", data=_text([entry.key for entry in entries]), track_times=False)
        file.create_dataset("labels", data=_text([entry.label for entry in entries]), track_times=False)
        file.create_dataset("offsets", data=offsets, track_times=False)
        patches = file.create_dataset("patches", shape=(needed,), dtype=np.uint8, track_times=False)
        for entry, start in zip(entries, offsets[:-1], strict=True):
            patches[start : start + entry.size] = np.frombuffer(spool.data(entry), dtype=np.uint8)


def _text(values: list[str]) -> np.ndarray:
    """Return fixed-length bytes, (n,): HDF5 has no empty string type."""
    return np.array([value.encode("ascii") for value in values], dtype=f"S{max(map(len, values), default=1)}")


class _Hdf5Reader:
    def __init__(self, place: Place) -> None:
        self._name = place.name
        try:
            # locking=False: reading takes no lock, and file systems of clusters often have none
            self._file = h5py.File(place.file(SUFFIX), "r", locking=False)
            self._keys: np.ndarray = self._file["keys"][()]
            self._offsets: np.ndarray = self._file["offsets"][()]
            self._patches = self._file["patches"]
        except (OSError, KeyError, RuntimeError) as error:
            raise StoreDamageError(f"shard {place.name} does not open ({error})") from error

    def each(self, keys: Sequence[str]) -> Iterator[bytes | memoryview | None]:
        encoded_keys = [key.encode() for key in keys]
        rows = np.searchsorted(self._keys, np.array(encoded_keys)).tolist()
        for row, key in zip(rows, encoded_keys, strict=True):
            if row == len(self._keys) or self._keys[row] != key:
                yield None
                continue
            try:
                data: np.ndarray = self._patches[self._offsets[row] : self._offsets[row + 1]]
            except (OSError, RuntimeError) as error:
                raise StoreDamageError(f"shard {self._name} cannot be read ({error})") from error
            yield data.data

    def keys(self) -> list[str]:
        return [str(key, "ascii") for key in self._keys]

    def close(self) -> None:
        self._file.close()


BACKEND = Backend(SUFFIX, _write, _Hdf5Reader)
