"""All recipes of the run list by DVC, some of them at the same time: each by a DVC of its own in the one project.

DVC runs one stage after another, and a training on a CPU uses one processor. Recipes share nothing but the drawn
cohorts and the code, so what they write does not depend on which of them run beside each other.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from acinus.commands.dvc import ABOVE
from acinus.errors import AcinusError
from acinus.params import Project, load_project, load_recipe
from acinus.tracking import recorder


def run(root: Path) -> None:
    """Run what changed in the project at `root`.

    Raises:
        AcinusError: a stage failed; recipes that were begun beside it have been finished.
    """
    project = load_project(root)
    lanes = at_once(project, os.cpu_count() or 1)
    with recorder.beside():
        if lanes > 1 and len(project.recipes) > 1:
            first = ["repro", "--glob", "demo@*"] if project.demo.families else ["repro", "code/dvc.yaml:code"]
            _dvc(root, first)
            changed = _changed(root, project.recipes)
            if len(changed) > 1:
                _side_by_side(root, longest_first(root, changed), lanes, project.raw_cohorts)
        _dvc(root, ["repro"])


def at_once(project: Project, processors: int) -> int:
    """Return how many recipes run at the same time: one where they would wait for the same GPU or cluster."""
    compute = project.compute
    alone = compute.device != "cpu" or compute.scheduler != "local"
    return 1 if alone else max(1, min(compute.workers, processors // compute.threads))


def longest_first(root: Path, names: Sequence[str]) -> list[str]:
    """Return the recipes, those that search settings first: what takes long is not begun last."""
    trials = {name: load_recipe(root, name).tune.trials for name in names}
    return sorted(names, key=lambda name: -trials[name])


def stages_of(root: Path, recipe: str, raw: bool) -> list[str]:
    """Return the recipe's stages in the way of the data, as dvc.yaml has them; raw: its slides are not DVC's."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    lists = {"${recipes}"} | ({"${raw_cohorts}"} if raw else set())
    return [f"{name}@{recipe}" for name, stage in stages.items() if stage.get("matrix", {}).get("recipe") in lists]


def _changed(root: Path, names: Sequence[str]) -> list[str]:
    """Return the recipes of which a stage is to run, as DVC sees it."""
    lines: list[str] = []
    _dvc(root, ["status", "--json"], lines.append)
    text = "".join(lines)
    stages = json.loads(text[text.find("{") :] or "{}")
    return [name for name in names if any(stage.endswith(f"@{name}") for stage in stages)]


def _side_by_side(root: Path, names: Sequence[str], lanes: int, raw: Sequence[str]) -> None:
    """Run each recipe's stages, `lanes` recipes at a time; every line that they print begins with its recipe."""

    def of_recipe(name: str) -> None:
        # each stage by itself: stage code, which all depend on, has just run, and may not run beside them
        stages = stages_of(root, name, name in raw)
        _dvc(root, ["repro", "--single-item", *stages], lambda line: print(f"[{name}] {line}", end="", flush=True))

    pool = ThreadPoolExecutor(lanes)
    try:
        running = [pool.submit(of_recipe, name) for name in names]
        for future in running:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _dvc(root: Path, arguments: Sequence[str], heard: Callable[[str], object] | None = None) -> None:
    """Run DVC in a process that ends with this one. heard: gets each line that it prints, else people do.

    Raises:
        AcinusError: it failed.
    """
    process = subprocess.Popen(
        ["acinus", "dvc", "--wait-for-lock", *arguments],
        cwd=root,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            ABOVE: str(os.getpid()),
        },
        stdout=subprocess.PIPE if heard else None,
        stderr=subprocess.STDOUT if heard else None,
        text=True,
        errors="replace",
    )
    with process:
        for line in process.stdout or ():
            if heard:
                heard(line)
    if process.returncode:
        what = " ".join(arguments[: 1 if len(arguments) == 1 else 3])
        raise AcinusError(f"dvc {what} failed (see above); what is finished is kept, `acinus repro` goes on from there")
