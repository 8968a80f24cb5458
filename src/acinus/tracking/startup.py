"""What a stage's process spends before its work begins: Python, imports, parameters, the tracking server."""

from collections.abc import Collection
from pathlib import Path

from acinus.errors import AcinusError
from acinus.files import read_json, write_json

METRIC = "startup_cpu_s"
"""CPU seconds of a process from its start to the stage's first line; libraries that a stage loads later are work."""


def remember(root: Path, stage: str, recipe: str | None, cpu_s: float) -> None:
    """Note the start-up of a stage's last execution beside the project's other local records: no output of DVC's."""
    write_json(_folder(root) / f"{stage}@{recipe or ''}.json", {METRIC: round(cpu_s, 3)})


def total(root: Path, recipes: Collection[str]) -> tuple[float, int]:
    """Return CPU seconds and number of the stages known here: of these recipes and of the project as a whole."""
    notes = [one for one in sorted(_folder(root).glob("*@*.json")) if one.stem.partition("@")[2] in {"", *recipes}]
    known = [seconds for one in notes if (seconds := _seconds(one)) is not None]
    return sum(known), len(known)


def _seconds(note: Path) -> float | None:
    """Return a note's figure, None where it cannot be read: it is worth no error."""
    try:
        return float(read_json(note)[METRIC])
    except (AcinusError, KeyError, TypeError, ValueError):
        return None


def _folder(root: Path) -> Path:
    return root / ".acinus" / "startup"
