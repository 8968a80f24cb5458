"""The comparison with the committed dvc.lock, on locks written by hand."""

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from acinus.commands import reproduce
from acinus.commands.reproduce import compare_locks, compare_metrics, rule_of
from acinus.errors import AcinusError
from acinus.metrics.registry import METRICS as REGISTRY
from acinus.metrics.registry import tolerances
from acinus.project import machine

ROOT = Path(__file__).resolve().parents[2]
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

LOCK: dict[str, Any] = {
    "stages": {
        "index@r": {
            "deps": [{"path": "data/r/manifest.parquet", "md5": "d1"}, {"path": "code/index.json", "md5": "s1"}],
            "params": {"recipes/r.yaml": {"index": {"level": 0}}},
            "outs": [{"path": "data/r/index.parquet", "md5": "i1"}, {"path": "data/r/tissue", "md5": "t1.dir"}],
        },
        "train@r": {"outs": [{"path": "models/r", "md5": "m1.dir"}, {"path": "models/r.run.json", "md5": "u1"}]},
        "report@r": {
            "outs": [
                {"path": "reports/r/metrics.json", "md5": "j1"},
                {"path": "reports/r/index.html", "md5": "h1"},
                {"path": "reports/r/per_slide.csv", "md5": "p1"},
            ]
        },
        "validate@r": {
            "outs": [{"path": "reports/r/validation.json", "md5": "v1"}, {"path": "reports/r/data_docs", "md5": "dd"}]
        },
        "summary": {"outs": [{"path": "reports/index.html", "md5": "h"}, {"path": "reports/machine.json", "md5": "m"}]},
    }
}


def changed(stage: str, kind: str, number: int, **values: str) -> dict[str, Any]:
    """LOCK with one entry of one stage changed."""
    lock = copy.deepcopy(LOCK)
    lock["stages"][stage][kind][number] |= values
    return lock


@pytest.mark.parametrize("same_machine", [True, False])
def test_equal_locks_have_no_difference(same_machine: bool) -> None:
    assert compare_locks(LOCK, copy.deepcopy(LOCK), same_machine) == []


@pytest.mark.parametrize("same_machine", [True, False])
@pytest.mark.parametrize(
    ("stage", "number", "path"), [("index@r", 1, "data/r/tissue"), ("validate@r", 0, "reports/r/validation.json")]
)
def test_a_changed_output_of_an_exact_stage_is_named_on_any_machine(stage, number, path, same_machine) -> None:
    (found,) = compare_locks(LOCK, changed(stage, "outs", number, md5="new"), same_machine)
    assert (found.stage, found.path) == (stage, path)
    assert str(found).startswith(f"stage {stage}, {path}: new here, ")


@pytest.mark.parametrize(("stage", "number"), [("train@r", 0), ("report@r", 0), ("report@r", 2)])
def test_learned_outputs_must_be_identical_on_the_same_machine_type_only(stage: str, number: int, capsys) -> None:
    rebuilt = changed(stage, "outs", number, md5="new")
    (found,) = compare_locks(LOCK, rebuilt, same_machine=True)
    assert found.path == LOCK["stages"][stage]["outs"][number]["path"]
    capsys.readouterr()
    assert compare_locks(LOCK, rebuilt, same_machine=False) == []
    assert f"differs  tolerance     {stage}: {found.path}" in capsys.readouterr().out  # said, though allowed


@pytest.mark.parametrize(
    ("stage", "number"), [("train@r", 1), ("report@r", 1), ("validate@r", 1), ("summary", 0), ("summary", 1)]
)
def test_outputs_that_name_times_and_runs_are_not_compared(stage: str, number: int) -> None:
    assert compare_locks(LOCK, changed(stage, "outs", number, md5="new"), same_machine=True) == []


def test_a_lock_made_with_other_code_or_parameters_is_called_stale() -> None:
    (code,) = compare_locks(LOCK, changed("index@r", "deps", 1, md5="new"), same_machine=True)
    assert (code.stage, code.path) == ("index@r", "code/index.json")
    assert "made with other code; run dvc repro and commit dvc.lock" in code.text
    other = changed("index@r", "deps", 1, md5="new")
    assert compare_locks(LOCK, other, same_machine=False, same_versions=False) == []  # the digest names versions, too
    rebuilt = copy.deepcopy(LOCK)
    rebuilt["stages"]["index@r"]["params"]["recipes/r.yaml"]["index"]["level"] = 1
    (params,) = compare_locks(LOCK, rebuilt, same_machine=True)
    assert (params.path, "other parameters" in params.text) == ("params", True)


