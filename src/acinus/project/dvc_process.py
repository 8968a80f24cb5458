"""The dvc process above this one, or beside it in the same project."""

import os
from contextlib import suppress
from pathlib import Path

import psutil


def dvc_above() -> psutil.Process | None:
    """Return the dvc process that runs this stage, or None for a stage run by hand.

    It need not be the parent: some shells (dash) stay between dvc and its command.
    """
    if not os.environ.get("DVC_STAGE"):
        return None
    for above in psutil.Process().parents():
        with suppress(psutil.Error):
            if _is_dvc(above):
                return above
    return None


def pipeline_key() -> str | None:
    """Return what names the dvc process that runs this stage, or None for a stage run by hand."""
    dvc = dvc_above()
    return f"{dvc.pid}-{int(dvc.create_time() * 100)}" if dvc else None


def dvc_runs(root: Path) -> bool:
    """Return whether a dvc process works in the project at `root` or below it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if _is_dvc(process) and Path(process.cwd()).is_relative_to(root):
                return True
    return False


def _is_dvc(process: psutil.Process) -> bool:
    return any(Path(part).name == "dvc" for part in process.cmdline()[:3])
