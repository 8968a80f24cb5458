"""A project of one's own, made by `acinus init` in a folder outside the repository: no source code, `dvc repro`."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from acinus.files import read_json
from acinus.stages.code import package
from tests.pipeline.conftest import REPOSITORY, SMALL

TINY = {
    "train": {"model": "test_resnet.r160_in1k", "weights": "none", "max_epochs": 1, "lr": 0.003},
    "calibrate": {"trials": 0},
    "tune": {"trials": 0},
    "grade": {"seeds": 1, "max_epochs": 2},
}


@dataclass(frozen=True)
class Study:
    """A project beside its slides, and the commands that a person types there."""

    root: Path

    def run(self, *words: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "GIT_", "PYTHON", "ACINUS"))
        }
        kept |= {f"GIT_{who}_{what}": "a@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        kept |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(REPOSITORY / "src"),  # an installed acinus
            "DVC_SITE_CACHE_DIR": str(self.root.parent / "site"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(words, cwd=folder or self.root, env=kept, capture_output=True, text=True, timeout=900)

    def succeeds(self, *words: str, folder: Path | None = None) -> str:
        done = self.run(*words, folder=folder)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def study(direct: Any, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A project for the drawn CAMELYON cohort, made like a small recipe; nothing has run."""
    base = tmp_path_factory.mktemp("person")
    document = yaml.safe_load((REPOSITORY / "recipes" / "demo-camelyon.yaml").read_text())
    for changes in (SMALL, TINY):
        for section, values in changes.items():
            document[section] |= values
    (base / "tiny.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    made = Study(base / "study")
    slides = str(direct.root / "data" / "demo" / "camelyon")
    said = made.succeeds("acinus", "init", "study", "--slides", slides, "--like", "tiny.yaml", folder=base)
    assert said.splitlines()[0] == f"{made.root}: a project for 8 slides in {slides}"
    assert said.splitlines()[-1] == "next: cd study && dvc repro"
    settings = made.root / "params.yaml"
    settings.write_text(settings.read_text().replace("device: auto", "device: cpu").replace("threads: 2", "threads: 1"))
    return made


def ran(output: str) -> set[str]:
    return set(re.findall(r"^Running stage '([^']+)'", output, re.MULTILINE))


LOOKED = {"code/dvc.yaml:code", "watch@study"}


def test_the_first_stages_run_without_setup_and_source_code_and_a_pin_stops_another_version(study: Study) -> None:
    """Quicker than the whole way below: the parts that a project without src/ could break."""
    assert not (study.root / "src").exists()
    assert not list(study.root.rglob("*.py"))
    output = study.succeeds("dvc", "repro", "ingest@study")
    assert ran(output) == LOOKED | {"inventory@study", "ingest@study"}
    assert "ok 8, bad 0" in output
    assert sorted(path.stem for path in (study.root / "code").glob("*.json")) == sorted(package().stages())
    again = study.succeeds("dvc", "repro", "ingest@study")
    assert ran(again) == LOOKED
    assert study.succeeds("git", "status", "--short").split() == [
        "M",
        "params.yaml",
        "??",
        "code/dvc.lock",
        "??",
        "dvc.lock",
    ]
    pin = study.root / "requirements.txt"
    text = pin.read_text()
    pin.write_text(text.replace("acinus==", "acinus==9."))
    try:
        done = study.run("dvc", "repro", "ingest@study")
        assert done.returncode != 0
        assert "error: " + str(pin) + ": this project was made with acinus 9." in done.stderr
    finally:
        pin.write_text(text)


def test_upgrade_says_what_runs_again_and_why(study: Study) -> None:
    study.succeeds("dvc", "repro", "ingest@study")
    nothing = study.succeeds("acinus", "upgrade", "--check")
    assert nothing.splitlines()[1:] == ["nothing runs again: code, libraries and pipeline are as they were"]
    lock, code = study.root / "dvc.lock", study.root / "code" / "ingest.json"
    before = lock.read_text(), code.read_text()
    facts = read_json(code)
    facts["libraries"]["numpy"] = "1.0"  # as an older version left it
    code.write_text(yaml.safe_dump(facts))
    (entry,) = [dep for dep in yaml.safe_load(before[0])["stages"]["ingest@study"]["deps"] if "code/" in dep["path"]]
    lock.write_text(before[0].replace(entry["md5"], "0" * 32))
    try:
        said = study.succeeds("acinus", "upgrade", "--check").splitlines()
        assert said[1] == "runs again, and then what follows if its outputs differ:"
        assert len(said) == 3
        assert said[2].startswith("  ingest (study): ")
    finally:
        lock.write_text(before[0])
        code.write_text(before[1])


@pytest.mark.slow  # the tests above run its first stages; tiny_project runs all of them in a copy of the repository
def test_dvc_repro_to_the_end(study: Study) -> None:
    output = study.succeeds("dvc", "repro")
    assert ran(output) >= {"report@study", "summary"}
    metrics = read_json(study.root / "reports" / "metrics.json")["study"]
    assert 0 <= metrics["patch_auc"] <= 1
    assert (study.root / "reports" / "index.html").is_file()
    assert ran(study.succeeds("dvc", "repro")) == LOOKED
    assert "study" in study.succeeds("acinus", "results")