def test_a_changed_input_is_told_once_by_the_stage_that_made_it() -> None:
    assert compare_locks(LOCK, changed("index@r", "deps", 0, md5="new"), same_machine=True) == []


def test_a_stage_or_output_that_was_never_committed_is_a_difference() -> None:
    committed = copy.deepcopy(LOCK)
    del committed["stages"]["index@r"]
    (found,) = compare_locks(committed, LOCK, same_machine=False)
    assert (found.stage, found.path) == ("index@r", "dvc.lock")
    committed = copy.deepcopy(LOCK)
    del committed["stages"]["index@r"]["outs"][0]
    (found,) = compare_locks(committed, LOCK, same_machine=False)
    assert (found.path, found.text) == ("data/r/index.parquet", "i1 here, None committed")


def test_recipes_that_left_the_run_list_are_not_missed() -> None:
    rebuilt = copy.deepcopy(LOCK)
    del rebuilt["stages"]["train@r"]  # dvc.lock keeps entries of recipes no longer listed
    assert compare_locks(LOCK, rebuilt, same_machine=True) == []


@pytest.mark.parametrize(
    ("stage", "path", "same", "rule"),
    [
        ("demo@camelyon", "data/demo/camelyon", False, "identical"),
        ("extract@r", "data/r/patches", False, "identical"),
        ("train@r", "models/r", True, "identical"),
        ("train@r", "models/r", False, "tolerance"),
        ("infer@train", "data/r/maps", False, "tolerance"),
        ("sample@train", "data/train/sample.parquet", False, "identical"),
        ("train@r", "models/r.run.json", True, "not compared"),
        ("report@r", "reports/r/index.html", False, "not compared"),
    ],
)
def test_rule_of(stage: str, path: str, same: bool, rule: str) -> None:
    assert rule_of(stage, path, same) == rule


def test_learned_stages_and_patterns_are_those_of_dvc_yaml() -> None:
    assert set(reproduce.LEARNED) <= set(DVC)
    before = list(DVC)[: list(DVC).index("tune")]
    assert not set(before) & set(reproduce.LEARNED)  # nothing before training hangs on rounding
    paths = []
    for stage in DVC.values():
        for out in [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]:
            path = out if isinstance(out, str) else next(iter(out))
            paths.append(path.replace("${item.recipe}", "r"))
    for pattern in reproduce.NOT_COMPARED:
        assert [path for path in paths if reproduce.fnmatch(path, pattern)], f"{pattern} names no output"


METRICS = {"r": {"patch_auc": 0.97, "dice_mean_tumor": 0.8, "slide_auc": None, "burden_mae": 2.5, "n_slides": 6}}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, []),
        ({"patch_auc": 0.955, "dice_mean_tumor": 0.84, "burden_mae": 4.4}, []),
        ({"patch_auc": 0.945}, ["patch_auc"]),
        ({"patch_auc": 0.995}, ["patch_auc"]),  # better is different, too
        ({"dice_mean_tumor": None}, ["dice_mean_tumor"]),
        ({"slide_auc": 1.0}, ["slide_auc"]),
        ({"burden_mae": 0.0, "patch_auc": 0.5}, ["patch_auc", "burden_mae"]),
    ],
)
def test_figures_may_differ_by_the_tolerance_and_no_more(change: dict[str, Any], names: list[str]) -> None:
    found = compare_metrics(METRICS, {"r": METRICS["r"] | change})
    assert [name for name in tolerances() if any(f"r: {name} = " in str(one) for one in found)] == names
    assert len(found) == len(names)


def test_another_python_is_another_machine_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its libraries are other builds: data must be identical, learned figures within the tolerances."""
    here = machine.describe(1)
    monkeypatch.setattr(machine.sys, "version_info", (3, 99, 0))
    other = machine.differences(here, machine.describe(1))
    assert other == ["python"]
    assert reproduce._headline(other, same_versions=True).startswith(
        "rule: another machine type (python differ): data and tables must be id"
    )


def test_a_recipe_without_committed_figures_is_a_difference() -> None:
    assert len(compare_metrics({}, METRICS)) == 3


def test_every_toleranced_figure_is_one_that_a_report_has() -> None:
    assert all(REGISTRY[name].reported and REGISTRY[name].interval for name in tolerances())


def test_without_a_committed_lock_the_remedy_is_said(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    with pytest.raises(AcinusError, match="git clone failed"):
        reproduce.run(project)  # no repository yet
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    (project / "params.yaml").write_text("seed: 1\n")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        subprocess.run([*git, *command], cwd=project, check=True)
    with pytest.raises(AcinusError, match=r"dvc\.lock is not committed; run dvc repro and commit it"):
        reproduce.run(project)
