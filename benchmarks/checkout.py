"""What a person waits for at the command line: the program's help, and `dvc repro` where nothing is to be done."""

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
    if not (ROOT / ".dvc").is_dir() or subprocess.run([BIN / "dvc", "status", "--quiet"], cwd=ROOT).returncode:
        return lambda: Done(1, {"clean": 0.0})
    return lambda: _run("dvc", "repro", "--quiet")


def _run(program: str, *arguments: str) -> Done:
    subprocess.run([BIN / program, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return Done(1, {"clean": 1.0})
