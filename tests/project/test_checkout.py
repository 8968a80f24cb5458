"""A command runs the code of the project that it is given in, whichever checkout the environment was made from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from acinus.project import checkout

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second checkout whose code tells itself apart."""
    root = tmp_path_factory.mktemp("checkout") / "second"
    shutil.copytree(REPO / "src" / "acinus", root / "src" / "acinus", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "params.yaml", root)
    with (root / "src" / "acinus" / "cli.py").open("a") as stream:
        stream.write('\nprint("the second checkout")\n')
    (root / "data" / "deep").mkdir(parents=True)
    return root


def acinus(folder: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = {**os.environ, "PATH": path, "PYTHONPATH": str(REPO / "src"), **environment}
    return subprocess.run(["acinus", *words], cwd=folder, env=known, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("below", [".", "data/deep"])
def test_a_second_checkout_runs_its_own_code_and_says_so(below: str, clone: Path) -> None:
    """The environment's code ran, while commit, dvc.lock and MLflow named the second checkout's."""
    done = acinus(clone / below, "results", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the second checkout") == 1
    assert "Usage: acinus results" in done.stdout
    (line,) = done.stderr.splitlines()
    own, installed = clone / "src" / "acinus", REPO / "src" / "acinus"
    assert line == f"acinus: running the code of this project, {own}, not the installed {installed}"


def test_code_that_cannot_be_put_right_is_refused_in_one_line(clone: Path) -> None:
    done = acinus(clone, "results", **{checkout.AGAIN: str(clone / "src" / "acinus")})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: the code of {REPO / 'src' / 'acinus'} runs, though this project has its own in ")
    assert "second checkout" not in done.stdout


def test_a_project_without_code_and_a_link_to_the_same_run_what_is_loaded(tmp_path: Path) -> None:
    shutil.copy(REPO / "params.yaml", tmp_path)
    assert checkout.own_package(tmp_path) is None
    assert acinus(tmp_path, "results", "--help").stderr == ""
    (tmp_path / "src").symlink_to(REPO / "src")
    assert checkout.own_package(tmp_path / "src") == tmp_path / "src" / "acinus"
    assert acinus(tmp_path, "results", "--help").stderr == ""
    assert checkout.own_package(Path(tmp_path.anchor)) is None
