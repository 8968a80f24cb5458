"""What a stage costs before its work begins: libraries loaded by its import, and what is remembered of the time."""

import subprocess
import sys
from pathlib import Path

import pytest

from acinus.files import write_json
from acinus.project import startup

STAGES = Path(__file__).resolve().parents[1] / "src" / "acinus" / "stages"
LATE = {"mlflow", "lightning", "great_expectations", "timm", "segmentation_models_pytorch", "sqlalchemy", "dvc"}
"""Loaded by no import of ours: when a stage comes to use them, if it does."""
MODELS, FIGURES = {"torch", "torchvision", "optuna"}, {"matplotlib", "sklearn"}
PIXELS = {"scipy", "skimage", "shapely", "tifffile", "pyvips", "h5py", "lmdb", "imagecodecs"}
STATISTICS = {"scipy.stats", "scipy.optimize"}
"""Needed for an AUC and for a calibration; loaded when there is one."""
WITHOUT = {
    ("code", "watch", "inventory"): LATE | MODELS | FIGURES | PIXELS | {"pandas", "openslide"},
    ("sample", "validate", "tune", "embed", "grade"): LATE | MODELS | FIGURES | PIXELS,
    ("demo", "ingest", "index", "extract", "quantify"): LATE | MODELS | FIGURES,
    ("report",): LATE | MODELS,
    ("summary",): LATE | MODELS | STATISTICS,
    ("train",): LATE | FIGURES | STATISTICS,
    ("calibrate", "infer"): LATE | FIGURES,
}
"""Stages -> libraries that importing them, with all that surrounds a stage, must not load."""


def test_every_stage_has_its_line() -> None:
    listed = [name for names in WITHOUT for name in names]
    assert sorted(listed) == sorted(path.stem for path in STAGES.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("names", WITHOUT, ids=" ".join)
def test_stages_load_only_the_libraries_they_use(names: tuple[str, ...]) -> None:
    code = f"import sys, acinus.execution, {', '.join(f'acinus.stages.{name}' for name in names)}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    loaded = {name.partition(".")[0] for name in modules} | set(modules)
    assert "acinus" in loaded
    assert loaded & WITHOUT[names] == set()


def test_the_total_is_that_of_the_run_lists_last_executions(tmp_path: Path) -> None:
    assert startup.total(tmp_path, ["a"]) == (0, 0)
    for stage, recipe, cpu_s in (
        ("sample", "a", 9.0),
        ("sample", "a", 1.5),
        ("train", "a", 2.25),
        ("summary", None, 4),
    ):
        startup.remember(tmp_path, stage, recipe, cpu_s)
    startup.remember(tmp_path, "sample", "b", 100.0)  # of a recipe that is not in the run list
    write_json(tmp_path / ".acinus" / "running" / "a-sample.json", [])
    assert startup.total(tmp_path, ["a"]) == (1.5 + 2.25 + 4, 3)
    assert startup.total(tmp_path, ["a", "b"]) == (107.75, 4)


def test_a_note_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    startup.remember(tmp_path, "sample", "a", 1.5)
    for name, text in (("train@a.json", "{"), ("infer@a.json", "{}"), ("grade@a.json", "[3]")):
        (tmp_path / ".acinus" / "startup" / name).write_text(text)
    assert startup.total(tmp_path, ["a"]) == (1.5, 1)
