"""The API on real slides: pixels as OpenSlide has them, the grid of stage index, and the notebook from end to end."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import shapely
from PIL import Image

import acinus
from acinus import params
from acinus.labels.labels import LabelRules
from acinus.labels.places import Places
from acinus.patches.index import LabelRule
from acinus.regions.operating_point import Maps
from acinus.stages.index import Job, index_one
from tests.run_notebook import code_cells
from tests.test_predict import POINT, index, make_model

REPOSITORY = Path(__file__).resolve().parents[2]
SLIDES = ("CRC-AI-8_E_X40_IHC.tif", "cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs")
DRAWN = [[700, 800], [1300, 800], [1300, 2200], [900, 2200], [700, 800]]


@pytest.fixture(params=SLIDES)
def path(shared_data: Path, request: pytest.FixtureRequest) -> Path:
    return shared_data / "slides" / request.param


def test_pixels_are_those_of_openslide(path: Path) -> None:
    with acinus.open_slide(path) as slide, openslide.OpenSlide(path) as other:
        assert slide.dimensions == other.dimensions
        for level in range(len(slide.levels)):
            picture = Image.new("RGB", (300, 200), "white")
            region = other.read_region((1000, 1500), level, (300, 200))
            picture.paste(region, mask=region.getchannel("A"))
            assert np.array_equal(slide.read(1000, 1500, 300, 200, level=level), np.asarray(picture))
        small = slide.thumbnail(400).astype(float)
        theirs = np.asarray(other.get_thumbnail((400, 400)).convert("RGB").resize(small.shape[1::-1])).astype(float)
        assert np.abs(small - theirs).mean() < 4  # another filter


@pytest.mark.parametrize("cell_px", [None, 64])
def test_the_grid_is_that_of_stage_index(path: Path, tmp_path: Path, cell_px: int | None) -> None:
    with acinus.open_slide(path, mpp=0.5) as slide:
        settings = params.Index(patch_px=200, stride_px=64, mpp=1.3, cell_px=cell_px, min_tissue_fraction=0.3)
        row = {
            "slide_id": "a",
            "image": path.name,
            "split": "test",
            "width": slide.width,
            "height": slide.height,
            "exhaustive": True,
            "provider": "unknown",
            "derived": False,
            "label_kind": "none",
            "label_source": None,
            "mpp_x": 0.5,
            "mpp_y": 0.5,
        }
        rule = LabelRule(2, (1,), "patch_classification")
        job = Job(row, Places(path.parent, tmp_path), tmp_path, settings, LabelRules(("normal", "tumor")), rule)
        rows = index_one(job).to_pandas()
        grid = acinus.patch_grid(slide, 200, 64, mpp=1.3, cell_px=cell_px, min_tissue_fraction=0.3)
        mask = acinus.find_tissue(slide).mask
    assert len(rows) > 50
    assert grid.equals(rows[list(grid.columns)])
    with Image.open(tmp_path / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), mask)


def test_the_notebook_on_a_slide_of_ones_own(shared_data: Path, tmp_path: Path) -> None:
    geometry = {"type": "Polygon", "coordinates": [DRAWN]}
    (tmp_path / "own.geojson").write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": {}}))
    point = POINT.model_copy(update={"maps": Maps(stride_px=128, map_downsample=32.0, min_tissue_fraction=0.1)})
    wide = index(patch_px=128, stride_px=128, tissue={"method": "density", "downsample": 32.0})
    model = make_model(tmp_path / "models", point=point, patch_px=128, index=wide)
    own = f"""
from pathlib import Path
slide_path = Path({str(shared_data / "slides" / SLIDES[1])!r})
annotation_path = Path({str(tmp_path / "own.geojson")!r})
model_path = Path({str(model)!r})
"""
    notebook = json.loads((REPOSITORY / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    until = next(n for n, cell in enumerate(notebook["cells"]) if "open_run" in "".join(cell["source"]))
    (tmp_path / "own.ipynb").write_text(json.dumps(notebook | {"cells": notebook["cells"][:until]}))
    (tmp_path / "pictures").mkdir()
    command = [sys.executable, str(REPOSITORY / "tests" / "run_notebook.py"), "own.ipynb", "pictures", own]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    area = shapely.Polygon(DRAWN).area
    assert f"{area:.1f}" in done.stdout
    assert len(list((tmp_path / "pictures").glob("*.png"))) == len(
        [text for text in code_cells(tmp_path / "own.ipynb") if "plt.sub" in text or text.endswith("fig")]
    )
