"""Lock files come out byte for byte as DVC writes them."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import _yaml, load_yaml, modify_yaml

from acinus.project import lock_text

LOCK = Path(__file__).resolve().parents[2] / "dvc.lock"
STAGES = 14  # of a recipe: what is written whole for comparison takes long
ENTRY = {
    "cmd": "acinus train --recipe no",
    "params": {"params.yaml": {"a": None, "b": 1e-5, "c": "no", "d": [], "e": {"f": [1, [2.5]]}, "g": "x " * 90}},
    "outs": [{"path": "models/é: #1", "hash": "md5", "md5": "0" * 32, "size": 7}],
}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The quick way of writing, and every text that went through it."""
    monkeypatch.setattr(_yaml, "parse_yaml_for_update", _yaml.parse_yaml_for_update)
    monkeypatch.setattr(_yaml, "_dump", _yaml._dump)
    lock_text.install()
    quick: list[Any] = []
    text = lock_text.LockText.text

    def spy(self: Any, dumps: Any) -> str:
        quick.append(text(self, dumps))
        return quick[-1]

    monkeypatch.setattr(lock_text.LockText, "text", spy)
    return quick


def lock_of(recipe: str) -> str:
    """Return the text of the committed lock, of its stages those of one recipe."""
    head, *stages = re.split(r"(?m)^(?=  \S)", LOCK.read_text())
    chosen = [stage for stage in stages if stage.partition(":")[0].endswith(f"@{recipe}")]
    assert len(chosen) == STAGES
    return head + "".join(chosen)


def nothing(lock: dict[str, Any]) -> None: ...


def one_changed(lock: dict[str, Any]) -> None:
    lock["stages"]["train@demo-panda"] = ENTRY


def one_new(lock: dict[str, Any]) -> None:
    names = ("first@new", "sample@demo-panda", "second: 'new'")
    lock["stages"].update({name: copy.deepcopy(ENTRY) for name in names})


def one_gone(lock: dict[str, Any]) -> None:
    del lock["stages"]["train@demo-panda"]


def another_part(lock: dict[str, Any]) -> None:
    lock["datasets"] = [{"name": "a"}]


@pytest.mark.parametrize("change", [nothing, one_changed, one_new, one_gone, another_part])
def test_a_lock_comes_out_as_dvc_writes_it(change: Any, installed: list[Any], tmp_path: Path) -> None:
    quick, slow = tmp_path / "dvc.lock", tmp_path / "dvc.yaml"
    before = lock_of("demo-panda")
    for path in (quick, slow):  # what is no lock is left to DVC
        path.write_text(before)
        with modify_yaml(path) as lock:
            change(lock)
    assert len(installed) == 1
    assert quick.read_bytes() == slow.read_bytes()
    assert (quick.read_text() == before) is (change is nothing)
    written = load_yaml(quick)
    assert one_new is not change or written["stages"]["second: 'new'"] == ENTRY


def test_a_first_lock_and_comments_of_other_files_are_dvcs_matter(installed: list[Any], tmp_path: Path) -> None:
    new, pipeline = tmp_path / "dvc.lock", tmp_path / "dvc.yaml"
    with modify_yaml(new) as lock:
        lock.update({"schema": "2.0", "stages": {"a": ENTRY}})
    pipeline.write_text("# kept\nstages: {}\n")
    with modify_yaml(pipeline) as stages:
        stages["stages"]["a"] = {"cmd": "b"}
    assert "# kept" in pipeline.read_text()
    assert installed == []
    assert load_yaml(new)["stages"] == {"a": ENTRY}


def test_another_dvc_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    dump = _yaml._dump
    monkeypatch.delattr(_yaml, "parse_yaml_for_update")
    lock_text.install()
    assert _yaml._dump is dump
