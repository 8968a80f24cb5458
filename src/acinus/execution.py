"""What surrounds every stage: parameters read first, one execution at a time, recorded in MLflow."""

import importlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from acinus import preflight
from acinus.errors import AcinusError
from acinus.files import file_lock, try_lock
from acinus.parallel import exit_with_process
from acinus.params import SLIDE_LABELS, UNUSED, Project, Recipe, load_project, load_recipe, section_hash
from acinus.paths import Paths
from acinus.project import startup
from acinus.project.checkout import project_root
from acinus.project.dvc_process import dvc_above, dvc_runs
from acinus.project.lineage import git_commit, outputs, stage_inputs
from acinus.project.pin import check_pin
from acinus.stage import ProjectStage, Stage
from acinus.tracking import Run, RunFacts, create_database, stage_run

PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@/\s]+(@)")
"""In a URL, as that of a database of studies."""


def run_recipe_stage(name: str, recipe_name: str, function: Callable[[Stage], None] | None = None) -> None:
    """Run one stage of one recipe: parameters first, then alone, then recorded. function: in place of the stage's."""
    root, project, recipe = _checked(name, recipe_name)
    function = function or _stage_function(name, recipe)
    facts = _facts(root, project, name, recipe_name, recipe)
    with _alone(root, name, recipe_name):
        with stage_run(facts) as run:
            _begin(root, name, recipe_name, run)
            stage = Stage(name, root, project, run, recipe_name, recipe, Paths(root, recipe_name))
            function(stage)
        stage.recorded()


def _stage_function(name: str, recipe: Recipe) -> Callable[[Stage], None]:
    """Return what the stage runs; its libraries are loaded only for a task that has a use for it."""
    with startup.without_collection():
        is_used = recipe.task != SLIDE_LABELS or name not in UNUSED
        module = importlib.import_module(f"acinus.stages.{name}" if is_used else "acinus.unused")
    function: Callable[[Stage], None] = module.run
    return function


def join_recipe_stage(name: str, recipe_name: str, function: Callable[[Stage], None]) -> None:
    """Run a further worker of a stage beside the execution that writes its outputs: neither alone nor swept."""
    root, project, recipe = _checked(name, recipe_name)
    worker = f"{name}-join-{os.getpid()}"  # its runs are not those of the execution that it joins
    with stage_run(replace(_facts(root, project, name, recipe_name, recipe), stage=worker)) as run:
        function(Stage(name, root, project, run, recipe_name, recipe, Paths(root, recipe_name)))


def run_project_stage(name: str, function: Callable[[ProjectStage], None]) -> None:
    """Run one stage over the whole project (`demo`, `summary`)."""
    root = project_root()
    project = load_project(root)
    with _alone(root, name, None), stage_run(_facts(root, project, name, None, None)) as run:
        _begin(root, name, None, run)
        function(ProjectStage(name, root, project, run))


def prepare(root: Path) -> None:
    """Make ready for `dvc repro`: create MLflow's database and remove DVC's lock file if a kill cut it off.

    DVC 3 cannot read an empty or half-written .dvc/tmp/rwlock and refuses every later command; while a DVC
    process runs in this project the file is left alone.
    """
    check_pin(root)
    lock = root / ".dvc" / "tmp" / "rwlock"
    if lock.exists():
        try:
            json.loads(lock.read_text(encoding="utf-8"))
        except ValueError:
            if not dvc_runs(root):
                lock.unlink()
    project = load_project(root)
    for name in project.recipes:  # a wrong key stops here, even in a section that no stage would rerun for
        recipe = load_recipe(root, name)
        preflight.check(root, project, name, recipe)
        preflight.check_access(root, name, recipe)
    uri = project.tracking.uri
    database = root / uri.removeprefix("sqlite:///")
    if not (uri.startswith("sqlite:///") and database.exists()):
        create_database(uri, root)


def _checked(stage: str, recipe_name: str) -> tuple[Path, Project, Recipe]:
    """Return the project's folder, params.yaml and the recipe, looked at before any work."""
    root = project_root()
    project, recipe = load_project(root), load_recipe(root, recipe_name)
    preflight.check(root, project, recipe_name, recipe, stage)
    return root, project, recipe


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Return nested parameters as `a.b.c` -> text, as MLflow shows them; the password of a URL as ***."""
    if isinstance(value, dict):
        return {name: text for key, inner in value.items() for name, text in flatten(inner, f"{prefix}{key}.").items()}
    text = json.dumps(value) if isinstance(value, list) else str(value)
    return {prefix.removesuffix("."): PASSWORD.sub(r"\1***\2", text)}


def _facts(root: Path, project: Project, name: str, recipe_name: str | None, recipe: Recipe | None) -> RunFacts:
    dumped = recipe.model_dump(mode="json", by_alias=True) if recipe else project.demo.model_dump(mode="json")
    params = flatten(dumped) | {"seed": str(project.seed)} | flatten(project.compute.model_dump(), "compute.")
    inputs = tuple(stage_inputs(root, name, recipe_name))
    tags = {
        "acinus.kind": "stage",
        "acinus.stage": name,
        "acinus.recipe": recipe_name or "",
        "acinus.params_sha256": section_hash(recipe, project.seed) if recipe else section_hash(project.demo),
        "acinus.inputs": json.dumps({data.path: data.md5 for data in inputs}, sort_keys=True),
        "mlflow.source.git.commit": git_commit(root),
        "mlflow.source.name": f"acinus {name}" + (f" --recipe {recipe_name}" if recipe_name else ""),
    }
    register = project.tracking.register_
    return RunFacts(
        register=register.replace("{recipe}", recipe_name or name) if register else None,
        root=root,
        uri=project.tracking.uri,
        required=project.tracking.required,
        experiment=recipe_name or name,
        stage=name,
        params=params,
        tags=tags,
        inputs=inputs,
    )


def _begin(root: Path, name: str, recipe_name: str | None, run: Run) -> None:
    """Record what it cost to come here: this process's CPU seconds since it was started."""
    cpu_s = time.process_time()
    run.log_metrics({startup.METRIC: cpu_s})
    startup.remember(root, name, recipe_name, cpu_s)


@contextmanager
def _alone(root: Path, name: str, recipe_name: str | None) -> Iterator[None]:
    """Hold the stage's lock, waiting for an execution that still runs (one whose dvc was killed, say).

    What a killed execution left beside the outputs is deleted first. Under DVC the process ends when DVC ends: a
    killed `dvc repro` must not leave a stage writing beside the next.
    """
    dvc = dvc_above()
    if dvc:
        exit_with_process(dvc.pid)
    stage = f"{name}@{recipe_name}" if recipe_name else name
    path = root / ".acinus" / "locks" / stage
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = try_lock(path)
    except OSError as error:
        raise AcinusError(f"{path.parent}: cannot write here ({error.strerror}); make the folder writable") from error
    if lock is None:
        print(f"{stage}: waiting for another execution of this stage to end", file=sys.stderr, flush=True)
        lock = file_lock(path)
        lock.acquire(poll_interval=0.5)
    try:
        for output in outputs(root, name, recipe_name):
            for left in (root / output).parent.glob(f".{Path(output).name}.*.part"):
                shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        lock.release()
