"""The next batches, made while a step computes; and what share of a step is nevertheless spent waiting for one."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

from torch.utils.data import DataLoader

BATCHES = 2
"""So many batches are made ahead: one to be taken, one in the making."""


class Stopwatch:
    """The host's time in an epoch's training steps: waiting for batches, or at work on them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take the clock: seconds from any start."""
        self._clock, self._last = clock, clock()
        self._waited = self._worked = 0.0

    def asked(self) -> None:
        """Begin to wait for a batch; what passed since the last step is neither (validation, checkpoints)."""
        self._last = self._clock()

    def came(self) -> None:
        """End the wait and begin the step."""
        now = self._clock()
        self._waited, self._last = self._waited + now - self._last, now

    def stepped(self) -> None:
        """End the step."""
        now = self._clock()
        self._worked, self._last = self._worked + now - self._last, now

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
        """Return the number of batches."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        """Yield the epoch's batches."""
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
