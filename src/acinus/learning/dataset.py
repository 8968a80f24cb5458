"""Patches of a store as items of an epoch, in an order and with augmentation fixed by the seed."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from acinus.errors import AcinusError
from acinus.learning.augmentation import NO_AUGMENTATION, Augmentation, draw, transform
from acinus.seeds import derive

Ticket = tuple[int, int]
"""(epoch, item): carried by the sampler, so that an item needs no state and no worker can differ."""


class Reader(Protocol):
    """What the data set needs of a patch store."""

    def read(self, key: str) -> np.ndarray:
        """Return the patch's uint8 (h, w, 3) pixels."""
        ...


class PatchDataset(Dataset[tuple[Tensor, int]]):
    """Labelled patches of one split; item = (uint8 (3, patch_px, patch_px) tensor, class index).

    Every patch is one item; each tumour patch (label above 0) is `augmentation.copies` items more.
    """

    def __init__(
        self,
        store: Reader,
        keys: Sequence[str],
        labels: Sequence[int] | np.ndarray,
        patch_px: int,
        augmentation: Augmentation = NO_AUGMENTATION,
    ) -> None:
        """Take the patches of `keys`, with one label (a class index) each.

        Raises:
            AcinusError: another number of labels than keys, or a label below 0 (ignore) among them.
        """
        self.labels = np.asarray(labels, dtype=np.int64)
        if self.labels.shape != (len(keys),):
            raise AcinusError(f"data set: {len(keys)} keys but labels of shape {self.labels.shape}; give one each")
        if (self.labels < 0).any():
            key = keys[int((self.labels < 0).argmax())]
            raise AcinusError(f"data set: patch {key} has label ignore; leave such patches out of the sample")
        self._store, self._keys, self.patch_px, self._augmentation = store, list(keys), patch_px, augmentation
        tumour = np.repeat(np.flatnonzero(self.labels > 0), augmentation.copies)
        self._sample = np.concatenate([np.arange(len(keys)), tumour])
        copies = np.tile(np.arange(1, augmentation.copies + 1), int((self.labels > 0).sum()))
        self._copy = np.concatenate([np.zeros(len(keys), dtype=np.int64), copies])

    def __len__(self) -> int:
        """Return the number of items of an epoch, copies included."""
        return len(self._sample)

    def __getitem__(self, ticket: Ticket) -> tuple[Tensor, int]:
        """Return the item of a ticket (epoch, item)."""
        epoch, item = ticket
        sample = int(self._sample[item])
        key = self._keys[sample]
        patch = self._store.read(key)
        if patch.shape != (self.patch_px, self.patch_px, 3) or patch.dtype != np.uint8:
            raise AcinusError(
                f"patch {key}: found {patch.dtype} {patch.shape}, expected uint8 "
                f"{(self.patch_px, self.patch_px, 3)}; run the extract stage again"
            )
        patch = transform(patch, draw(self._augmentation, epoch, item, int(self._copy[item])))
        pixels = np.array(patch.transpose(2, 0, 1), order="C")  # a copy: a store may lend read-only memory
        return torch.from_numpy(pixels), int(self.labels[sample])

    def counts(self, classes: int) -> list[int]:
        """Return the number of patches of each class, before augmentation.

        Raises:
            AcinusError: a label is not below `classes`.
        """
        if len(self.labels) and self.labels.max() >= classes:
            raise AcinusError(f"data set: label {self.labels.max()} found, but the model has {classes} classes")
        return [int(count) for count in np.bincount(self.labels, minlength=classes)]


class ShuffledTickets(Sampler[Ticket]):
    """All items of a data set in an order drawn anew, from (seed, epoch), for each epoch."""

    def __init__(self, items: int, batch_size: int, seed: int, first_epoch: int) -> None:
        """Start at `first_epoch`; `set_epoch` counts from there."""
        self._items, self._seed, self._first, self._epoch = items, seed, first_epoch, first_epoch
        # Batch normalisation cannot learn from a batch of one: such a remainder sits this epoch out.
        self._kept = items - 1 if batch_size > 1 and items > 1 and items % batch_size == 1 else items

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch of this run (0 = `first_epoch`); the training loop calls it."""
        self._epoch = self._first + epoch

    def __len__(self) -> int:
        """Return the number of tickets of an epoch."""
        return self._kept

    def __iter__(self) -> Iterator[Ticket]:
        """Yield the epoch's tickets."""
        order = np.random.default_rng(derive(self._seed, "order", self._epoch)).permutation(self._items)
        for item in order[: self._kept]:
            yield self._epoch, int(item)


def plain_tickets(dataset: PatchDataset) -> list[Ticket]:
    """Return tickets for all items in order, for validation."""
    return [(0, item) for item in range(len(dataset))]
