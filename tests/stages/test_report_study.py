"""Stage report of task slide_labels on four small slides: every output of the stage, with content or a note."""

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from acinus import params, records
from acinus.files import read_json, write_json
from acinus.maps.tiff import read_map
from acinus.paths import Paths
from acinus.slides.pyramid import to_pyramid
from acinus.stage import Stage
from acinus.stages import report
from acinus.tissue.mask import TissueMask, save_tissue
from tests.pages.conftest import slide
from tests.pages.test_study import prediction

ROOT = Path(__file__).resolve().parents[2]
SIZE0 = (128, 96)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    recipe, paths = params.load_recipe(ROOT, "demo-mil"), Paths(tmp_path, "demo-mil")
    cohort = tmp_path / recipe.cohort.root
    cohort.mkdir(parents=True)
    for folder in (paths.rasters, paths.tissue, paths.reports):
        folder.mkdir(parents=True)
    ids = [f"s{number:02d}" for number in range(12)]
    rng = np.random.default_rng(0)
    for slide_id in ids:
        picture = rng.integers(100, 200, (SIZE0[1], SIZE0[0], 3)).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "raster.png")
        to_pyramid(tmp_path / "raster.png", cohort / f"{slide_id}.tif", 90)
        save_tissue(TissueMask(np.ones((12, 16), dtype=bool), *SIZE0), paths.tissue / f"{slide_id}.png")
    size = {"width": SIZE0[0], "height": SIZE0[1]}
    manifest = [slide(slide_id, None, f"p{int(slide_id[1:]) // 2:02d}", split="train", **size) for slide_id in ids]
    records.write(records.MANIFEST, records.frame(records.MANIFEST, manifest), paths.manifest)
    rows = [prediction(number, "binary") for number in range(12)]
    records.write(records.PREDICTIONS, records.frame(records.PREDICTIONS, rows), paths.predictions)
    fixed = {"y0": 0, "downsample": 1.0, "patch_px": 64, "prob": None, "chosen": "all"}
    attention = [
        {"slide_id": slide_id, "x0": x0, "attention": weight, **fixed}
        for slide_id in ids
        for x0, weight in ((0, 0.75), (64, 0.25))
    ]
    records.write(records.ATTENTION, records.frame(records.ATTENTION, attention), paths.attention)
    write_json(paths.slide_labels, {slide_id: {"age": "50"} for slide_id in ids})
    write_json(paths.reports / "validation.json", {})
    log: Any = SimpleNamespace(
        log_metrics=lambda *_: None, share_metrics=lambda *_: None, log_artifact=lambda *_: None, run_id=None
    )
    project = params.load_project(ROOT)
    project = project.model_copy(update={"compute": project.compute.model_copy(update={"workers": 1})})
    return Stage("report", tmp_path, project, log, "demo-mil", recipe, paths)


def test_every_output_of_the_stage_is_there(stage: Stage) -> None:
    report.run(stage)
    definition = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["report"]
    outs = [*definition["outs"], *(name for plot in definition["plots"] for name in plot), *definition["metrics"]]
    for out in outs:
        path = stage.root / out.replace("${item.recipe}", "demo-mil")
        assert path.exists(), out
        assert any(path.iterdir()) if path.is_dir() else path.stat().st_size, out
    metrics = read_json(stage.paths.reports / "metrics.json")
    assert metrics["n_slides"] == 12
    assert read_json(stage.paths.summary_row)["metrics"] == metrics
    assert read_json(stage.paths.summary_row)["split_rule"] == "5 folds by patient"
    with (stage.paths.reports / "per_slide.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["label.age"] for row in rows} == {"50"}
    slides = stage.paths.reports / "slides"
    assert len(list(slides.glob("*.html"))) == 12
    pixels, geometry, _ = read_map(slides / "layers" / "s00_attention.tif")
    assert geometry.downsample == 16.0
    assert (pixels[:4, :4] == 255).all()
    assert (pixels[:4, 4:] == 85).all()


def test_the_same_tables_give_the_same_bytes(stage: Stage) -> None:
    """But for index.html and the pages, which name the commit."""
    report.run(stage)
    before = stage.root / "before"
    shutil.copytree(stage.paths.reports, before)
    report.run(stage)
    files = [path for path in before.rglob("*") if path.is_file() and path.suffix != ".html"]
    assert len(files) > 50
    assert all(path.read_bytes() == (stage.paths.reports / path.relative_to(before)).read_bytes() for path in files)
