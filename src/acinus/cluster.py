"""Map a function over slides on the workers of a Dask cluster, and only on workers that would give the same results.

A worker must run this very code with the same libraries and see the same folders: one that does not would give
another result, or call sound slides unreadable. Each is asked when the work begins and again, once, by the first
task that reaches it. A worker works on one task at a time, however many threads it has: torch's settings and the
network belong to the process.
"""

import hashlib
import logging
import os
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from acinus.code import running_versions
from acinus.errors import AcinusError, install_extra
from acinus.plugins import finding, loading

Job = TypeVar("Job")
Result = TypeVar("Result")

WAIT_S = 60.0
"""How long to wait for a first worker, and for another one where the last has gone."""
CONNECT_S = 10.0
LOOK_S = 5.0
"""How often the scheduler is looked at while a result is waited for."""
ENTRIES = 100
"""Entries of a folder that are compared."""
SILENT = "the scheduler does not answer any more; run again when it does"

_one_at_a_time = threading.Lock()
_checked: set["Expected"] = set()


@dataclass(frozen=True)
class Expected:
    """What every worker must have as the client has it.

    versions: name and version. folders: path and `view` of those that are only read. token: a file that the client
    has just written into the project's folder, and what it holds.
    """

    versions: tuple[tuple[str, str], ...]
    folders: tuple[tuple[str, str], ...]
    token: tuple[str, str]


def map_on_cluster(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    scheduler: str,
    shared: Sequence[Path],
    say: Callable[[str], None],
) -> Iterator[Result]:
    """Yield `function(job)` for every job, in order, computed by the workers of the Dask scheduler at that address.

    shared: the folders that the jobs read and write; the first is the project's, where a file is written for a
    moment. say: takes a line for a person.

    Raises:
        AcinusError: Dask is not installed; no scheduler or no worker answers; a worker has other code, other libraries
            or other folders; the scheduler or all workers died. What `function` raises is raised as it was there.
    """
    try:
        from distributed import CancelledError, KilledWorker
    except ImportError as error:
        remedy = f"{install_extra('cluster')}; or say local"
        raise _error(scheduler, f"Dask cannot be imported ({error}); {remedy}") from error
    if not jobs:
        return
    with _client(scheduler) as client, _expected(shared) as expected:
        _check_workers(client, expected, scheduler, say)
        _run_plugins(client, scheduler)
        futures = deque(client.map(partial(_work, function, expected), jobs, pure=False))
        try:
            while futures:  # a result is let go of once it is given out
                yield _result(client, futures[0], scheduler)
                futures.popleft()
        except (KilledWorker, CancelledError) as error:
            remedy = "look at their logs (often a worker wants more memory) and run again"
            raise _error(scheduler, f"its workers or its scheduler died; {remedy}") from error
        finally:
            if client.status == "running":
                client.cancel(list(futures))


def _error(scheduler: str, text: str) -> AcinusError:
    return AcinusError(f"params.yaml: compute.scheduler = {scheduler!r}: {text}")


@contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    from distributed import Client

    with _quiet():
        try:
            client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)
        except OSError as error:
            raise _error(scheduler, "no Dask scheduler answers there; start one or say local") from error
        try:
            yield client
        finally:
            client.close(timeout=CONNECT_S)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own log of this process to itself: what went wrong is said once, by the error raised here."""
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _expected(shared: Sequence[Path]) -> Iterator[Expected]:
    """Give what the workers are to have, with a token in the first folder for as long as the block lasts."""
    folder = shared[0] / ".acinus" / "cluster"
    folder.mkdir(parents=True, exist_ok=True)
    token = folder / uuid.uuid4().hex
    token.write_text(token.name, encoding="utf-8")
    try:
        yield Expected(
            tuple(sorted(running_versions().items())),
            tuple((str(path), view(path)) for path in shared[1:]),
            (str(token), token.name),
        )
    finally:
        token.unlink(missing_ok=True)


def view(folder: Path) -> str:
    """Return a digest of the names of a folder's first entries: two machines that share it have the same."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder))[:ENTRIES]
    except OSError as error:
        return type(error).__name__
    return hashlib.blake2b("\n".join(names).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _check_workers(client: Any, expected: Expected, scheduler: str, say: Callable[[str], None]) -> None:
    """Ask every worker that is there, at least one, and the scheduler, through which the jobs go."""
    try:
        client.run_on_scheduler(running_versions)
    except ImportError as error:
        text = f"the scheduler cannot run acinus ({error}); start it in the workers' environment"
        raise _error(scheduler, text) from error
    try:
        client.wait_for_workers(1, timeout=WAIT_S)
    except TimeoutError as error:
        raise _error(scheduler, f"no worker in {WAIT_S:g} s; start some: dask worker {scheduler}") from error
    threads = _workers(client, scheduler)

    answers = client.run(fault, expected, on_error="return")
    faults = {worker: answer for worker, answer in answers.items() if answer is not None}
    if faults:
        worker, answer = min(faults.items(), key=lambda item: item[0])
        text = answer if isinstance(answer, str) else f"cannot run this acinus ({answer})"
        raise _unfit(worker, text, scheduler, f"{len(faults)} of {len(threads)} workers unfit: ")
    several = sum(count > 1 for count in threads.values())
    idle = (
        f"; {several} of them have several threads and still take one slide at a time: started with "
        "--nworkers -1 --nthreads 1 they would use every core"
    )
    say(f"Dask workers: {len(threads)}{idle if several else ''}")


def _run_plugins(client: Any, scheduler: str) -> None:
    """Run the files of plug-ins that ran here where jobs of theirs are read: on the scheduler and every worker."""
    files = loading.ran()
    if not files:
        return
    ready = partial(loading.prepare, finding.project(), files)
    try:
        client.run_on_scheduler(ready)
        client.run(ready)
    except (AcinusError, OSError) as error:
        raise _error(
            scheduler, f"a plug-in does not run there ({error}); give it this project's environment"
        ) from error


def _unfit(worker: str, text: str, scheduler: str, counted: str = "") -> AcinusError:
    remedy = "give every worker the same environment and folders, under the same paths, and start it anew"
    return _error(scheduler, f"{counted}worker {worker} {text}; {remedy}")


def fault(expected: Expected) -> str | None:
    """Return what this process has otherwise than `expected`, or None."""
    here = running_versions()
    for name, version in expected.versions:
        if here.get(name) != version:
            return f"has {name} {here.get(name)} where the client has {version}"
    path, text = expected.token
    try:
        shared = Path(path).read_text(encoding="utf-8") == text
    except OSError:
        shared = False
    if not shared:
        return f"does not see the project's folder {Path(path).parents[2]}"
    for folder, seen in expected.folders:
        if view(Path(folder)) != seen:
            return f"does not see in {folder} what the client sees there"
    return None


def _work(function: Callable[[Job], Result], expected: Expected, job: Job) -> Result:
    """Do one job on a worker that has been checked, alone in its process."""
    with _one_at_a_time:
        if expected not in _checked:
            if (text := fault(expected)) is not None:
                from distributed import get_worker

                worker = get_worker()
                raise _unfit(worker.address, text, worker.scheduler.address)
            finding.use(Path(expected.token[0]).parents[2])
            _checked.clear()
            _checked.add(expected)
        return function(job)


def _result(client: Any, future: Any, scheduler: str) -> Any:
    """Return the future's result, however long it takes, as long as there is somebody to give it."""
    alone = 0.0
    while True:
        try:
            return future.result(timeout=LOOK_S)
        except TimeoutError:
            if future.done():  # what the function raised
                raise
        if client.status != "running":
            raise _error(scheduler, SILENT)
        alone = 0.0 if _workers(client, scheduler) else alone + LOOK_S
        if alone >= WAIT_S:
            raise _error(scheduler, "all workers have gone; look at their logs, and start some")


def _workers(client: Any, scheduler: str) -> dict[str, int]:
    """Return the threads of each worker that the scheduler knows."""
    try:
        return dict(client.sync(client.scheduler.ncores, callback_timeout=CONNECT_S))
    except (OSError, TimeoutError) as error:
        raise _error(scheduler, SILENT) from error
