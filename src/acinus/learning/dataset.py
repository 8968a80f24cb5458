"""Patches of a store as items of an epoch, in an order and with augmentation fixed by the seed, and their batches.

The next batches are made while a step computes; a stopwatch tells what share of it is nevertheless spent waiting.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from acinus.errors import AcinusError
from acinus.learning.augmentation import (
    NO_AUGMENTATION,
    Augmentation,
    Plugged,
    draw_shape,
    draw_symmetry,
    jitter,
    transform,
)
from acinus.patches.store import Store
from acinus.scoring.confusion import IGNORE
from acinus.seeds import derive

Ticket = tuple[int, int]
"""(epoch, item): carried by the sampler, so that an item needs no state and no worker can differ."""

BATCHES = 2
"""So many batches are made ahead: one to be taken, one in the making."""


class PatchDataset(Dataset[tuple[Tensor, int | Tensor]]):
    """Patches of one split; item = (uint8 (3, patch_px, patch_px) tensor, class index or mask).

    Where the augmentation crops, the edge is `augmentation.crop_px`. With a store of masks the second part is the
    patch's mask, uint8 (patch_px, patch_px) of class indices (255 = ignore), of the same place and symmetry. Every
    patch is one item; each tumour patch (label above 0) is `augmentation.copies` items more; `with_extra` adds further
    ones.
    """

    def __init__(
        self,
        store: Store,
        keys: Sequence[str],
        labels: Sequence[int] | np.ndarray,
        patch_px: int,
        augmentation: Augmentation = NO_AUGMENTATION,
        masks: Store | None = None,
    ) -> None:
        """Take the patches of `keys`, with one label (a class index) each, and their masks under the same keys.

        Raises:
            AcinusError: another number of labels than keys, or a label below 0 (ignore) among them.
        """
        self.labels = np.asarray(labels, dtype=np.int64)
        if self.labels.shape != (len(keys),):
            raise AcinusError(f"data set: {len(keys)} keys but labels of shape {self.labels.shape}; give one each")
        if (self.labels < 0).any():
            key = keys[int((self.labels < 0).argmax())]
            raise AcinusError(f"data set: patch {key} has label ignore; leave such patches out of the sample")
        self._store, self.keys, self.patch_px, self.augmentation = store, tuple(keys), patch_px, augmentation
        self._masks, self._plugged = masks, Plugged(augmentation)
        tumour = np.repeat(np.flatnonzero(self.labels > 0), augmentation.copies)
        self._sample = np.concatenate([np.arange(len(keys)), tumour])
        copies = np.tile(np.arange(1, augmentation.copies + 1), int((self.labels > 0).sum()))
        self._copy = np.concatenate([np.zeros(len(keys), dtype=np.int64), copies])

    @property
    def masked(self) -> bool:
        """Whether items carry masks."""
        return self._masks is not None

    def with_extra(self, patches: Sequence[int], copies: int) -> Self:
        """Return this data set with `copies` items more of each of the patches (indices into `keys`).

        They come after all others and are treated as plain patches: turned only where everything is.
        """
        extra = np.repeat(np.asarray(patches, dtype=np.int64), copies)
        grown = copy.copy(self)
        grown._sample = np.concatenate([self._sample, extra])
        grown._copy = np.concatenate([self._copy, np.zeros(len(extra), dtype=np.int64)])
        return grown

    def __len__(self) -> int:
        """Return the number of items of an epoch, copies included."""
        return len(self._sample)

    def __getitem__(self, ticket: Ticket) -> tuple[Tensor, int | Tensor]:
        return self.__getitems__([ticket])[0]

    def __getitems__(self, tickets: Sequence[Ticket]) -> list[tuple[Tensor, int | Tensor]]:
        """Return the items of tickets, visited in the order in which the store keeps them; a DataLoader asks so."""
        samples = [int(self._sample[item]) for _, item in tickets]
        symmetries = [draw_symmetry(self.augmentation, epoch, item, int(self._copy[item])) for epoch, item in tickets]
        pixels: dict[int, Tensor] = {}
        targets: dict[int, int | Tensor] = {at: int(self.labels[sample]) for at, sample in enumerate(samples)}
        shapes = [draw_shape(self.augmentation, self.patch_px, *ticket) for ticket in tickets]
        for at, patch in self._visit(self._store, samples, (self.patch_px, self.patch_px, 3)):
            # turned while it is in the processor's cache: as one array per batch this takes 20 us more per 256-px patch
            patch = shapes[at].of_patch(patch)
            patch = jitter(patch, self.augmentation.photometric, self.augmentation.seed, *tickets[at])
            patch = self._plugged.changed(patch, *tickets[at])
            pixels[at] = _tensor(transform(patch, symmetries[at]).transpose(2, 0, 1))
        if self._masks is not None:
            for at, mask in self._visit(self._masks, samples, (self.patch_px, self.patch_px)):
                mask = self._plugged.changed(shapes[at].of_mask(mask), *tickets[at])
                targets[at] = _tensor(transform(mask, symmetries[at]))
        return [(pixels[at], targets[at]) for at in range(len(tickets))]

    def _visit(self, store: Store, samples: Sequence[int], shape: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number in `samples`, patch or mask), of the shape that each must have."""
        keys = [self.keys[sample] for sample in samples]
        for at, pixels in store.visit(keys):
            if pixels.shape != shape or pixels.dtype != np.uint8:
                kind = "patch" if store is self._store else "mask"
                raise AcinusError(
                    f"{kind} {keys[at]}: found {pixels.dtype} {pixels.shape}, expected uint8 {shape}; "
                    "run the extract stage again"
                )
            yield at, pixels

    def pixel_counts(self, classes: int) -> list[int]:
        """Return the number of known pixels of each class in the masks, each patch's once; reads them all.

        Raises:
            AcinusError: a mask holds a value that is neither a class nor ignore.
        """
        counts = np.zeros(256, dtype=np.int64)
        assert self._masks is not None
        for sample, mask in self._visit(self._masks, range(len(self.keys)), (self.patch_px, self.patch_px)):
            in_mask = np.bincount(mask.ravel(), minlength=256)
            if in_mask[classes:IGNORE].any():
                value = classes + int(in_mask[classes:IGNORE].argmax())
                raise AcinusError(
                    f"mask {self.keys[sample]}: value {value} found, expected classes 0..{classes - 1} or {IGNORE}; "
                    "run the extract stage again"
                )
            counts += in_mask
        return [int(count) for count in counts[:classes]]

    def counts(self, classes: int) -> list[int]:
        """Return the number of patches of each class, before augmentation. AcinusError: a label of no class."""
        if len(self.labels) and self.labels.max() >= classes:
            raise AcinusError(f"data set: label {self.labels.max()} found, but the model has {classes} classes")
        return [int(count) for count in np.bincount(self.labels, minlength=classes)]


