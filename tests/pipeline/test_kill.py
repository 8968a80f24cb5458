"""SIGKILL of `dvc repro` in the middle of extract, of `acinus dvc repro` in that of train, then the same again."""

import time
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import psutil
import pytest

from acinus.commands.reproduce import NOT_COMPARED

PATIENCE_S = 600.0
SHARDS, EPOCHS = 8, 6  # as conftest.py's settings make them


@dataclass(frozen=True)
class Wreck:
    """What a kill left: files -> modification time (ns), final outputs that stood, processes that ran on."""

    files: dict[Path, int]
    finals: list[Path]
    orphans: list[str]


@dataclass(frozen=True)
class Killed:
    """A project whose `dvc repro` was killed in extract, then in train, then ran up to train.

    What follows is made of the same files by the same code: `make reproduce` compares that in two folders.
    """

    project: Any
    extract: Wreck
    train: Wreck


def alive(processes: list[psutil.Process], within_s: float) -> list[str]:
    """Return the processes that still run after a while; a zombie does not run."""
    deadline = time.monotonic() + within_s
    while True:
        left = []
        for process in processes:
            try:
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(" ".join(process.cmdline()))
            except psutil.NoSuchProcess:
                continue
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def kill(project: Any, command: tuple[str, ...], pattern: str, count: int, finals: list[Path], shell: str) -> Wreck:
    """Kill a command, DVC's process alone, when a stage has finished `count` files and would finish another.

    DVC starts stages through `shell`: bash gives way to its command, others (dash) stay between the two.
    """

    def seen() -> list[Path]:
        return sorted(path for path in project.root.glob(pattern) if path.is_file())

    hold = {"HOLD_AT": f"{project.root.as_posix()}/{pattern}", "HOLD_AFTER": str(count), "SHELL": shell}
    with project.running(*command, environment=hold) as dvc:
        deadline = time.monotonic() + PATIENCE_S
        while len(seen()) < count:
            assert time.monotonic() < deadline, "the stage did not come as far as it should"
            assert dvc.poll() is None, "dvc ended before the stage was in its middle"
            time.sleep(0.05)
        family = psutil.Process(dvc.pid).children(recursive=True)
        dvc.kill()
        dvc.wait()
    orphans = alive(family, within_s=10.0)
    return Wreck({path: path.stat().st_mtime_ns for path in seen()}, [one for one in finals if one.exists()], orphans)


def kill_in_extract(project: Any) -> Wreck:
    store = project.root / "data" / project.recipe / "patches"
    project.run("acinus", "setup")
    ledger = f".acinus/shards/{project.recipe}/*.json"
    notes = kill(project, ("dvc", "repro"), ledger, 3, [store / "store.json"], "/bin/sh")
    shards = [store / "shards" / f"{note.stem}.lmdb" for note in notes.files]
    return Wreck({path: path.stat().st_mtime_ns for path in shards}, notes.finals, notes.orphans)


def kill_in_train(project: Any) -> Wreck:
    project.run("acinus", "setup")
    checkpoints = f".acinus/checkpoints/{project.recipe}/epoch_*.ckpt"
    command = ("acinus", "dvc", "repro")
    return kill(project, command, checkpoints, 2, [project.root / "models" / project.recipe], "/bin/bash")


def last(project: Any) -> str:
    return f"train@{project.recipe}"


@pytest.fixture(scope="module")
def killed(fresh_project: Any) -> Killed:
    in_extract = kill_in_extract(fresh_project)
    in_train = kill_in_train(fresh_project)
    fresh_project.run("acinus", "setup")
    fresh_project.edit("params.yaml", {"compute": {"workers": 1}})  # both kills met two
    fresh_project.run("acinus", "dvc", "repro", last(fresh_project))
    return Killed(fresh_project, in_extract, in_train)


def test_the_kills_met_both_stages_in_their_middle(killed: Killed) -> None:
    shards = list((killed.project.root / "data" / killed.project.recipe / "patches" / "shards").iterdir())
    assert 0 < len(killed.extract.files) < SHARDS == len(shards)
    assert 0 < len(killed.train.files) < EPOCHS
    assert killed.extract.finals == killed.train.finals == []


def test_no_stage_outlives_its_dvc(killed: Killed) -> None:
    assert killed.extract.orphans == killed.train.orphans == []


def test_the_work_before_the_kill_is_not_done_again(killed: Killed) -> None:
    """Whole shards and checkpoints are those that stood there when dvc was killed."""
    for path, written in {**killed.extract.files, **killed.train.files}.items():
        assert path.stat().st_mtime_ns == written, f"{path.name} was written again"


def test_killed_and_straight_runs_in_two_folders_give_the_same_bytes(killed: Killed, tiny_project: Any) -> None:
    straight, mended = tiny_project.outs(), killed.project.outs()
    compared = {path for path in mended if not any(fnmatch(path, pattern) for pattern in NOT_COMPARED)}
    recipe = killed.project.recipe
    data = {f"data/{recipe}/{name}" for name in ("manifest.parquet", "index.parquet", "sample.parquet", "patches")}
    assert data | {f"models/{recipe}", "data/demo/camelyon"} <= compared <= set(straight)
    assert {path for path in compared if straight[path] != mended[path]} == set()


def test_nothing_half_written_is_left(killed: Killed) -> None:
    """Neither inside an output nor beside it, where a killed stage's unfinished copy stood."""
    root = killed.project.root
    assert [str(left.relative_to(root)) for left in root.glob("[!.]*/**/*.part")] == []


def test_dvc_is_at_rest_afterwards(killed: Killed) -> None:
    assert killed.project.ran(killed.project.run("dvc", "repro", last(killed.project))) == {"code"}


def test_setup_removes_a_lock_that_a_kill_cut_off(killed: Killed) -> None:
    lock = killed.project.root / ".dvc" / "tmp" / "rwlock"
    for left in ("", '{"read": {"data/demo'):
        lock.write_text(left)
        assert "rwlock" in killed.project.fails("dvc", "repro"), "DVC reads such a file now: setup need not care"
        killed.project.run("acinus", "setup")
        assert not lock.exists()
    assert killed.project.ran(killed.project.run("dvc", "repro", last(killed.project))) == {"code"}
