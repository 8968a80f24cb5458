"""best.yaml: the settings that a search found, between the stages tune and train."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from acinus.errors import AcinusError
from acinus.params import Section, load_yaml
from acinus.params.results import Value


class Best(Section):
    """What a search found: settings (dotted key below train -> value), none where the recipe's own are the best."""

    objective: str | None
    trials: Annotated[int, Field(ge=0)]  # finished
    value: float | None  # of the objective
    settings: dict[str, Value]


def read_best(path: Path) -> dict[str, Value]:
    """Return the settings of best.yaml. AcinusError: missing or invalid, in one line."""
    if not path.is_file():
        raise AcinusError(f"{path}: not found; run the tune stage (dvc repro), with tune.trials: 0 if not to search")
    return load_yaml(path, Best).settings
