"""Which runs executions have open, noted in files: what a killed one left open, a later one ends."""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from acinus.errors import AcinusError
from acinus.files import read_json, write_json
from acinus.tracking.server import ServerError


def remember(note: Path, run_ids: Sequence[str | None]) -> None:
    """Note which runs this process has open, the stage's first."""
    write_json(note, {"process": this_process(), "runs": [run_id for run_id in run_ids if run_id]})


def end_killed(server: Any, own: Path) -> None:
    """End as KILLED what earlier executions left open.

    The one of `own`: a stage runs once at a time, so it is gone. Others (joined workers, each with a name of its own)
    where their process was one of this machine and is no more.
    """
    for note in sorted(own.parent.glob("*.json")):
        try:
            noted = read_json(note)
            run_ids, is_over = list(noted["runs"]), note == own or is_gone(noted["process"])
        except (AcinusError, KeyError, TypeError, ValueError):  # ended meanwhile by another execution, or no note
            continue
        if not is_over:
            continue
        for run_id in run_ids:
            with suppress(ServerError):  # gone with a deleted database
                server.end_run(run_id, "KILLED")
        note.unlink(missing_ok=True)


def this_process() -> dict[str, Any]:
    """Return what tells this process from all others, also from a later one of the same number."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def is_gone(process: dict[str, Any]) -> bool:
    """Return whether a process of `this_process` was one of this machine and is no more."""
    pid, started = int(process["pid"]), float(process["started"])
    if process["host"] != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(pid).create_time() - started) > 1.0
    except psutil.NoSuchProcess:
        return True
