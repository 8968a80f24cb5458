"""What the stages that learn from patches write for a recipe of task slide_labels: valid outputs that hold nothing."""

from collections.abc import Callable
from pathlib import Path

import yaml

from acinus import records
from acinus.files import atomic_path, note_if_empty, write_json, write_text
from acinus.paths import Paths
from acinus.stage import Stage

WHY = "Task slide_labels learns from labels of whole slides: no patches are stored, nothing is trained on them."


def run(stage: Stage) -> None:
    """Write the outputs of the stage that is run, empty."""
    OUTPUTS[stage.name](stage.paths)
    stage.say("nothing to do: task slide_labels learns from labels of whole slides (stages embed and grade)")


def _folder(path: Path) -> None:
    with atomic_path(path) as folder:
        folder.mkdir()
        note_if_empty(folder, WHY)


def _table(table: records.Table, path: Path) -> None:
    records.write(table, records.frame(table, []), path)


def _sample(paths: Paths) -> None:
    _table(records.SAMPLE, paths.sample)
    write_text(paths.statistics, "slide_id\n")


def _extract(paths: Paths) -> None:
    _folder(paths.patches)
    write_json(paths.extraction, {"note": WHY})


def _tune(paths: Paths) -> None:
    _folder(paths.tune)
    write_text(paths.study, f"no study: {WHY}\n")


def _train(paths: Paths) -> None:
    _folder(paths.model)
    write_json(paths.model_run, {"mlflow_run_id": None, "mlflow_parent_id": None})


def _calibrate(paths: Paths) -> None:
    write_text(paths.operating_point, yaml.safe_dump({"note": WHY}))
    for path in (paths.temperature, paths.calibration):
        write_json(path, {"note": WHY})


def _infer(paths: Paths) -> None:
    _folder(paths.maps)


def _quantify(paths: Paths) -> None:
    _table(records.QUANTITIES, paths.quantities)
    _table(records.REGIONS, paths.region_table)
    for path in (paths.masks, paths.regions):
        _folder(path)


OUTPUTS: dict[str, Callable[[Paths], None]] = {
    "sample": _sample,
    "extract": _extract,
    "tune": _tune,
    "train": _train,
    "calibrate": _calibrate,
    "infer": _infer,
    "quantify": _quantify,
}
"""Stage -> what writes its outputs."""
