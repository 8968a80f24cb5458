"""One way to map over slides: order, failures and deaths are the same wherever the work runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from acinus.errors import AcinusError, SlideError
from acinus.parallel import map_over

SRC = Path(__file__).resolve().parents[1] / "src"

PROGRAM = """
import os, sys, time
from pathlib import Path
from acinus.errors import AcinusError, SlideError
from acinus.parallel import map_over


def late_first(job):
    time.sleep(0.3 if job == 0 else 0)
    return job, os.getpid()


def second_fails(job):
    if job == 1:
        raise SlideError("slide b: broken; replace it")
    return job


def dies(job):
    os._exit(9)


def naps(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


def show(function, jobs):
    try:
        print("results", *map_over(function, jobs, "local", 2), sep="|")
    except AcinusError as error:
        print(type(error).__name__, error, sep="|")


def on_a_cluster():
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        try:
            list(map_over(dies, [1], cluster.scheduler_address, shared=[Path(sys.argv[2])], say=str))
        except AcinusError as error:
            print(error, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["cluster"]:
        on_a_cluster()
    elif sys.argv[1:2] == ["stopped"]:
        try:
            list(map_over(naps, sys.argv[2:] * 2, "local", 2))
        except KeyboardInterrupt:
            sys.exit(130)
    elif sys.argv[1:]:
        list(map_over(naps, sys.argv[1:] * 2, "local", 2))
    else:
        show(late_first, [0, 1, 2])
        show(second_fails, [0, 1, 2])
        show(dies, [0, 1])
        print("me", os.getpid(), sep="|")
"""


def double(job: int) -> int:
    return 2 * job


def second_fails(job: int) -> int:
    if job == 1:
        raise SlideError("slide b: broken; replace it")
    return job


def program(folder: Path) -> list[str]:
    """The command of a program whose functions worker processes can import."""
    path = folder / "program.py"
    path.write_text(PROGRAM)
    return [sys.executable, str(path)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(SRC)}


def test_local_processes_keep_order_type_and_text_and_a_death_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        program(tmp_path), env=environment(), capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()
    ordered, failed, died, me = done
    results = [tuple(int(n) for n in one.strip("()").split(", ")) for one in ordered.split("|")[1:]]
    assert [job for job, _ in results] == [0, 1, 2]  # though 0 ended last
    assert int(me.split("|")[1]) not in {pid for _, pid in results}
    assert failed == "SlideError|slide b: broken; replace it"
    assert died.startswith("AcinusError|a worker process died")
    assert "compute.workers in params.yaml" in died


@pytest.mark.parametrize(("jobs", "workers"), [([3, 1, 2], 1), ([5], 4), ([], 4)])
def test_one_worker_or_one_job_needs_no_process(jobs: list[int], workers: int) -> None:
    seen = []  # a closure cannot travel to another process

    def note(job: int) -> int:
        seen.append(job)
        return -job

    assert list(map_over(note, jobs, "local", workers)) == [-job for job in jobs]
    assert seen == jobs


def napping(tmp_path: Path, on_sigint: signal.Handlers) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """Return a stage with two workers at work, as it is begun in front (SIG_DFL) or in the background (SIG_IGN)."""
    signs = tmp_path / "signs"
    signs.mkdir()
    stage = subprocess.Popen(
        [*program(tmp_path), "stopped", str(signs)],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, on_sigint),
    )
    deadline = time.monotonic() + 30
    while len(list(signs.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    return stage, [psutil.Process(int(one.name)) for one in signs.iterdir()]


def test_ctrl_c_ends_the_workers_without_a_word_of_theirs(tmp_path: Path) -> None:
    stage, workers = napping(tmp_path, signal.SIG_DFL)
    os.killpg(stage.pid, signal.SIGINT)  # as a terminal does: to all of them
    said = stage.communicate(timeout=30)[1]
    assert (stage.returncode, said) == (130, "")
    assert len(workers) == 2
    assert not any(one.is_running() for one in workers)


def test_workers_of_a_command_in_the_background_ignore_ctrl_c_as_it_does(tmp_path: Path) -> None:
    stage, workers = napping(tmp_path, signal.SIG_IGN)
    try:
        os.killpg(stage.pid, signal.SIGINT)
        gone, alive = psutil.wait_procs(workers, timeout=1)
        assert (gone, len(alive)) == ([], 2)
        assert stage.poll() is None
    finally:
        os.killpg(stage.pid, signal.SIGKILL)
        stage.communicate(timeout=30)


def test_workers_end_when_the_process_above_them_is_killed(tmp_path: Path) -> None:
    signs = tmp_path / "signs"
    signs.mkdir()
    parent = subprocess.Popen([*program(tmp_path), str(signs)], env=environment())
    deadline = time.monotonic() + 30
    while len(list(signs.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [psutil.Process(int(one.name)) for one in signs.iterdir()]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []


@pytest.mark.parametrize("between", ["", "/bin/sh"])
def test_a_process_ends_with_the_one_above_it_and_not_before(between: str) -> None:
    """A shell between the two, as dash stays one, waits for the process and must not keep it alive."""
    child = "import sys; from acinus.parallel import exit_with_process; exit_with_process(int(sys.argv[1]), 0.05)"
    command = f"import shlex, os, sys; one = [sys.executable, '-c', {child + '; import time; time.sleep(60)'!r}]; "
    shell = f"one = [{between!r}, '-c', shlex.join([*one, str(os.getpid())]) + '; true']; "
    middle = f"{command}{shell if between else 'one = [*one, str(os.getpid())]; '}" + (
        "import subprocess, time; one = subprocess.Popen(one); time.sleep(1); print(one.pid, one.poll(), flush=True); "
        "time.sleep(1)"
    )
    done = subprocess.Popen([sys.executable, "-c", middle], env=environment(), stdout=subprocess.PIPE, text=True)
    assert done.stdout is not None
    pid, status = done.stdout.readline().split()
    started = psutil.Process(int(pid))
    family = [started, *started.children()]
    assert status == "None"  # it lived as long as the one above it
    assert len(family) == (2 if between else 1)
    done.kill()
    done.stdout.close()
    done.wait(timeout=20)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A Dask cluster of one worker thread in this process, reached over TCP as any other."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


def test_a_dask_cluster_gives_the_same(scheduler: str, tmp_path: Path) -> None:
    assert scheduler.startswith("tcp://")
    jobs = [3, 1, 2, 3]
    assert list(map_over(double, jobs, scheduler, shared=[tmp_path])) == list(map_over(double, jobs)) == [6, 2, 4, 6]
    assert list(map_over(double, [], scheduler, shared=[tmp_path])) == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.filterwarnings("ignore:Task")
def test_a_failure_on_the_cluster_keeps_type_and_text(scheduler: str, tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"^slide b: broken; replace it$"):
        list(map_over(second_fails, [0, 1, 2], scheduler, shared=[tmp_path]))


def test_a_cluster_whose_workers_die_is_one_line(tmp_path: Path) -> None:
    """Regression: Dask's KilledWorker came through as a traceback."""
    done = subprocess.run(
        [*program(tmp_path), "cluster", str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("params.yaml: compute.scheduler = 'tcp://127.0.0.1:")
    assert "its workers or its scheduler died; look at their logs" in line


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import distributed

    patient = distributed.Client
    monkeypatch.setattr(
        "distributed.Client", lambda address, timeout, **more: patient(address, timeout=timeout / 10, **more)
    )
    with pytest.raises(AcinusError) as caught:
        list(map_over(double, [1, 2], "tcp://127.0.0.1:9", shared=[tmp_path]))
    assert str(caught.value).startswith("params.yaml: compute.scheduler = 'tcp://127.0.0.1:9': no Dask scheduler")
    assert "\n" not in str(caught.value)
