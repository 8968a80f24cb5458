"""docs/notebook.ipynb runs as it stands, in a project that `dvc repro` has finished; and what it opens is that run."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import acinus
from tests.pipeline.conftest import RECIPE, REPOSITORY, Miniature
from tests.run_notebook import code_cells

NOTEBOOK = REPOSITORY / "docs" / "notebook.ipynb"


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if "outputs" in cell)
    assert NOTEBOOK.stat().st_size < 20_000


def test_the_notebook_runs_and_draws(tiny_project: Miniature, tmp_path: Path) -> None:
    runner = str(REPOSITORY / "tests" / "run_notebook.py")
    printed = tiny_project.run(sys.executable, runner, "docs/notebook.ipynb", str(tmp_path))
    metrics = json.loads((tiny_project.root / "reports" / RECIPE / "metrics.json").read_text())
    assert f"'dice_pooled': {metrics['dice_pooled']}" in printed
    assert "of 64 px" in printed  # the store's patches
    drawing = [number for number, text in enumerate(code_cells(NOTEBOOK)) if "imshow" in text or "plt.sub" in text]
    pictures = {int(path.name[:2]): path for path in tmp_path.glob("*.png")}
    assert set(drawing) <= set(pictures)
    for path in pictures.values():
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 10, path.name  # not blank
    assert re.search(r"(?m)^0 .* asap ", printed)


def test_a_runs_tables_are_its_files(tiny_project: Miniature) -> None:
    root = tiny_project.root
    run = acinus.open_run(root, RECIPE)
    data = root / "data" / RECIPE
    for table, path in (
        (run.manifest, data / "manifest.parquet"),
        (run.candidates, data / "index.parquet"),
        (run.patches, data / "sample.parquet"),
        (run.quantities, data / "quantities.parquet"),
        (run.regions, data / "regions.parquet"),
        (run.grades, data / "grades.parquet"),
        (run.patch_scores, root / "models" / RECIPE / "patch_scores.parquet"),
    ):
        written = pd.read_parquet(path)
        assert len(table) == len(written), path
        same = [name for name in written if not name.startswith(("class_", "confusion", "mil_", "pq_"))]
        pd.testing.assert_frame_equal(table[same], written[same], check_dtype=False)
    assert run.metrics == json.loads((root / "reports" / RECIPE / "metrics.json").read_text())
    assert (
        run.slides["slide_id"].tolist() == pd.read_csv(root / "reports" / RECIPE / "per_slide.csv")["slide_id"].tolist()
    )
    assert len(run.training_log) == len((root / "models" / RECIPE / "training_log.csv").read_text().splitlines()) - 1


def test_a_grid_is_the_index_of_the_stage(tiny_project: Miniature) -> None:
    """For the same settings the same patches and the same shares, to the last bit; less what only tumour keeps."""
    run = acinus.open_run(tiny_project.root, RECIPE)
    settings = run.recipe.index
    where = {"level": settings.level, "mpp": settings.mpp, "min_tissue_fraction": settings.min_tissue_fraction}
    for slide_id in ("test_001", "normal_001"):
        with run.open_slide(slide_id) as slide:
            tissue = acinus.find_tissue(slide, **settings.tissue.model_dump())
            grid = acinus.patch_grid(slide, settings.patch_px, settings.stride_px, tissue=tissue, **where)
        assert np.array_equal(tissue.mask, run.tissue(slide_id).mask)
        rows = run.candidates[run.candidates["slide_id"] == slide_id]
        rows = rows[rows["tissue_fraction"] >= settings.min_tissue_fraction]
        assert len(rows) > 20
        assert rows[list(grid.columns)].reset_index(drop=True).equals(grid)


def test_a_model_says_of_patches_what_training_wrote_down(tiny_project: Miniature) -> None:
    run = acinus.open_run(tiny_project.root, RECIPE)
    scores, model = run.patch_scores, acinus.load_model(run.paths.model)
    with acinus.open_store(run.paths.patches) as store:
        keys = [f"{slide_id}/{x0}_{y0}" for slide_id, x0, y0 in scores[["slide_id", "x0", "y0"]].to_numpy().tolist()]
        assert [store[key].label for key in keys] == scores["label"].tolist()
        probs = model.predict(store.images(keys), calibrated=False)
    assert np.abs(probs[:, 1] - scores["probs"]).max() < 1e-6


def test_a_map_and_a_slide_by_its_id(tiny_project: Miniature) -> None:
    run = acinus.open_run(tiny_project.root, RECIPE)
    found = run.map("test_001")
    with run.open_slide("test_001") as slide:
        assert (found.width, found.height) == slide.dimensions
        assert slide.mpp == tuple(run.manifest.set_index("slide_id").loc["test_001", ["mpp_x", "mpp_y"]])
    assert found.pixels.shape == (slide.height / found.downsample, slide.width / found.downsample)
    assert found.extent == (0, slide.width, slide.height, 0)
    with pytest.raises(acinus.AcinusError, match=r"slide 'no': not in .*manifest.parquet"):
        run.open_slide("no")
    with pytest.raises(acinus.AcinusError, match="not found; run stage infer"):
        run.map("normal_001")
    with pytest.raises(acinus.AcinusError, match=r"recipes/none.yaml"):
        acinus.open_run(tiny_project.root, "none")
