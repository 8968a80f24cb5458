"""Threads beside the caller: they draw items ahead of it, work on what it draws, or map a function in order.

Lines between threads are bounded, items pass in order and one by one, so what comes out depends on no thread's
pace. What a thread raises is raised once, where its item is missed; no thread is left however a block ends.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Semaphore
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

PER_THREAD = 4
"""Items under way per thread: enough that none waits for the consumer, few enough to bound memory."""

_END: Any = object()
_STOPPED: Any = object()


class _StoppedError(RuntimeError):
    """The items ended before their time; the reason is raised on the side where they were drawn."""


@contextlib.contextmanager
def drawn_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Iterator[Item]]:
    """Give the items in order, drawn by a thread, of which at most `depth` wait.

    So up to depth + 2 exist at a time: the one being drawn, those that wait, and the caller's. What drawing raises
    is raised where the missing item is asked for. However the block is left, the thread has ended then.
    """
    source = (item for item in items)  # ends where an item fails
    with ThreadPoolExecutor(1, "ahead") as pool:
        waiting: deque[Future[Item]] = deque(pool.submit(next, source, _END) for _ in range(depth + 1))

        def drawn() -> Iterator[Item]:
            while waiting and (item := waiting.popleft().result()) is not _END:
                waiting.append(pool.submit(next, source, _END))
                yield item

        try:
            yield drawn()
        finally:
            for future in waiting:
                future.cancel()
            waiting.clear()


def handed_on(items: Iterable[Item], work: Callable[[Iterator[Item]], Result], depth: int = 1) -> Result:
    """Return work(items), where `work` runs in a thread and the items are drawn here; at most `depth` wait.

    Where drawing raises, `work` is stopped at its next item and what was raised is raised; where `work` raises,
    no more is drawn and that is raised. Either way the thread has ended then.
    """
    waiting, room, ending = SimpleQueue[Any](), Semaphore(depth), _STOPPED

    def taken() -> Iterator[Item]:
        while (item := waiting.get()) is not _END:
            room.release()
            if item is _STOPPED:
                raise _StoppedError("no more items")
            yield item

    with ThreadPoolExecutor(1, "handed-on") as pool:
        done = pool.submit(work, taken())
        done.add_done_callback(lambda _: room.release())
        try:
            for item in items:
                room.acquire()
                if done.done():
                    break
                waiting.put(item)
            ending = _END
        finally:
            waiting.put(ending)
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
