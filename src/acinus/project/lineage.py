"""What a stage read: the data dependencies that dvc.yaml names, with the md5 that dvc.lock knows, and the commit."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

try:  # the C loader is ten times faster on a long dvc.lock
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

WRITTEN = ("dvc.lock", "code/dvc.lock", "reports/metrics.json", "reports/machine.json")
"""Files in git that the pipeline writes."""

CODE = ("code/", "src/", "recipes/", "params.yaml")


@dataclass(frozen=True)
class Input:
    """One thing a stage read: its path in the project and DVC's md5 of it (None where DVC has none yet)."""

    path: str
    md5: str | None


def stage_inputs(root: Path, stage: str, recipe: str | None) -> list[Input]:
    """Return the data (not code) dependencies of `stage` for `recipe`, with DVC's digests.

    A folder that holds the outputs of several stages has no digest of its own: its outputs stand for it.
    """
    digests = _digests(root)
    inputs: list[Input] = []
    for path in dependencies(root, stage, recipe):
        if path.startswith(CODE):
            continue
        below = [] if path in digests else sorted(output for output in digests if output.startswith(f"{path}/"))
        inputs += [Input(part, digests.get(part)) for part in below or [path]]
    return inputs


def dependencies(root: Path, stage: str, recipe: str | None) -> list[str]:
    """Return every `deps` path of a stage of dvc.yaml, the recipe's name put in."""
    definition = _load(root / "dvc.yaml").get("stages", {}).get(stage, {})
    return [str(path).replace("${item.recipe}", recipe or "") for path in definition.get("deps", [])]


def outputs(root: Path, stage: str, recipe: str | None) -> list[str]:
    """Return every `outs`, `metrics` and `plots` path of a stage; `*` stands for what a matrix puts in else."""
    definition = _load(root / "dvc.yaml").get("stages", {}).get(stage, {})
    listed = [*definition.get("outs", []), *definition.get("metrics", []), *definition.get("plots", [])]
    paths = [str(next(iter(entry))) if isinstance(entry, dict) else str(entry) for entry in listed]
    return [re.sub(r"\$\{item\.\w+\}", "*", path.replace("${item.recipe}", recipe or "*")) for path in paths]


def _digests(root: Path) -> dict[str, str]:
    """Return path -> md5 of every output in dvc.lock.

    Not of its dependencies: while a stage runs, its own entry still has what its last execution read.
    """
    return {
        output["path"]: output["md5"]
        for entry in _load(root / "dvc.lock").get("stages", {}).values()
        for output in entry.get("outs", [])
        if "md5" in output
    }


def _load(path: Path) -> dict[str, Any]:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader) or {}
    except FileNotFoundError:
        return {}


def git_commit(root: Path) -> str:
    """Return the commit of the working tree, with `-dirty` where tracked files differ; `unknown` outside git.

    What the pipeline itself writes (WRITTEN) may differ: a clean clone stays clean while its stages run.
    """
    written = [f":(exclude,top){name}" for name in WRITTEN]
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ":/", *written)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()
