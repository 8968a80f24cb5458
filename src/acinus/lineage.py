"""What a stage read: the data dependencies that dvc.yaml names, with the md5 that dvc.lock knows, and the commit."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

try:  # the C loader is ten times faster on a long dvc.lock
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

CODE = ("src/", "recipes/", "params.yaml")


@dataclass(frozen=True)
class Input:
    """One thing a stage read: its path in the project and DVC's md5 of it (None where DVC has none yet)."""

    path: str
    md5: str | None


def stage_inputs(root: Path, stage: str, recipe: str | None) -> list[Input]:
    """Return the data (not code) dependencies of `stage` for `recipe`, with DVC's digests."""
    known = _digests(root)
    return [Input(path, known.get(path)) for path in dependencies(root, stage, recipe) if not path.startswith(CODE)]


def dependencies(root: Path, stage: str, recipe: str | None) -> list[str]:
    """Return every `deps` path of a stage of dvc.yaml, the recipe's name put in."""
    definition = _load(root / "dvc.yaml").get("stages", {}).get(stage, {})
    return [str(path).replace("${item.recipe}", recipe or "") for path in definition.get("deps", [])]


def _digests(root: Path) -> dict[str, str]:
    """Return path -> md5 of every output in dvc.lock; a folder of several outputs has none of its own."""
    found: dict[str, str] = {}
    for entry in _load(root / "dvc.lock").get("stages", {}).values():
        for kind in ("deps", "outs"):
            for one in entry.get(kind, []):
                if "md5" in one:
                    found[one["path"]] = one["md5"]
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader) or {}
    except FileNotFoundError:
        return {}


def git_commit(root: Path) -> str:
    """Return the commit of the working tree, with `-dirty` where tracked files differ; `unknown` outside git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
