"""Threads beside the caller: they draw items ahead of it, work on what it draws, or map a function in order.

Lines between threads are bounded, items pass in order and one by one, so what comes out depends on no thread's
pace. What a thread raises is raised once, where its item is missed; no thread is left however a block ends.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

PER_THREAD = 4
"""Items under way per thread: enough that none waits for the consumer, few enough to bound memory."""


@contextlib.contextmanager
def drawn_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Iterator[Item]]:
    """Give the items in order, drawn by a thread, of which at most `depth` wait.

    So up to depth + 2 exist at a time: the one being drawn, those that wait, and the caller's. What drawing raises
    is raised where the missing item is asked for. However the block is left, the thread has ended then.
    """
    line = _Line[Item](depth)
    with ThreadPoolExecutor(1, "ahead") as pool:
        drawn = pool.submit(_fill, line, items)

        def given() -> Iterator[Item]:
            with contextlib.suppress(_StoppedError):
                yield from line.taken()
            drawn.result()  # raises what ended the items early

        try:
            yield given()
        finally:
            line.close()


def handed_on(items: Iterable[Item], work: Callable[[Iterator[Item]], Result], depth: int = 1) -> Result:
    """Return work(items), where `work` runs in a thread and the items are drawn here; at most `depth` wait.

    Where drawing raises, `work` is stopped at its next item and what was raised is raised; where `work` raises,
    no more is drawn and that is raised. Either way the thread has ended then.
    """
    line = _Line[Item](depth)
    with ThreadPoolExecutor(1, "handed-on") as pool:
        done = pool.submit(work, line.taken())
        done.add_done_callback(lambda _: line.close())
        _fill(line, items)
        return done.result()


def mapped_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, per_thread: int = PER_THREAD
) -> Iterator[Result]:
    """Yield `function(item)` for every item, in order; at most per_thread x threads items are under way.

    `items` is drawn from by the consumer's own thread. With one thread nothing runs ahead. The first failure is
    raised at its item; threads have ended when the generator has, also after an exception or an early close.
    """
    if threads < 2:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="patches") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= per_thread * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _fill(line: "_Line[Item]", items: Iterable[Item]) -> None:
    whole = False
    try:
        for item in items:
            if not line.put(item):
                break
        whole = True
    finally:
        line.end(whole)


class _StoppedError(RuntimeError):
    """The items ended before their time; the reason is raised on the side where they were drawn."""


class _Line(Generic[Item]):
    """Items on their way from one thread to another, at most `depth` of them."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._waiting: deque[Item] = deque()
        self._changed = Condition()
        self._ended = self._whole = self._closed = False

    def put(self, item: Item) -> bool:
        """Add an item as soon as there is room; False where nobody takes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._waiting) < self._depth)
            if self._closed:
                return False
            self._waiting.append(item)
            self._changed.notify_all()
            return True

    def end(self, whole: bool) -> None:
        """Say that no item follows. whole: whether all there are have been put."""
        with self._changed:
            self._ended, self._whole = True, whole
            self._changed.notify_all()

    def close(self) -> None:
        """Say that no item will be taken any more; those that wait are let go."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def taken(self) -> Iterator[Item]:
        """Yield the items. Raises _StoppedError where they ended before their time."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended or self._closed)
                if not self._waiting:
                    if self._ended and not self._whole:
                        raise _StoppedError("no more items")
                    return
                item = self._waiting.popleft()
                self._changed.notify_all()
            yield item
