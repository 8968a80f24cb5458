"""Real glands in PANDA's layout, benign and malignant as grades 0 and 4, through every stage to a report.

A tiny network trained for one epoch on nine slides promises little; what must hold is that nothing is mixed up
on the way: splits, truth, grades, figures and pages.
"""

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import openslide
import pandas as pd
import pytest
import yaml

from acinus import records
from acinus.params import Project, check_recipe
from acinus.paths import Paths
from acinus.stage import ProjectStage, Stage

REPO = Path(__file__).resolve().parents[2]
STAGES = ("inventory", "ingest", "index", "sample", "validate", "extract", "tune", "train", "calibrate")
STAGES += ("infer", "quantify", "embed", "grade", "report")
pytestmark = pytest.mark.slow  # test_pipeline.py takes the same images all the way, as another family


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclass looks there
    spec.loader.exec_module(module)
    return module


glas, glas_panda = load("glas"), load("glas_panda")


@dataclass
class Heard:
    """A log that keeps final figures, where MLflow would be."""

    run_id: str | None = None
    parent_id: str | None = None
    shared: dict[str, Any] = field(default_factory=dict)

    def log_metrics(self, metrics: Mapping[str, Any], step: int = 0) -> None:
        assert all(value is None or np.isfinite(value) for value in metrics.values())

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        assert path.exists()

    def share_metrics(self, metrics: Mapping[str, Any]) -> None:
        self.shared.update(metrics)

    def share_params(self, params: Mapping[str, str]) -> None:
        assert params

    @contextmanager
    def child(self, name: str, params: Mapping[str, str]) -> Iterator[Any]:
        yield self

    def end(self, state: str) -> None:
        assert state == "complete"

    def log_model(self, folder: Path) -> None:
        assert (folder / "card.json").exists()


@dataclass(frozen=True)
class Done:
    """A project folder after all stages."""

    root: Path
    laid: dict[str, tuple[str, str, str]]  # slide -> patient, grade, split
    log: Heard

    @property
    def paths(self) -> Paths:
        return Paths(self.root, "glas")

    def rows(self, table: records.Table, path: Path) -> pd.DataFrame:
        return records.read(table, path).set_index("slide_id")


@pytest.fixture(scope="module")
def done(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    root = tmp_path_factory.mktemp("glas_panda")
    laid = glas_panda.write_cohort(glas, shared_data / "glas", root / "cohort")
    project = yaml.safe_load((REPO / "params.yaml").read_text())
    project |= {"recipes": ["glas"], "raw_cohorts": ["glas"], "demo": {"families": []}}
    project["compute"] |= {"workers": 1, "threads": 1, "device": "cpu"}
    recipe = yaml.safe_load((REPO / "recipes" / "demo-panda.yaml").read_text())
    recipe["cohort"]["root"] = "cohort"
    recipe["sample"] |= {"max_tumor_per_slide": 10, "max_normal_per_slide": 10}
    recipe["train"] |= {"max_epochs": 2}
    recipe["infer"] |= {"stride_px": 96, "map_downsample": 4.0}
    recipe["calibrate"] |= {"trials": 8}
    recipe["grade"] |= {"max_epochs": 30, "seeds": 2}
    recipe["report"] |= {"bootstrap": 100, "picture_px": 300}
    log, model = Heard(), Project.model_validate(project)
    checked = check_recipe("glas", recipe)
    for name in ("watch", *STAGES):
        module = importlib.import_module(f"acinus.stages.{name}")
        module.run(Stage(name, root, model, log, "glas", checked, Paths(root, "glas")))
    importlib.import_module("acinus.stages.summary").run(ProjectStage("summary", root, model, log))
    return Done(root, laid, log)


def test_every_slide_is_read_as_it_was_written(done: Done) -> None:
    manifest = done.rows(records.MANIFEST, done.paths.manifest)
    assert (manifest["status"] == "ok").all()
    assert (manifest["findings"] == "").all()
    for slide_id, (patient, grade, split) in done.laid.items():
        row = manifest.loc[slide_id]
        isup, gleason = glas_panda.GRADES[grade]
        assert (row["patient"], row["split"], row["isup"], row["gleason"]) == (patient, split, isup, gleason)
        assert row["slide_label"] == ("tumor" if grade == "malignant" else "normal")


def test_the_truth_has_the_area_of_the_masks(done: Done) -> None:
    """Counted in the red channel by OpenSlide, whatever the grid of the map."""
    quantities = done.rows(records.QUANTITIES, done.paths.quantities)
    for slide_id, (_, grade, _) in done.laid.items():
        mask = done.root / "cohort" / "train_label_masks" / f"{slide_id}_mask.tiff"
        with openslide.OpenSlide(mask) as opened:
            red = np.asarray(opened.read_region((0, 0), 0, opened.dimensions))[..., 0]
            side = opened.dimensions
        expected = int((red == glas_panda.CANCER).sum())
        manifest_px = float(quantities.loc[slide_id, "true_px"]) * 16.0
        assert (expected > 0) == (grade == "malignant")
        assert manifest_px == pytest.approx(expected, rel=0.02, abs=0.0005 * side[0] * side[1])


def test_grades_are_of_every_slide_and_learned_from_the_others(done: Done) -> None:
    grades = done.rows(records.GRADES, done.paths.grades)
    assert sorted(grades.index) == sorted(done.laid)
    for slide_id, (_, grade, split) in done.laid.items():
        assert grades.loc[slide_id, "true"] == glas_panda.GRADES[grade][0]
        assert grades.loc[slide_id, "split"] == split
    learned = grades[grades["split"] == "train"]
    malignant = learned["true"] > 0
    expected = learned["mil_probs"].map(lambda probs: float(np.dot(probs, np.arange(6))))
    assert expected[malignant].mean() > expected[~malignant].mean()  # what it was shown, it tells apart
    attention = records.read(records.ATTENTION, done.paths.attention)
    np.testing.assert_allclose(attention.groupby("slide_id")["attention"].sum(), 1.0, atol=1e-6)


def test_the_point_comes_from_validation_slides_only(done: Done) -> None:
    point = yaml.safe_load(done.paths.operating_point.read_text())
    validation = {slide_id for slide_id, (_, _, split) in done.laid.items() if split == "val"}
    assert set(point["source"]["slides"]) == validation
    assert point["source"]["value"] >= point["source"]["value_at_half"]


def test_the_report_has_a_page_for_every_test_slide(done: Done) -> None:
    metrics = json.loads((done.paths.reports / "metrics.json").read_text())
    assert metrics["n_slides"] == 5
    assert {"dice_mean_tumor", "qwk", "grade_accuracy", "ece", "ece.uncalibrated", "burden_mae"} <= set(metrics)
    assert metrics["dice_mean_tumor"] > 0.2  # all tissue called tumour gives about 0.5, nothing gives 0
    page = (done.paths.reports / "index.html").read_text()
    table = pd.read_csv(done.paths.reports / "per_slide.csv", dtype={"slide_id": str}).set_index("slide_id")
    for slide_id, (_, grade, split) in done.laid.items():
        if split == "test":
            assert f'slides/{slide_id}.html"' in page
            assert (done.paths.reports / "slides" / f"{slide_id}.html").is_file()
            assert table.loc[slide_id, "isup_true"] == glas_panda.GRADES[grade][0]
    assert (done.root / "reports" / "index.html").is_file()
