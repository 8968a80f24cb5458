"""What a change of the code makes DVC run, and that a digest misses no module that a stage loads."""

from pathlib import Path
from typing import Any

import pytest

from acinus.code import ALWAYS_RUN, package

LOOKS_AT_TISSUE = ("index", "calibrate", "infer", "quantify", "embed", "grade", "report")


def test_sentences_in_the_code_start_no_stage_but_code(tiny_project: Any, tmp_path: Path) -> None:
    """Regression: a comment in params/ ran every stage of every recipe again."""
    project = tiny_project.copy(tmp_path / "project")
    for path in (project.root / "src" / "acinus" / "params").glob("*.py"):
        path.write_text(path.read_text().replace('"""', '"""Also: ', 1).replace("\n\n\n", "\n\n\n\n# anew\n"))
    assert project.ran(project.run("dvc", "repro")) == {"code"}
    assert project.outs() == tiny_project.outs()


def test_a_constant_of_tissue_reruns_the_stages_that_import_it(tiny_project: Any, tmp_path: Path) -> None:
    project = tiny_project.copy(tmp_path / "project")
    path = project.root / "src" / "acinus" / "tissue" / "saturation.py"
    text = path.read_text()
    path.write_text(text.replace("SATURATION_CAP = 0.4 ", "SATURATION_CAP = 0.41 "))
    assert path.read_text() != text
    recipe = project.recipe
    ran = project.ran(project.run("dvc", "repro", f"sample@{recipe}"))
    assert ran == {"code", f"index@{recipe}"}  # the recipe's tissue is another rule's: sample finds the same index
    status = project.changed()
    assert {stage for stage, changes in status.items() if f"code/{stage.split('@')[0]}.json" in str(changes)} == {
        f"{stage}@{recipe}" for stage in LOOKS_AT_TISSUE if stage != "index"
    }


@pytest.mark.parametrize("stage", sorted(set(package().stages()) - set(ALWAYS_RUN)))
def test_a_stage_loads_no_module_of_ours_that_its_digest_does_not_know(tiny_project: Any, stage: str) -> None:
    """But for what makes no result: command line, MLflow, checks of parameters, the list of the Python API's names."""
    loaded = set((tiny_project.root / ".loaded" / f"{stage}.txt").read_text().split())
    known = package().facts(f"acinus.stages.{stage}")["modules"].keys()
    around = package().facts("acinus.execution", "acinus.project.checkout", "acinus.cli_group")["modules"].keys()
    around |= {"acinus.cli", "acinus.api"}
    assert f"acinus.stages.{stage}" in loaded
    assert loaded - known - around == set()
