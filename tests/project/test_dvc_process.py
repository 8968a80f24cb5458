"""Which dvc process a stage runs under."""

import pytest

from acinus.project import dvc_process


class Process:
    """A process above this one, as psutil shows it."""

    def __init__(self, pid: int, *cmdline: str) -> None:
        self.pid, self._cmdline = pid, list(cmdline)

    def cmdline(self) -> list[str]:
        return self._cmdline

    def create_time(self) -> float:
        return 12.5


@pytest.mark.parametrize(
    ("above", "key"),
    [
        ([Process(5, "sh", "-c", "acinus"), Process(4, "/x/python", "/x/bin/dvc", "repro")], "4-1250"),
        ([Process(3, "/x/python", "-m", "dvc", "repro")], "3-1250"),
        ([Process(5, "sh"), Process(2, "/x/python", "/x/bin/acinus", "dvc", "repro")], "2-1250"),
        ([Process(5, "bash"), Process(1, "init", "a", "b", "dvc")], None),
    ],
)
def test_the_pipeline_is_the_dvc_process_above(monkeypatch, above: list[Process], key: str | None) -> None:
    class Here:
        def parents(self) -> list[Process]:
            return above

    monkeypatch.setattr(dvc_process.psutil, "Process", Here)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert dvc_process.pipeline_key() is None  # a stage run by hand, in a shell that dvc opened or not
    monkeypatch.setenv("DVC_STAGE", "sample@r")
    assert dvc_process.pipeline_key() == key
