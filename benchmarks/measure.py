"""Run tasks in fresh processes and hold on to what they cost: CPU and wall time, memory of the whole process tree."""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_S = 0.05
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VIPS_CONCURRENCY")
"""Numerical libraries that would otherwise take every core, and some of them CPU time while they wait."""


class TaskError(RuntimeError):
    """A task that ended with an error; the text is the last line that it said."""


@dataclass(frozen=True)
class Case:
    """One thing to measure. task: `<module>.<function>` of this package. A task writes below the folder `out`."""

    name: str
    task: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run. rss_mb: largest sum of resident memory over the process tree, mapped files included; own_mb: without
    what is mapped from files and can be dropped at any time (RssAnon)."""

    cpu_s: float
    wall_s: float
    units: int
    rss_mb: float
    own_mb: float
    notes: dict[str, float]


@dataclass(frozen=True)
class Result:
    """The repeats of a case: medians, but of memory the largest. Times are ms per unit."""

    name: str
    cpu_ms: float
    wall_ms: float
    units: int
    rss_mb: float
    own_mb: float
    notes: dict[str, float]
    runs: tuple[Run, ...]


def in_turn(cases: Sequence[Case], repeats: int, work: Path) -> tuple[list[Result], dict[str, str]]:
    """Run every case once, then every case again, `repeats` times in all, so that all see the same machine.

    Return the results and, by name, why a case has none; what failed once is not run again.
    """
    runs: dict[str, list[Run]] = {case.name: [] for case in cases}
    failures: dict[str, str] = {}
    for _ in range(repeats):
        for case in cases:
            if case.name not in failures:
                try:
                    runs[case.name].append(run(case, work))
                except TaskError as error:
                    failures[case.name] = str(error)
    return [summed_up(name, own) for name, own in runs.items() if name not in failures], failures


def summed_up(name: str, runs: Sequence[Run]) -> Result:
    """Return the medians of the runs per unit, the largest memory, and the median of every note."""
    return Result(
        name=name,
        cpu_ms=statistics.median(1e3 * one.cpu_s / one.units for one in runs),
        wall_ms=statistics.median(1e3 * one.wall_s / one.units for one in runs),
        units=runs[0].units,
        rss_mb=max(one.rss_mb for one in runs),
        own_mb=max(one.own_mb for one in runs),
        notes={key: statistics.median(one.notes[key] for one in runs) for key in runs[0].notes},
        runs=tuple(runs),
    )


def run(case: Case, work: Path) -> Run:
    """Run a case in a process of its own; what it writes is deleted.

    Raises:
        TaskError: the task failed.
    """
    out = Path(tempfile.mkdtemp(prefix="out-", dir=work))
    arguments = {key: str(value) if isinstance(value, Path) else value for key, value in case.args.items()}
    command = [sys.executable, "-m", "benchmarks.child", case.task, json.dumps({"out": str(out), **arguments})]
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with _watched(process.pid) as peak:
            stdout, stderr = process.communicate()
    finally:
        shutil.rmtree(out, ignore_errors=True)
    if process.returncode:
        raise TaskError(f"{(stderr.strip().splitlines() or ['no message'])[-1]}")
    said = json.loads(stdout.strip().splitlines()[-1])
    largest = max(peak["rss"], said.pop("largest_mb"))  # a peak between two looks is known to the process itself
    return Run(**said, rss_mb=largest, own_mb=peak["own"])


@contextlib.contextmanager
def _watched(pid: int) -> Any:
    """Give a dict that holds the tree's largest resident memory, in MB, when the block is left."""
    peak, over = {"rss": 0.0, "own": 0.0}, threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_S):
            for key, now in memory_of_tree(pid).items():
                peak[key] = max(peak[key], now)

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def memory_of_tree(pid: int) -> dict[str, float]:
    """Return resident memory of a process and all below it in MB: `rss` of all, `own` without mapped files."""
    rss = own = 0.0
    try:
        tree = psutil.Process(pid)
        for one in (tree, *tree.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                memory = one.memory_info()
                rss += memory.rss / 1e6
                own += (memory.rss - getattr(memory, "shared", 0)) / 1e6  # Linux counts mapped files as shared
    except psutil.NoSuchProcess:
        pass
    return {"rss": rss, "own": own}
