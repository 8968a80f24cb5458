"""`acinus upgrade`: what another version runs again, on projects written by hand."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from acinus.code import facts_text, package
from acinus.commands import upgrade
from acinus.templates.reading import PIPELINE, published, template

ROOT = Path(__file__).resolve().parents[2]


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose stages index and sample ran with the code that is installed."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "code").mkdir()
    settings = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"recipes": ["lung", "node"], "raw_cohorts": []}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    for name in ("lung", "node"):
        (tmp_path / "recipes" / f"{name}.yaml").write_text(published()["demo-camelyon"].read_text())
    for path, file in PIPELINE.items():
        (tmp_path / path).write_text(template(file))
    stages: dict[str, Any] = {}
    for stage in ("index", "sample"):
        text = facts_text(package().facts(f"acinus.stages.{stage}"))
        (tmp_path / "code" / f"{stage}.json").write_text(text)
        for recipe in ("lung", "node"):
            stages[f"{stage}@{recipe}"] = {"deps": [{"path": f"code/{stage}.json", "md5": md5(text)}]}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    (tmp_path / "requirements.txt").write_text("acinus==0.1.0\n")
    return tmp_path


def ran_with(project: Path, stage: str, recipe: str, change: Any) -> None:
    """Let a stage have run with other code."""
    facts = json.loads((project / "code" / f"{stage}.json").read_text())
    change(facts)
    text = facts_text(facts)
    (project / "code" / f"{stage}.json").write_text(text)
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    lock["stages"][f"{stage}@{recipe}"]["deps"][0]["md5"] = md5(text)
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))


def test_nothing_runs_again_with_the_same_code(project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    said = upgrade.run(project, check=False).splitlines()
    assert said == [
        f"{project}: made with acinus 0.1.0, 0.1.0 runs",
        "nothing runs again: code, libraries and pipeline are as they were",
        "next: dvc repro",
    ]
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_other_modules_and_libraries_are_named_with_the_recipes_that_ran_with_them(project: Path) -> None:
    def older(facts: dict[str, dict[str, str]]) -> None:
        facts["libraries"]["numpy"] = "1.26.0"
        facts["modules"]["acinus.patches.grid"] = "another"
        del facts["modules"]["acinus.patches.index"]

    ran_with(project, "index", "node", older)
    now = package().facts("acinus.stages.index")["libraries"]["numpy"]
    said = upgrade.run(project, check=True).splitlines()
    assert said[1:] == [
        "runs again, and then what follows if its outputs differ:",
        f"  index (node): numpy 1.26.0 -> {now}; acinus.patches.grid, acinus.patches.index",
    ]


def test_another_pipeline_is_written_anew_and_recipes_stay(project: Path) -> None:
    older = yaml.safe_load((project / "dvc.yaml").read_text())
    older["stages"]["sample"]["deps"].append("data/old")
    older["stages"]["index"]["desc"] = "in other words"
    (project / "dvc.yaml").write_text(yaml.safe_dump(older))
    (project / "requirements.txt").write_text("pandas\nacinus[weights]==0.0.9\n")
    recipe = project / "recipes" / "lung.yaml"
    recipe.write_text(recipe.read_text() + "mouse: 1\n")
    kept = recipe.read_text()
    checked = upgrade.run(project, check=True).splitlines()
    assert checked[0] == f"{project}: made with acinus 0.0.9, 0.1.0 runs"
    assert checked[2:] == [
        "  sample (lung, node): its part of dvc.yaml",
        f"  change it by hand: {recipe}: mouse = 1: unknown key; allowed here: " + checked[3].rpartition("here: ")[2],
    ]
    assert yaml.safe_load((project / "dvc.yaml").read_text()) == older
    said = upgrade.run(project, check=False).splitlines()
    assert said[-3:] == [
        "dvc.yaml: written anew; what stood there: dvc.yaml.old",
        "requirements.txt: pins acinus 0.1.0",
        "next: dvc repro",
    ]
    assert (project / "dvc.yaml").read_text() == template("pipeline.yaml")
    assert yaml.safe_load((project / "dvc.yaml.old").read_text()) == older
    assert (project / "requirements.txt").read_text() == "pandas\nacinus[weights]==0.1.0\n"
    assert recipe.read_text() == kept


def test_a_project_in_which_nothing_ran_and_one_of_the_older_layout(project: Path) -> None:
    (project / "dvc.lock").unlink()
    (project / "code" / "dvc.yaml").unlink()
    assert "nothing runs again" in upgrade.run(project, check=False)
    assert (project / "code" / "dvc.yaml").read_text() == template("code.yaml")
