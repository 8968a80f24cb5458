"""Workers of a real Dask cluster that would not do as this process does are refused by name, and none is waited for."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from acinus import cluster
from acinus.code import running_versions
from acinus.errors import AcinusError
from acinus.learning.device import reproducible
from acinus.parallel import map_over

SRC = Path(__file__).resolve().parents[1] / "src"
CODE = "acinus's code"
JOBS = """
import time


def nap(seconds):
    time.sleep(seconds)
    return seconds
"""


@contextmanager
def started(*command: str, path: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A process of Dask's command line; it and what it started are ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *command, "--no-dashboard"],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def scheduling(folder: Path, *paths: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a scheduler without workers, and its process; it finds modules in `paths`."""
    file = folder / "scheduler.json"
    places = os.pathsep.join(map(str, paths))
    command = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    with started(*command, path=places) as process:
        deadline = time.monotonic() + 60
        while not (address := address_in(file)):
            assert time.monotonic() < deadline, "no scheduler came"
            time.sleep(0.1)
        yield address, process


def address_in(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_text())["address"])
    except (OSError, ValueError):
        return None


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with scheduling(tmp_path, SRC, tmp_path) as started_one:
        yield started_one


@contextmanager
def worker(address: str, *paths: Path) -> Iterator[None]:
    with started(
        "worker", address, "--nworkers", "1", "--nthreads", "1", "--no-nanny", path=os.pathsep.join(map(str, paths))
    ):
        yield


def refused(address: str, folder: Path) -> str:
    with pytest.raises(AcinusError) as caught:
        list(map_over(abs, [1, 2], address, shared=[folder], say=str))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_worker_with_other_code_and_one_without_are_named(
    scheduler: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """Regression: an edited worker gave another index unnoticed; one without the package was waited for for ever."""
    edited = tmp_path / "edited"
    shutil.copytree(SRC / "acinus", edited / "acinus", ignore=shutil.ignore_patterns("__pycache__"))
    with (edited / "acinus" / "slides" / "tissue.py").open("a") as module:
        module.write("\nFACTOR = 2\n")
    address, _ = scheduler
    with worker(address, edited):
        text = refused(address, tmp_path)
    assert "1 of 1 workers unfit: worker tcp://127.0.0.1:" in text
    assert f"where the client has {running_versions()[CODE]}" in text
    nothing = without_acinus(tmp_path)
    with worker(address, nothing):
        assert "cannot run this acinus (ImportError('there is none')); give" in refused(address, tmp_path)


def without_acinus(folder: Path) -> Path:
    """A folder that makes a process which looks there first one without the package."""
    nothing = folder / "nothing"
    nothing.mkdir()
    (nothing / "acinus.py").write_text("raise ImportError('there is none')\n")
    return nothing


def test_without_dask_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(AcinusError, match=r"compute.scheduler = 'tcp://h:1': Dask .*; install the extra cluster: make"):
        list(cluster.map_on_cluster(abs, [1], "tcp://h:1", [tmp_path], print))


def test_a_scheduler_without_the_package_is_one_line(tmp_path: Path) -> None:
    with scheduling(tmp_path, without_acinus(tmp_path)) as (address, _):
        assert "the scheduler cannot run acinus (there is none); start it in" in refused(address, tmp_path)


def test_a_cluster_without_workers_is_not_waited_for_for_ever(
    scheduler: tuple[str, subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "WAIT_S", 1.0)
    assert f"no worker in 1 s; start some: dask worker {scheduler[0]}" in refused(scheduler[0], tmp_path)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_scheduler_that_dies_ends_the_work_in_one_line(
    scheduler: tuple[str, subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    """Regression: a dead scheduler hung the run."""
    monkeypatch.setattr(cluster, "LOOK_S", 0.5)
    monkeypatch.setattr(cluster, "CONNECT_S", 2.0)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "sleeping_jobs.py").write_text(JOBS)
    from sleeping_jobs import nap  # type: ignore[import-not-found]

    address, process = scheduler
    with worker(address, SRC, tmp_path):
        results = map_over(nap, [0, 600], address, shared=[tmp_path], say=str)
        assert next(results) == 0
        os.kill(process.pid, how)
        with pytest.raises(AcinusError, match=r"scheduler died|scheduler does not answer any more"):
            next(results)


def expected(folder: Path, **changed: str) -> cluster.Expected:
    token = folder / ".acinus" / "cluster" / "token"
    token.parent.mkdir(parents=True, exist_ok=True)
    token.write_text("text")
    (folder / "slides").mkdir(exist_ok=True)
    (folder / "slides" / "a.tif").touch()
    versions = tuple((running_versions() | changed).items())
    slides = str(folder / "slides")
    return cluster.Expected(versions, ((slides, cluster.view(Path(slides))),), (str(token), "text"))


def test_what_a_worker_lacks_is_said(tmp_path: Path) -> None:
    """A worker that does not see the slides called them unreadable, and so they were left out of the cohort."""
    same = expected(tmp_path)
    assert cluster.fault(same) is None
    here = running_versions()["numpy"]
    assert cluster.fault(expected(tmp_path, numpy="0.1")) == f"has numpy {here} where the client has 0.1"
    (tmp_path / "slides" / "b.tif").touch()
    assert cluster.fault(same) == f"does not see in {tmp_path / 'slides'} what the client sees there"
    elsewhere = cluster.Expected(same.versions, (), (str(tmp_path / "x" / ".acinus" / "cluster" / "t"), "text"))
    assert cluster.fault(elsewhere) == f"does not see the project's folder {tmp_path / 'x'}"


def test_a_worker_that_joins_later_is_asked_by_its_first_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr(cluster, "_check_workers", lambda *_: None)  # as if none had been there to be asked
    monkeypatch.setattr(cluster, "fault", lambda _: "has numpy 0.1 where the client has 9")
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as here:
        text = refused(here.scheduler_address, tmp_path)
    assert "has numpy 0.1 where the client has 9; give every worker the same environment" in text


def test_torch_is_set_for_one_thread_at_a_time_and_put_back() -> None:
    """Regression: two threads that set torch up at once left its settings changed, and shared one network."""
    cpu, before = torch.device("cpu"), torch.are_deterministic_algorithms_enabled()
    first_in, first_may_leave, second_in = (threading.Event() for _ in range(3))

    def first() -> None:
        with reproducible(cpu, 1):
            first_in.set()
            first_may_leave.wait(30)

    def second() -> None:
        with reproducible(cpu, 1):
            second_in.set()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert first_in.wait(30)
    threads[1].start()
    assert not second_in.wait(0.3)
    first_may_leave.set()
    for thread in threads:
        thread.join(30)
    assert second_in.is_set()
    assert torch.are_deterministic_algorithms_enabled() == before
