"""Miniature projects: one run by `dvc repro` in a git repository of its own, one stage by stage in this process."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from acinus.params import Project, Recipe, check_recipe
from acinus.paths import Paths
from acinus.stage import ProjectStage, Stage
from acinus.stages import demo, summary
from tests.pipeline.families import run_all

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = "demo-camelyon"
DEMO = {"size_px": 1024, "training_tumor": 3, "training_normal": 3, "test_tumor": 1, "test_normal": 1}
SMALL: dict[
    str, dict[str, Any]
] = {  # section -> what makes it small; six epochs and PNG leave time to kill a stage in its middle
    "cohort": {"val_fraction": 0.34},
    "index": {"patch_px": 64, "stride_px": 64},
    "extract": {"codec": "png"},
    "train": {"model": "test_resnet.r160_in1k", "weights": "none", "max_epochs": 6, "stop_patience": 6, "lr": 0.003},
    "infer": {"stride_px": 64, "map_downsample": 16.0},
    "calibrate": {"trials": 4},
    "report": {"bootstrap": 50, "picture_px": 256},
}
TRACKING = {"uri": "sqlite:///mlflow.db", "required": False}
FAMILIES: dict[str, dict[str, int]] = {  # every drawn cohort as small as it can be
    "slides": {"slides": 5, "width_px": 1024, "height_px": 768},
    "camelyon": DEMO,
    "panda": {"slides": 18, "width_px": 600, "height_px": 512},
    "rgb_mask": {"train": 2, "val": 1, "test": 1, "width_px": 512, "height_px": 512},
    "pannuke": {"tiles_per_fold": 4},
}
MADE_BY_RUNS = ("dvc.lock", "code/dvc.lock", "reports/metrics.json", "reports/machine.json")


@dataclass(frozen=True)
class Miniature:
    """A project folder of its own, and the commands that a person types there."""

    root: Path
    recipe: str = RECIPE

    def run(self, *command: str) -> str:
        """Run a command to its end and return what it printed; a command that fails fails the test."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)} in {self.root}:\n{done.stdout[-6000:]}"
        return done.stdout

    def fails(self, *command: str) -> str:
        """Run a command that must fail (not crash) and return its standard error."""
        done = subprocess.run(
            command, cwd=self.root, env=self.environment(), capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode in (1, 255), f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stderr

    @contextmanager
    def running(self, *command: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command held as `environment` says (hold/sitecustomize.py); it is ended with the block."""
        held = self.environment() | environment
        with (self.root / ".acinus.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self.root, env=held, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def environment(self) -> dict[str, str]:
        """Return this environment with the folder's own code first, and nothing of an outer DVC, git or MLflow."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "GIT_", "PYTHON"))}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": f"{self.root / 'src'}{os.pathsep}{Path(__file__).parent / 'hold'}",
            "LOADED_AT": str(self.root / ".loaded"),
            "DVC_SITE_CACHE_DIR": str(self.root / ".dvc" / "site"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "NO_COLOR": "1",
        }

    @staticmethod
    def ran(output: str) -> set[str]:
        """Return the stages that DVC says it ran; `code` always does."""
        return set(re.findall(r"^Running stage '(?:code/dvc.yaml:)?([^']+)'", output, re.MULTILINE))

    def changed(self) -> dict[str, Any]:
        """Return what `dvc status` says of stages that changed, but for `code`, which it never knows beforehand."""
        status: dict[str, Any] = json.loads(self.run("dvc", "status", "--json"))
        assert status.pop("code/dvc.yaml:code") == ["always changed"]
        return status

    def lock(self) -> dict[str, dict[str, Any]]:
        """Return the stages of dvc.lock."""
        stages: dict[str, dict[str, Any]] = yaml.safe_load((self.root / "dvc.lock").read_text())["stages"]
        return stages

    def outs(self) -> dict[str, str]:
        """Return path -> md5 of every output in dvc.lock."""
        return {out["path"]: out["md5"] for stage in self.lock().values() for out in stage["outs"]}

    def edit(self, name: str, sections: Mapping[str, Mapping[str, Any]]) -> None:
        """Change values in a YAML file of the project."""
        path = self.root / name
        document = yaml.safe_load(path.read_text())
        for section, values in sections.items():
            document[section] |= values
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def commit(self) -> None:
        """Commit what git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "state")

    def copy(self, root: Path) -> "Miniature":
        """Return a copy without MLflow's memory, whose artifacts would go to the folder of the first."""
        forget = shutil.ignore_patterns("mlflow.db*", "mlartifacts", "site")
        shutil.copytree(self.root, root, ignore=forget, symlinks=True)
        return Miniature(root)


def fresh(root: Path, workers: int) -> Miniature:
    """Return a project of this working tree's files, small settings, committed, nothing run.

    workers: processes over slides; no result depends on it, and each takes seconds to load its libraries.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip(f"not a git checkout, so there is nothing to run DVC in: {listed.stderr.strip()}")
    for name in listed.stdout.splitlines():
        if name.startswith("tests/") or name in MADE_BY_RUNS or not (REPOSITORY / name).is_file():
            continue
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, target)
    project = Miniature(root)
    params = yaml.safe_load((root / "params.yaml").read_text())
    small = {"recipes": [RECIPE], "raw_cohorts": [], "demo": {"families": ["camelyon"], "camelyon": DEMO}}
    local = {"compute": params["compute"] | {"scheduler": "local", "workers": workers}, "tracking": TRACKING}
    (root / "params.yaml").write_text(yaml.safe_dump(params | small | local, sort_keys=False))
    project.edit(f"recipes/{RECIPE}.yaml", SMALL)
    for command in (["init", "--quiet"], ["config", "user.name", "a test"], ["config", "user.email", "test@localhost"]):
        project.run("git", *command)
    with (root / ".git" / "info" / "exclude").open("a") as excluded:
        excluded.write("/.dvc/site/\n/.acinus.log\n/.loaded/\n")
    project.commit()
    return project


@pytest.fixture(scope="session")
def fresh_project(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """Another project of the same files, in which nothing has run yet; slides are shared out among processes."""
    return fresh(tmp_path_factory.mktemp("fresh") / "elsewhere", workers=2)


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """The project after one `acinus dvc repro`, committed. Look at it, change it only in a copy."""
    project = fresh(tmp_path_factory.mktemp("tiny") / "project", workers=1)
    where = project.run(sys.executable, "-c", "import acinus; print(acinus.__file__)").strip()
    assert Path(where).is_relative_to(project.root), "another checkout's code would be under test"
    project.run("acinus", "setup")
    project.run("acinus", "dvc", "repro")
    project.commit()
    return project


@pytest.fixture(scope="session")
def experiment(tiny_project: Miniature, tmp_path_factory: pytest.TempPathFactory) -> tuple[Miniature, str]:
    """A copy of the project after an experiment with another threshold, and what DVC printed."""
    project = tiny_project.copy(tmp_path_factory.mktemp("experiment") / "project")
    setting = f"recipes/{project.recipe}.yaml:quantify.threshold=0.75"
    return project, project.run("acinus", "dvc", "exp", "run", "--name", "stricter", "--set-param", setting)


def run_stage(function: Callable[[Stage], None], stage: Stage) -> None:
    """Run a stage and do what it left for after its record."""
    function(stage)
    stage.recorded()


@dataclass(frozen=True)
class Remembered:
    """A log that keeps what it is told, where MLflow would be."""

    run_id: str | None = None
    parent_id: str | None = None
    metrics: dict[str, float | int | None] = field(default_factory=dict)

    def log_metrics(self, metrics: Mapping[str, float | int | None], step: int = 0) -> None:
        self.metrics.update(metrics)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        assert path.exists()

    def share_metrics(self, metrics: Mapping[str, float | int | None]) -> None:
        self.metrics.update(metrics)

    def share_params(self, params: Mapping[str, str]) -> None:
        assert all(isinstance(value, str) for value in params.values())

    @contextmanager
    def child(self, name: str, params: Mapping[str, str]) -> Iterator["Remembered"]:
        yield Remembered()

    def end(self, state: str) -> None:
        assert state in {"complete", "pruned", "fail"}

    def log_model(self, folder: Path) -> None:
        assert (folder / "card.json").exists()


@dataclass(frozen=True)
class Direct:
    """A project folder whose stages are called in this process, one after the other, without DVC and MLflow."""

    root: Path
    project: Project
    log: Remembered = field(default_factory=Remembered)  # of all its stages

    def recipe(self, name: str, sections: Mapping[str, Mapping[str, Any]]) -> Recipe:
        """Return recipes/<name>.yaml of the repository with some values of its sections changed."""
        document = yaml.safe_load((REPOSITORY / "recipes" / f"{name}.yaml").read_text())
        for section, values in sections.items():
            document[section] |= values
        return check_recipe(name, document)

    def draw(self, family: str) -> None:
        """Run stage demo."""
        demo.run(ProjectStage("demo", self.root, self.project, self.log), family)

    def run(self, name: str, recipe: Recipe, *stages: str) -> Paths:
        """Run stages of a recipe, known as `name`, and return where its files are."""
        paths = Paths(self.root, name)
        for stage in stages:
            module = importlib.import_module(f"acinus.stages.{stage}")
            run_stage(module.run, Stage(stage, self.root, self.project, self.log, name, recipe, paths))
        return paths

    def sum_up(self, *recipes: str) -> None:
        """Run stage summary over these recipes."""
        project = self.project.model_copy(update={"recipes": list(recipes)})
        summary.run(ProjectStage("summary", self.root, project, self.log))

    def copy(self, root: Path) -> "Direct":
        """Return a project of the same cohorts in another folder, nothing else in it."""
        shutil.copytree(self.root / "data" / "demo", root / "data" / "demo")
        return Direct(root, self.project)


def settings() -> Project:
    """Return params.yaml of the repository for stages in this process: one worker, one thread, cohorts drawn small."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params |= {"demo": {"families": list(FAMILIES), **FAMILIES}, "tracking": TRACKING}
    params["compute"] |= {"scheduler": "local", "workers": 1, "threads": 1, "device": "cpu"}
    return Project.model_validate(params)


@pytest.fixture(scope="session")
def undrawn(tmp_path_factory: pytest.TempPathFactory) -> Direct:
    """A project without a cohort."""
    return Direct(tmp_path_factory.mktemp("direct"), settings())


@pytest.fixture(scope="session")
def direct(undrawn: Direct, tmp_path_factory: pytest.TempPathFactory) -> Direct:
    """A project with the cohorts of all families drawn, as small as can be, once for all processes. Run in copies."""
    folder = tmp_path_factory.getbasetemp()
    root = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "direct"
    with FileLock(f"{root}.lock"):
        if not root.exists():
            drawn = Direct(folder / "undone", undrawn.project)
            for family in FAMILIES:
                drawn.draw(family)
            drawn.root.rename(root)
    return Direct(root, undrawn.project)


@pytest.fixture(scope="session")
def every_family(direct: Direct, tmp_path_factory: pytest.TempPathFactory) -> Direct:
    """A project in which a small recipe of every family has run."""
    done: Direct = run_all(direct.copy(tmp_path_factory.mktemp("families")))
    return done
