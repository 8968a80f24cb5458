"""What a stage's process spends before its work begins: Python, imports, parameters, the tracking server."""

import gc
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from acinus.errors import AcinusError
from acinus.files import read_json, write_json

METRIC = "startup_cpu_s"
"""CPU seconds of a process from its start to the stage's first line; libraries that a stage loads later are work."""


@contextmanager
def without_collection() -> Iterator[None]:
    """Look for no garbage while libraries are imported: what they make stays, and looking costs a quarter of it."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def remember(root: Path, stage: str, recipe: str | None, cpu_s: float) -> None:
    """Note the start-up of a stage's last execution beside the project's other local records: no output of DVC's."""
    write_json(_folder(root) / f"{stage}@{recipe or ''}.json", {METRIC: round(cpu_s, 3)})


def total(root: Path, recipes: Collection[str]) -> tuple[float, int]:
    """Return CPU seconds and number of the stages known here: of these recipes and of the project as a whole."""
    seconds = []
    for note in sorted(_folder(root).glob("*@*.json")):
        if note.stem.partition("@")[2] in {"", *recipes}:
            with suppress(AcinusError, KeyError, TypeError, ValueError):  # a note that cannot be read is worth no error
                seconds.append(float(read_json(note)[METRIC]))
    return sum(seconds), len(seconds)


def _folder(root: Path) -> Path:
    return root / ".acinus" / "startup"