class ShuffledTickets(Sampler[Ticket]):
    """All items of a data set in an order drawn anew, from (seed, epoch), for each epoch.

    iterations: an epoch is so many whole batches instead, the next part of an endless row of such orders: every item
    comes once before any comes again. A ticket then carries the number of its order in place of the epoch's, so that
    an item that comes twice in an epoch is drawn anew too.
    """

    def __init__(self, items: int, batch_size: int, seed: int, first_epoch: int, iterations: int | None = None) -> None:
        """Start at `first_epoch`; `set_epoch` counts from there."""
        self._iterations = iterations
        self._items, self._seed, self._first, self._epoch = items, seed, first_epoch, first_epoch
        # Batch normalisation cannot learn from a batch of one: such a remainder sits this epoch out.
        self._tickets = items - 1 if batch_size > 1 and items > 1 and items % batch_size == 1 else items
        if iterations is not None:
            self._tickets = iterations * batch_size

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch of this run (0 = `first_epoch`); the training loop calls it."""
        self._epoch = self._first + epoch

    def __len__(self) -> int:
        """Return the number of tickets of an epoch."""
        return self._tickets

    def __iter__(self) -> Iterator[Ticket]:
        if self._iterations is None:
            for item in self._order(self._epoch)[: self._tickets]:
                yield self._epoch, int(item)
            return
        order, drawn = self._order(0), 0
        for place in range(self._epoch * self._tickets, (self._epoch + 1) * self._tickets):
            number, at = divmod(place, self._items)
            if number != drawn:
                order, drawn = self._order(number), number
            yield number, int(order[at])

    def _order(self, number: int) -> np.ndarray:
        return np.random.default_rng(derive(self._seed, "order", number)).permutation(self._items)


def plain_tickets(dataset: PatchDataset) -> list[Ticket]:
    """Return tickets for all items in order, for validation."""
    return [(0, item) for item in range(len(dataset))]


def _tensor(pixels: np.ndarray) -> Tensor:
    """Return a copy as a tensor: a store may lend read-only memory, and torch takes no negative strides."""
    return torch.from_numpy(np.array(pixels, order="C"))


class Stopwatch:
    """The host's time in an epoch's training steps: waiting for batches, or at work on them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take the clock: seconds from any start."""
        self._clock, self._last = clock, clock()
        self._waited = self._worked = 0.0

    def _lap(self) -> float:
        last, self._last = self._last, self._clock()
        return self._last - last

    def asked(self) -> None:
        """Begin to wait for a batch; what passed since the last step is neither (validation, checkpoints)."""
        self._lap()

    def came(self) -> None:
        """End the wait and begin the step."""
        self._waited += self._lap()

    def stepped(self) -> None:
        """End the step."""
        self._worked += self._lap()

    def share(self) -> float:
        """Return the part of the time that was waiting, 0 to 1, and start over."""
        whole, waited = self._waited + self._worked, self._waited
        self._waited = self._worked = 0.0
        return waited / whole if whole > 0 else 0.0


class Feed:
    """A loader's batches, the very same in the same order, with a stopwatch on the waits for them.

    A loader without processes of its own has its batches made by a thread, BATCHES ahead of whoever takes them:
    decoding lets go of Python's lock, so that it runs beside the step's arithmetic. The thread ends with the
    last batch, and where the taking ends early (an exception, a break) with the batches begun.
    """

    def __init__(self, loader: DataLoader[Any], watch: Stopwatch, reading: AbstractContextManager[Any]) -> None:
        """Take a loader that draws random numbers from none but its own generator.

        reading: held while a thread makes a batch, where another feed's thread reads the same store.
        """
        self._loader, self._watch, self._reading = loader, watch, reading

    @property
    def batch_sampler(self) -> Any:
        """The loader's own, whose sampler Lightning tells of every epoch."""
        return self._loader.batch_sampler

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._loader) if self._loader.num_workers else _made_ahead(self._loader, self._reading)
        for _ in range(len(self)):
            self._watch.asked()
            batch = next(batches)
            self._watch.came()
            yield batch


def _made_ahead(loader: DataLoader[Any], reading: AbstractContextManager[Any]) -> Iterator[Any]:
    source, left = iter(loader), len(loader)

    def make() -> Any:
        with reading:
            return next(source)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as thread:
        begun: deque[Future[Any]] = deque()
        while left or begun:
            while left and len(begun) < BATCHES:
                begun.append(thread.submit(make))
                left -= 1
            if not left:
                thread.shutdown(wait=False)  # whoever takes the last batch asks for no more
            yield begun.popleft().result()
