"""A patch store to look into: read-only, patches by number or by key."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from acinus import records
from acinus.api.arguments import AnyPath, path_of, plain, shown
from acinus.errors import AcinusError
from acinus.patches import store
from acinus.patches.keys import parse_key, patch_key


class Patch(NamedTuple):
    """One patch. image: uint8 (patch_px, patch_px, 3). key: <slide_id>/<x0>_<y0>, level-0 px of the top-left corner.

    label: class index; of a segmentation 1 foreground, 0 not; None where the store lies without its sample.parquet.
    """

    image: np.ndarray
    key: str
    label: int | None

    @property
    def slide_id(self) -> str:
        """The slide that it was cut from."""
        return parse_key(self.key)[0]


class PatchNumberError(AcinusError, IndexError):
    """A number that is no patch's; also the IndexError that sequences raise."""


class PatchStore:
    """A finished patch store, in the order of its keys; a context manager. Made by `open_store`.

    `len(store)`, `store[3]`, `store["slide/1024_2048"]` and iteration give `Patch`. keys: of all patches. patch_px:
    their edge. classes: class -> number of patches. backend, codec: how they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._store = store.open_store(folder)
        index = self._store.index
        self.patch_px, self.classes = index.patch_px, dict(index.classes)
        self.backend, self.codec = index.backend, index.codec
        self.keys: tuple[str, ...] = tuple(self._store.keys())

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, which: int | str) -> Patch:
        key = self._key(which)
        return Patch(self._store.read(key), key, self._label(key))

    def __iter__(self) -> Iterator[Patch]:
        return (self[key] for key in self.keys)

    def images(self, keys: Sequence[int | str]) -> np.ndarray:
        """Return uint8 (n, patch_px, patch_px, 3) of many patches, in the order of the keys (or numbers).

        Raises:
            AcinusError: no such key or number.
        """
        if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
            raise AcinusError(f"keys = {shown(keys)}: expected several keys or numbers; of one patch store[key].image")
        return self._store.read_many([self._key(which) for which in keys])

    def mask(self, which: int | str) -> np.ndarray:
        """Return uint8 (patch_px, patch_px) of a segmentation's patch: class indices, 255 not known.

        Raises:
            AcinusError: a store of a patch classification, which has no masks.
        """
        if self._masks is None:
            raise AcinusError(f"{self.folder}: no masks; only the store of a segmentation has some")
        return self._masks.read(self._key(which))

    def _key(self, which: int | str) -> str:
        """Return the key of a patch by key or number. AcinusError: neither, or no such number."""
        number = plain(which)
        if isinstance(number, str):
            return number
        if isinstance(number, bool) or not isinstance(number, int):
            raise AcinusError(f"patch {shown(which)}: give its number or its key; of many store.images(keys)")
        if not -len(self) <= number < len(self):
            raise PatchNumberError(f"patch {shown(which)}: the store has {len(self)} patches, numbered from 0 on")
        return self.keys[number]

    @cached_property
    def _masks(self) -> store.Store | None:
        return store.open_mask_store(self.folder) if (self.folder / store.MASKS).is_dir() else None

    @cached_property
    def _labels(self) -> dict[str, int] | None:
        path = self.folder.parent / "sample.parquet"
        if not path.is_file():
            return None
        sample = records.read(records.SAMPLE, path, without=records.FRACTIONS)
        rows = sample[["slide_id", "x0", "y0", "label"]].itertuples(index=False, name=None)
        return {patch_key(slide_id, x0, y0): int(label) for slide_id, x0, y0, label in rows}

    def _label(self, key: str) -> int | None:
        if self._labels is None:
            return None
        if key not in self._labels:
            raise AcinusError(f"{self.folder}: patch {key} is not in sample.parquet beside it; run extract (dvc repro)")
        return self._labels[key]

    def close(self) -> None:
        """Let go of open files; a later read opens them again."""
        self._store.close()
        if self._masks is not None:
            self._masks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<PatchStore {self.folder}: {len(self)} patches of {self.patch_px} px, {self.classes}>"


def open_store(path: AnyPath) -> PatchStore:
    """Open a finished patch store, data/<recipe>/patches, for reading; of any backend.

    Raises:
        AcinusError: no finished store there, one of another version, or a damaged one.
    """
    return PatchStore(path_of(path))
