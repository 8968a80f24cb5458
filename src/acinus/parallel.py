"""Map a function over slides: processes here, or a Dask cluster's workers; one interface."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

import psutil

from acinus.cluster import map_on_cluster
from acinus.errors import AcinusError
from acinus.plugins import finding, loading

Job = TypeVar("Job")
Result = TypeVar("Result")


def map_over(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    scheduler: str = "local",
    workers: int = 1,
    shared: Sequence[Path] = (),
    say: Callable[[str], None] = print,
) -> Iterator[Result]:
    """Yield `function(job)` for every job, in the order of the jobs.

    `function` is a top-level function and jobs are plain values, since both travel to other processes.
    The first failure is raised here as it was there, and what has not started is cancelled.
    shared, say: see `cluster.map_on_cluster`; without a cluster nobody reads them.

    Raises:
        AcinusError: a worker process died (mostly for want of memory), or the cluster cannot do the work.
    """
    if scheduler != "local":
        yield from map_on_cluster(function, jobs, scheduler, shared, say)
    elif workers == 1 or len(jobs) < 2:
        yield from map(function, jobs)
    else:
        yield from _map_over_processes(function, jobs, min(workers, len(jobs)))


def _map_over_processes(function: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    # spawn: a forked child inherits threads' locks in an unknown state (torch, OpenSlide)
    context = multiprocessing.get_context("spawn")
    begin = (os.getpid(), finding.project(), loading.ran())
    with ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=begin) as pool:
        futures = deque(pool.submit(function, job) for job in jobs)
        try:
            while futures:  # a result is let go of once it is given out
                yield futures.popleft().result()
        except BrokenProcessPool as error:
            raise AcinusError(
                "a worker process died, mostly for want of memory; lower compute.workers in params.yaml"
            ) from error
        finally:
            for future in futures:
                future.cancel()


def _begin_worker(above: int, project: Path | None, plugins: Sequence[Path]) -> None:
    """Make ready a process that works for the process `above`, with its project and the files of plug-ins it ran."""
    loading.prepare(project, plugins)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # which a command in the background has of its shell
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all: one line, no traceback of each
    exit_with_process(above)


def exit_with_process(pid: int, every_s: float = 0.5) -> None:
    """End this process when the process `pid`, one above this one, has ended.

    A killed `dvc repro` would otherwise leave stages and their workers writing beside the next run. It is
    not enough to look at the parent: a shell may stay between the two, waiting for this process.
    """

    def watch() -> None:
        try:
            above = psutil.Process(pid)
            while above.is_running() and above.status() != psutil.STATUS_ZOMBIE:
                time.sleep(every_s)
        finally:  # whatever cannot be told of a process, it is not there
            os._exit(1)

    threading.Thread(target=watch, name="exit-with-process", daemon=True).start()
