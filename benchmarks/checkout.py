"""What a person waits for at the command line: the program's help, and `dvc repro` where nothing is to be done."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import ROOT
from benchmarks.tasks import Done, Work

BIN = Path(sys.executable).parent


def start_up(out: str) -> Work:
    """`acinus --help`."""
    return lambda: _run("acinus", "--help")


def no_op(out: str) -> Work:
    """`dvc repro` in a checkout where every stage is up to date; note `clean` is 0, and nothing runs, where not."""
    return (lambda: _run("dvc", "repro", "--quiet")) if _is_finished() else lambda: Done(1, {"clean": 0.0})


def _is_finished() -> bool:
    """Return whether nothing would run but what always does."""
    if not (ROOT / ".dvc").is_dir():
        return False
    _run("acinus", "code")
    status = subprocess.run([BIN / "dvc", "status", "--json"], cwd=ROOT, capture_output=True, text=True)
    return status.returncode == 0 and {name.split("@")[0] for name in json.loads(status.stdout)} <= {"code", "watch"}


def _run(program: str, *arguments: str) -> Done:
    subprocess.run([BIN / program, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return Done(1, {"clean": 1.0})
