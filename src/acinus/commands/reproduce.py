"""Prove the committed results: rebuild them from nothing in a clean clone and compare with dvc.lock."""

import os
import shutil
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from acinus.errors import AcinusError
from acinus.files import read_json
from acinus.metrics.registry import tolerances
from acinus.project.machine import differences, same_libraries

Rule = Literal["identical", "tolerance", "not compared"]

LEARNED = ("tune", "train", "calibrate", "infer", "quantify", "grade", "report", "summary")
"""Stages whose outputs hang on floating-point sums: identical on the same machine type only."""

NOT_COMPARED = (
    "reports/*/data_docs",  # Great Expectations writes times and ids
    "reports/*/index.html",  # names the commit and the MLflow run
    "reports/index.html",
    "reports/*/slides",  # as the page
    "models/*.run.json",  # the MLflow run's id
    "data/*/study.log",  # Optuna's journal has times
    "reports/machine.json",  # read to choose the rule
)


class Difference(NamedTuple):
    """One output that is not what dvc.lock (or reports/metrics.json) says."""

    stage: str
    path: str
    text: str

    def __str__(self) -> str:
        return f"stage {self.stage}, {self.path}: {self.text}"


def run(root: Path, keep: bool = False) -> None:
    """Clone the committed state, run the pipeline there with an empty cache, compare, and say so.

    Raises:
        AcinusError: no committed dvc.lock, the pipeline failed in the clone, or an output differs
            (every stage and file is named).
    """
    folder = Path(tempfile.mkdtemp(prefix="acinus-reproduce-"))
    clone = folder / "clone"
    try:
        _clone(root, clone)
        committed, committed_metrics = _lock(clone), read_json(clone / "reports" / "metrics.json")
        committed_machine = read_json(clone / "reports" / "machine.json")
        _forget(clone)
        _run(clone, "acinus", "setup")  # this interpreter's libraries, the clone's code, an empty cache
        _run(clone, "acinus", "repro")
        machine = read_json(clone / "reports" / "machine.json")
        other, same_versions = differences(committed_machine, machine), same_libraries(committed_machine, machine)
        print(_headline(other, same_versions))
        differing = compare_locks(committed, _lock(clone), same_machine=not other, same_versions=same_versions)
        if other:
            differing += compare_metrics(committed_metrics, read_json(clone / "reports" / "metrics.json"))
    finally:
        if keep:
            print(f"kept: {clone}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if differing:
        for difference in differing:
            print(f"  DIFFERENT  {difference}")
        raise AcinusError(f"reproduce: {len(differing)} differences from the committed dvc.lock (named above)")
    print("reproduced: every compared output is as committed")


def rule_of(stage: str, path: str, same_machine: bool) -> Rule:
    """Return which rule holds for an output of a stage (`train@demo-camelyon` -> train)."""
    if any(fnmatch(path, pattern) for pattern in NOT_COMPARED):
        return "not compared"
    return "tolerance" if stage.split("@")[0] in LEARNED and not same_machine else "identical"


def compare_locks(
    committed: dict[str, Any], rebuilt: dict[str, Any], same_machine: bool, same_versions: bool = True
) -> list[Difference]:
    """Return the outputs whose hashes differ, and the dependencies that show a stale dvc.lock.

    same_versions: of libraries; else digests of code differ for the versions in them, and tell nothing of the code.
    """
    differing = []
    for stage, entry in sorted(rebuilt["stages"].items()):
        before = committed["stages"].get(stage)
        if before is None:
            differing.append(Difference(stage, "dvc.lock", "the stage is not in the committed dvc.lock; commit it"))
            continue
        differing += _stale(stage, before, entry, same_versions)
        old = _hashes(before, "outs")
        for path, md5 in _hashes(entry, "outs").items():
            rule, same = rule_of(stage, path, same_machine), old.get(path) == md5
            print(f"  {'same' if same else 'differs':8} {rule:13} {stage}: {path}")
            if not same and rule == "identical":
                differing.append(Difference(stage, path, f"{md5} here, {old.get(path)} committed"))
    return differing


def _stale(stage: str, before: dict[str, Any], after: dict[str, Any], same_versions: bool) -> list[Difference]:
    """Return code and parameters that differ: the committed dvc.lock was made by another version."""
    made_with, old = "the committed dvc.lock was made with other", _hashes(before, "deps")
    stale = [
        Difference(stage, path, f"{made_with} code; run dvc repro and commit dvc.lock")
        for path, md5 in sorted(_hashes(after, "deps").items())
        if path.startswith("code/") and same_versions and old.get(path) != md5
    ]
    if before.get("params") != after.get("params"):
        stale.append(Difference(stage, "params", f"{made_with} parameters; commit anew"))
    return stale


def _hashes(entry: dict[str, Any], kind: str) -> dict[str, str | None]:
    """Return path -> hash of the outs or deps of a stage in dvc.lock."""
    return {file["path"]: file.get("md5") for file in entry.get(kind, [])}


def compare_metrics(committed: dict[str, Any], rebuilt: dict[str, Any]) -> list[Difference]:
    """Return the metrics of reports/metrics.json that differ by more than their tolerance allows."""
    differing = []
    for recipe, metrics in sorted(rebuilt.items()):
        for name, allowed in tolerances().items():
            new, old = metrics.get(name), committed.get(recipe, {}).get(name)
            if new is old is None:
                continue
            if new is None or old is None or abs(new - old) > allowed:
                text = f"{recipe}: {name} = {new} here, {old} committed, allowed difference {allowed}"
                differing.append(Difference("summary", "reports/metrics.json", text))
    return differing


def _headline(other: list[str], same_versions: bool) -> str:
    if not other:
        return "rule: same machine type as the committed dvc.lock: every output must be identical"
    untold = "" if same_versions else "; with other libraries nothing tells whether the code is the committed lock's"
    return (
        f"rule: another machine type ({', '.join(other)} differ): data and tables must be identical, "
        f"learned metrics within {tolerances()}{untold}"
    )


def _lock(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
    return loaded


def _clone(root: Path, clone: Path) -> None:
    command = ["git", "clone", "--quiet", "--no-hardlinks", str(root), str(clone)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AcinusError(f"git clone failed: {' '.join(done.stderr.split())}")
    if not (clone / "dvc.lock").exists():
        raise AcinusError(f"{root}: dvc.lock is not committed; run dvc repro and commit it")


def _forget(clone: Path) -> None:
    """Remove what the committed run wrote: what the clone's run writes is then all its own."""
    for name in ("dvc.lock", "reports/metrics.json", "reports/machine.json"):
        (clone / name).unlink()


def _run(clone: Path, *command: str) -> None:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))},
        "PYTHONPATH": str(clone / "src"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    if subprocess.run(command, cwd=clone, env=environment, check=False).returncode:
        raise AcinusError(f"reproduce: `{' '.join(command)}` failed in the clean clone (see above)")
