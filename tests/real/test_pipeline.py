"""The whole pipeline on real pixels: a cohort outside DVC, `dvc repro` of the stages that look at it, then the others.

The others run in this process, which spares each the start of Python: tests/pipeline has all of them below DVC.

Three of five test slides show tumour of patients that the model never saw. Measured on the machine this was
written on: patch AUC 0.87, within slides 0.90; pooled Dice 0.61, where calling all tissue tumour gets 0.50 and as
many px thrown at random 0.37. The margins below are about half of what is above chance, since one epoch on another
CPU rounds its way to somewhat other weights; a pipeline that mixes up slides, places or classes falls to chance.
"""

import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import openslide
import pandas as pd
import pytest
import yaml
from PIL import Image

from acinus import records
from acinus.cli import RECIPE_STAGES
from acinus.params import load_project, load_recipe
from tests.pipeline.conftest import Direct

REPO = Path(__file__).resolve().parents[2]
BY_DVC = ("watch", "inventory", "ingest", "index")
LEAST_AUC = 0.72
OVER_ALL_TISSUE, OVER_RANDOM = 0.04, 0.12  # pooled Dice above these two kinds of chance
AREA_TOLERANCE = 0.02  # true tumour of the map's px against the masks' px


def load_glas() -> ModuleType:
    spec = importlib.util.spec_from_file_location("glas", Path(__file__).with_name("glas.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["glas"] = module  # its dataclass looks there
    spec.loader.exec_module(module)
    return module


glas = load_glas()


@dataclass(frozen=True)
class Project:
    """A project folder beside its cohort, both below one folder."""

    base: Path

    @property
    def root(self) -> Path:
        return self.base / "project"

    @property
    def cohort(self) -> Path:
        return self.base / "cohort"

    def shell(self, *words: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(self.root / "src"), "OMP_NUM_THREADS": "1"}
        environment |= {
            f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        environment["DVC_SITE_CACHE_DIR"] = str(self.base / "site")
        done = subprocess.run(words, cwd=self.root, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def repro(self, *targets: str) -> list[str]:
        """Run `acinus dvc repro` and return the stages that ran, in order, but for `code`, which always does."""
        lines = self.shell("acinus", "dvc", "repro", *targets).splitlines()
        ran = [line.split("'")[1].removesuffix("@glas") for line in lines if line.startswith("Running stage")]
        return [stage for stage in ran if stage != "code/dvc.yaml:code"]

    def changed(self) -> set[str]:
        """The stages that `dvc status` calls changed, but for `code`."""
        status = json.loads(self.shell("dvc", "status", "--json"))
        return {name.removesuffix("@glas") for name in status} - {"code/dvc.yaml:code"}

    def table(self, table: records.Table, name: str) -> pd.DataFrame:
        return records.read(table, self.root / "data" / "glas" / f"{name}.parquet").set_index("slide_id")


def write_project(root: Path) -> None:
    """A copy of this project as a user has it, with a recipe for a cohort that lies elsewhere."""
    for name in ("dvc.yaml", "code/dvc.yaml", ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, root / name)
    for name in ("data/demo", "data/raw"):
        (root / name).mkdir(parents=True)
        shutil.copy(REPO / name / "README.md", root / name)
    shutil.copytree(REPO / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    project = yaml.safe_load((REPO / "params.yaml").read_text())
    project |= {"recipes": ["glas"], "raw_cohorts": ["glas"], "tracking": {"uri": "sqlite:///mlflow.db"}}
    project["compute"] |= {"workers": 1, "threads": 1, "device": "cpu"}
    project["demo"]["families"] = []
    recipe = yaml.safe_load((REPO / "recipes" / "demo-camelyon.yaml").read_text())
    recipe["cohort"]["root"] = "../cohort"
    recipe["index"] |= {"patch_px": 96, "stride_px": 64, "normal_max_fraction": 0.1}
    recipe["index"]["tissue"]["downsample"] = 16.0
    recipe["sample"] |= {"max_tumor_per_slide": 100, "max_normal_per_slide": 100}
    recipe["train"]["max_epochs"] = 1
    recipe["infer"] |= {"stride_px": 64, "map_downsample": 16.0}
    recipe["report"] |= {"bootstrap": 200, "slide_score": "p99"}
    (root / "recipes").mkdir()
    (root / "recipes" / "glas.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    (root / "params.yaml").write_text(yaml.safe_dump(project, sort_keys=False))


@pytest.fixture(scope="module")
def laid(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[Any]]:
    project = Project(tmp_path_factory.mktemp("real"))
    return project, glas.write_cohort(shared_data / "glas", project.cohort)


@pytest.fixture(scope="module")
def begun(laid: tuple[Project, list[Any]]) -> Project:
    """The project after a `dvc repro` of its first stages."""
    project, _ = laid
    write_project(project.root)
    for words in (["git", "init", "-q"], ["git", "add", "."], ["git", "commit", "-q", "-m", "start"]):
        project.shell(*words)
    project.shell("acinus", "setup")
    assert project.repro("index@glas") == list(BY_DVC)
    return project


@pytest.fixture(scope="module")
def finished(begun: Project) -> Project:
    """The project after all of its stages."""
    direct = Direct(begun.root, load_project(begun.root))
    direct.run("glas", load_recipe(begun.root, "glas"), *[stage for stage in RECIPE_STAGES if stage not in BY_DVC])
    direct.sum_up("glas")
    return begun


@pytest.fixture
def copied(begun: Project, tmp_path: Path) -> Project:
    """The project with its cohort, to be changed."""
    shutil.copytree(begun.base, tmp_path / "copy")
    return Project(tmp_path / "copy")


def test_every_slide_is_read_as_it_was_written(finished: Project, laid: tuple[Project, list[Any]]) -> None:
    manifest = finished.table(records.MANIFEST, "manifest")
    assert (manifest["status"] == "ok").all()
    assert sorted(manifest.index) == sorted(one.slide_id for one in laid[1])
    for one in laid[1]:
        row = manifest.loc[one.slide_id]
        assert (row["split"], row["patient"]) == (one.split, f"patient_{one.patient}")
        assert row["slide_label"] == ("tumor" if one.grade == "malignant" else "normal")
        assert (row["width"], row["height"]) == one.size
        assert row["mpp_x"] == pytest.approx(glas.MPP, rel=1e-4)
    assert (manifest.groupby("patient")["split"].nunique() == 1).all()


def test_the_truth_has_the_area_of_the_masks(finished: Project, laid: tuple[Project, list[Any]]) -> None:
    """Mask -> outlines with cut-outs -> XML -> raster keeps the area, lesion by lesion, and no patch gains any."""
    quantities = finished.table(records.QUANTITIES, "quantities")
    for one in laid[1]:
        if one.split == "test":
            true_px0 = float(quantities.loc[one.slide_id, "true_px"]) * 16.0**2
            assert true_px0 == pytest.approx(one.tumour_px, rel=AREA_TOLERANCE)
    index = finished.table(records.INDEX, "index")
    benign = [one.slide_id for one in laid[1] if one.grade == "benign"]
    assert (index.loc[benign, "tumour_fraction"] == 0).all()


def test_the_report_is_there_and_every_figure_is_defined(finished: Project) -> None:
    reports = finished.root / "reports"
    for name in ("index.html", "glas/index.html", "glas/per_slide.csv", "glas/validation.json"):
        assert (reports / name).stat().st_size > 0
    page = (reports / "glas" / "index.html").read_text()
    for number in range(1, 6):
        assert f"test_00{number}" in page
        with Image.open(reports / "glas" / "pictures" / f"test_00{number}_heatmap.png") as picture:
            assert min(picture.size) > 100
    metrics = json.loads((reports / "glas" / "metrics.json").read_text())
    assert {name for name, value in metrics.items() if value is None or not np.isfinite(value)} == set()
    assert (metrics["n_slides"], metrics["n_slides_excluded"], metrics["n_patients"]) == (5, 0, 3)


def test_patches_and_maps_are_better_than_chance(finished: Project) -> None:
    metrics = json.loads((finished.root / "reports" / "glas" / "metrics.json").read_text())
    assert metrics["patch_auc"] > LEAST_AUC  # chance: 0.5
    assert metrics["within_slide_auc_mean"] > LEAST_AUC
    pixels = finished.table(records.QUANTITIES, "quantities").sum(numeric_only=True)
    hits, tissue, true, said = (float(pixels[name]) for name in ("true_tumour_px", "tissue_px", "true_px", "pred_px"))
    all_tissue = 2 * hits / (tissue + true)
    at_random = 2 * said * hits / tissue / (said + true)
    print(f"Dice {metrics['dice_pooled']:.3f}, all tissue {all_tissue:.3f}, at random {at_random:.3f}")
    assert metrics["dice_pooled"] > all_tissue + OVER_ALL_TISSUE
    assert metrics["dice_pooled"] > at_random + OVER_RANDOM


def test_maps_open_in_openslide_and_lie_over_their_slides(finished: Project) -> None:
    maps = sorted((finished.root / "data" / "glas" / "maps").iterdir())
    assert [path.name for path in maps] == [f"test_00{number}.tif" for number in range(1, 6)]
    for path in maps:
        slide_path = finished.cohort / "testing" / "images" / path.name
        with openslide.OpenSlide(path) as opened, openslide.OpenSlide(slide_path) as slide:
            ratio = [own / other for own, other in zip(slide.dimensions, opened.dimensions, strict=True)]
            assert ratio == pytest.approx([16.0, 16.0], rel=0.02)
            mpp = float(opened.properties["openslide.mpp-x"])
            assert mpp == pytest.approx(16.0 * glas.MPP, rel=0.01)
            probs = np.asarray(opened.read_region((0, 0), 0, opened.dimensions).convert("L"))
            glass = np.asarray(slide.get_thumbnail(opened.dimensions).resize(opened.dimensions).convert("L")) > 240
        assert probs[:4].max() == 0  # no tissue, no probability
        assert probs[~glass].mean() > probs[glass].mean()


def test_mlflow_has_one_run_per_stage_below_one_for_the_pipeline(begun: Project) -> None:
    with sqlite3.connect(begun.root / "mlflow.db") as database:
        rows = database.execute(
            "select r.run_uuid, r.status, t.key, t.value from runs r join experiments e using (experiment_id) "
            "join tags t on t.run_uuid = r.run_uuid where e.name = 'glas' order by r.start_time"
        ).fetchall()
    database.close()
    runs: dict[str, dict[str, str]] = {}
    for run_id, status, key, value in rows:
        runs.setdefault(run_id, {"status": status})[key] = value
    first = next(run_id for run_id, tags in runs.items() if tags["acinus.kind"] == "pipeline")
    children = [tags for tags in runs.values() if tags.get("mlflow.parentRunId") == first]
    assert sorted(tags["acinus.stage"] for tags in children) == sorted(BY_DVC)
    assert {tags["status"] for tags in children} | {runs[first]["status"]} == {"FINISHED"}


def test_a_touched_slide_reruns_nothing(begun: Project) -> None:
    os.utime(begun.cohort / "training" / "normal" / "normal_001.tif")
    assert begun.repro("index@glas") == ["watch"]
    assert begun.changed().isdisjoint({"inventory", "ingest", "index"})


def test_replaced_content_and_a_new_slide_rerun_ingest_and_what_follows(copied: Project) -> None:
    """The replaced slide keeps its name and its size in bytes."""
    before = copied.table(records.MANIFEST, "manifest")
    slide = copied.cohort / "training" / "normal" / "normal_001.tif"
    size = slide.stat().st_size
    with openslide.OpenSlide(slide) as opened:
        pixels = np.asarray(opened.read_region((0, 0), 0, opened.dimensions).convert("RGB"))
    slide.unlink()
    glas.write_pyramid(slide, pixels[::-1], glas.MPP, tile_px=256, quality=70)
    assert slide.stat().st_size < size
    os.truncate(slide, size)
    glas.write_pyramid(slide.with_name("normal_005.tif"), pixels[:, ::-1], glas.MPP, tile_px=256)
    with (copied.cohort / "splits.csv").open("a") as stream:
        stream.write("normal_005,train,patient_1\n")
    assert copied.repro("ingest@glas") == ["watch", "inventory", "ingest"]
    after = copied.table(records.MANIFEST, "manifest")
    assert set(after.index) - set(before.index) == {"normal_005"}
    differs = before["fingerprint"] != after.loc[before.index, "fingerprint"]
    assert list(differs[differs].index) == ["normal_001"]
    assert "index" in copied.changed()  # and what follows it, as tests/pipeline/test_repro.py has it
