"""Recipes side by side in one project: which run at the same time, and what DVC remembers of them afterwards."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from acinus.commands.repro import at_once, longest_first, run, stages_of
from acinus.errors import AcinusError
from acinus.params import Project

ROOT = Path(__file__).resolve().parents[2]
MEET = "touch data/{0}.begun; for i in $(seq 200); do [ -e data/{1}.begun ] && break; sleep 0.1; done; [ $i -lt 200 ]"
"""A stage that ends well only if another one begins before its end."""


def settings(**compute: Any) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["compute"] |= {"scheduler": "local", "workers": 2, "threads": 1, "device": "cpu", **compute}
    return values | {"recipes": ["a", "b", "c"], "raw_cohorts": ["c"]}


@pytest.mark.parametrize(
    ("compute", "processors", "expected"),
    [
        ({}, 2, 2),
        ({"workers": 4}, 8, 4),
        ({"workers": 4, "threads": 4}, 8, 2),
        ({}, 1, 1),
        ({"workers": 1}, 8, 1),
        ({"device": "cuda"}, 8, 1),
        ({"scheduler": "tcp://host:8786"}, 8, 1),
    ],
)
def test_as_many_run_at_once_as_have_a_processor_each(compute: dict[str, Any], processors: int, expected: int) -> None:
    assert at_once(Project.model_validate(settings(**compute)), processors) == expected


def test_the_stages_of_a_recipe_are_those_of_dvc_yaml_in_its_order() -> None:
    stages = [name.removesuffix("@r") for name in stages_of(ROOT, "r", raw=False)]
    assert stages[:3] == ["inventory", "ingest", "index"]
    assert stages[-1] == "report"
    assert "watch@r" in stages_of(ROOT, "r", raw=True)
    listed = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert set(listed) - set(stages) == {"demo", "watch", "summary"}


def test_a_recipe_that_searches_is_begun_first() -> None:
    names = ["demo-slides", "demo-biopsy", "demo-panda"]
    assert longest_first(ROOT, names) == ["demo-biopsy", "demo-slides", "demo-panda"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of three recipes, the last stage of which waits for another recipe's to have begun."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "data").mkdir()
    for name in "abc":
        (tmp_path / "recipes" / f"{name}.yaml").write_text((ROOT / "recipes" / "demo-camelyon.yaml").read_text())
    values = settings() | {"raw_cohorts": []}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values | {"demo": values["demo"] | {"families": []}}))
    code = {"cmd": "echo 1 > x.json", "always_changed": True, "outs": [{"x.json": {"persist": True}}]}
    (tmp_path / "code" / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"code": code}}))
    first = {"cmd": "cp code/x.json data/${item.recipe}.1", "deps": ["code/x.json"], "outs": ["data/${item.recipe}.1"]}
    last = {
        "cmd": "sh meet.sh ${item.recipe} > data/${item.recipe}.2",
        "deps": ["data/${item.recipe}.1"],
        "outs": ["data/${item.recipe}.2"],
    }
    matrix = {"matrix": {"recipe": "${recipes}"}}
    everything = {"cmd": "cat data/?.2 > data/all", "deps": [f"data/{name}.2" for name in "abc"], "outs": ["data/all"]}
    stages = {"first": matrix | first, "last": matrix | last, "summary": everything}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    meet = "\n".join(f"[ $1 = {one} ] && {{ {MEET.format(one, other)} || exit 1; }}" for one, other in ("ab", "ba"))
    (tmp_path / "meet.sh").write_text(f"{meet}\necho line of $1 >&2\necho done $1\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    return tmp_path


def test_two_recipes_run_at_the_same_time_and_dvc_knows_all_that_ran(project: Path, capfd) -> None:
    run(project)
    assert (project / "data" / "all").read_text() == "done a\ndone b\ndone c\n"
    assert "[a] line of a" in capfd.readouterr().out.splitlines()
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert set(lock) == {*(f"{name}@{recipe}" for name in ("first", "last") for recipe in "abc"), "summary"}
    assert list((project / "data").glob("*.begun")), "the stages met"
    run(project)
    assert "Running stage 'first" not in capfd.readouterr().out, "nothing changed, nothing runs again"


def test_one_recipe_that_fails_leaves_the_others_finished(project: Path, capfd) -> None:
    text = (project / "meet.sh").read_text()
    (project / "meet.sh").write_text(f"{text}[ $1 != a ]\n")
    with pytest.raises(
        AcinusError, match=r"^dvc repro --single-item first@a failed \(see above\); what is finished is kept"
    ):
        run(project)
    assert (project / "data" / "b.2").read_text() == "done b\n"
    assert not (project / "data" / "all").exists()
    assert "[a] ERROR: failed to reproduce 'last@a'" in capfd.readouterr().out
