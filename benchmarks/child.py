"""One measured task in this process: `python -m benchmarks.child <module>.<function> <JSON of its arguments>`.

The function prepares (imports, slides, bytes held in memory) and returns the work. CPU is user + system time of this
process and of the children that it waited for, from before to after the work, so imports are not in it. Prints one
line of JSON, the last one of its output.
"""

import dataclasses
import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tasks import Work


def main(task: str, arguments: str) -> None:
    """Prepare, work, print."""
    module, _, name = task.rpartition(".")
    prepare: Callable[..., Work] = getattr(importlib.import_module(f"benchmarks.{module}"), name)
    work = prepare(**json.loads(arguments))
    cpu, wall = _cpu_s(), time.perf_counter()
    done = work()
    result: dict[str, Any] = {"cpu_s": _cpu_s() - cpu, "wall_s": time.perf_counter() - wall}
    result["largest_mb"] = _largest_mb()
    print(json.dumps({**result, **dataclasses.asdict(done)}))


def _largest_mb() -> float:
    """Return this process's largest resident memory where the system tells; exec hands on a parent's ru_maxrss."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), 0.0)


def _cpu_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


if __name__ == "__main__":
    main(*sys.argv[1:])
