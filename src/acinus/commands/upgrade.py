"""`acinus upgrade`: take another version of Acinus in a project, after saying what it would run again and why."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from acinus.code import facts_text, installed
from acinus.errors import AcinusError
from acinus.files import write_text
from acinus.params import load_project, load_recipe
from acinus.plugin_code import stage_facts
from acinus.plugins import finding
from acinus.project.pin import PIN, pin_anew, pinned
from acinus.templates.reading import PIPELINE, template

SHOWN = 3
"""So many reasons of a kind are named."""


def run(root: Path, check: bool) -> str:
    """Return what the version that runs would run again in the project at `root`; then take it, unless only `check`.

    Written are dvc.yaml, code/dvc.yaml (what stood there is kept beside them as .old) and the pinned version. Recipes
    and params.yaml stay; those that this version refuses are named.
    """
    wanted, running = pinned(root), installed("acinus")
    lines = [f"{root}: made with acinus {wanted or '(no version pinned)'}, {running} runs"]
    lines += _reruns(root) or ["nothing runs again: code, libraries and pipeline are as they were"]
    lines += [f"  change it by hand: {fault}" for fault in _refused(root)]
    if check:
        return "\n".join(lines)
    for path, file in PIPELINE.items():
        lines += _put(root, path, template(file))
    pin = pin_anew(root)
    if pin is not None and wanted != running:
        write_text(root / PIN, pin)
        lines.append(f"{PIN}: pins acinus {running}")
    return "\n".join([*lines, "next: dvc repro"])


def _put(root: Path, name: str, text: str) -> Iterator[str]:
    """Write a file of the pipeline, where it differs; what stood there stays beside it."""
    before = (root / name).read_text(encoding="utf-8") if (root / name).is_file() else None
    if before == text:
        return
    if before is not None:
        write_text(root / f"{name}.old", before)
    write_text(root / name, text)
    yield f"{name}: written anew" + ("" if before is None else f"; what stood there: {name}.old")


def _reruns(root: Path) -> list[str]:
    """Return a line for each stage that ran in this project and would run again, in the way of the data."""
    finding.use(root)
    ran: dict[str, dict[str, str | None]] = {}
    for name, entry in _stages(root / "dvc.lock").items():
        stage, _, recipe = name.partition("@")
        ran.setdefault(stage, {})[recipe] = _digest_read(entry, stage)
    now, then = yaml.safe_load(template("pipeline.yaml"))["stages"], _stages(root / "dvc.yaml")
    lines = []
    for stage, definition in now.items():
        if stage not in ran or f"code/{stage}.json" not in definition.get("deps", ()):
            continue
        facts = stage_facts(stage)
        digest = hashlib.md5(facts_text(facts).encode(), usedforsecurity=False).hexdigest()
        recipes = [recipe for recipe, seen in ran[stage].items() if seen != digest]
        reasons = _reasons(root / "code" / f"{stage}.json", facts) if recipes else []
        if _without_words(then.get(stage)) != _without_words(definition):
            recipes, reasons = list(ran[stage]), ["its part of dvc.yaml", *reasons]
        if recipes:
            of = f" ({', '.join(recipes)})" if any(recipes) else ""
            lines.append(f"  {stage}{of}: {'; '.join(reasons) or 'other code or libraries'}")
    gone = sorted(ran.keys() - now.keys())
    lines += [f"  {stage}: is no stage any more; its outputs stay where they are" for stage in gone]
    return ["runs again, and then what follows if its outputs differ:", *lines] if lines else []


def _digest_read(entry: Mapping[str, Any], stage: str) -> str | None:
    """Return DVC's md5 of the code that a stage last ran with."""
    return next((dep.get("md5") for dep in entry.get("deps", ()) if dep["path"] == f"code/{stage}.json"), None)


def _reasons(path: Path, now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return in what the code differs from what code/<stage>.json says, as far as that is here."""
    try:
        then = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    reasons = []
    for kind, things in now.items():
        before = then.get(kind, {})
        other = sorted(name for name in things.keys() | before.keys() if things.get(name) != before.get(name))
        if kind == "libraries":
            other = [f"{name} {before.get(name, 'none')} -> {things.get(name, 'none')}" for name in other]
        more = f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
        reasons += [", ".join(other[:SHOWN]) + more] if other else []
    return reasons


def _without_words(stage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the definition of a stage without its description."""
    return {key: value for key, value in stage.items() if key != "desc"} if stage else None


def _refused(root: Path) -> Iterator[str]:
    """Yield what this version refuses of the settings."""
    try:
        recipes = load_project(root).recipes
    except AcinusError as error:
        yield str(error)
        return
    for name in recipes:
        try:
            load_recipe(root, name)
        except AcinusError as error:
            yield str(error)


def _stages(path: Path) -> dict[str, Any]:
    """Return the stages of a dvc.yaml or dvc.lock; none where there is no such file."""
    if not path.is_file():
        return {}
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AcinusError(f"{path}: not valid YAML ({' '.join(str(error).split())[:200]}); mend it") from error
    stages: dict[str, Any] = loaded.get("stages", {})
    return stages
