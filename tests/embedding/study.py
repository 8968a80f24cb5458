"""A small study of slide labels: drawn slides in tiled TIFFs, of which one has no tissue, and their stage embed."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from acinus import records
from acinus.params import Recipe, load_project, load_recipe
from acinus.paths import Paths
from acinus.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, EDGE, MPP = 500, 420, 64, 0.5
SLIDES = ("a", "b", "c", "d")
BLANK = "blank"
GRID = {"patch_px": EDGE, "stride_px": EDGE, "level": 0, "mpp": None, "min_tissue_fraction": 0.5}


def study(root: Path, slides: tuple[str, ...] = SLIDES, recipe: str = "r") -> Paths:
    """Draw slides and write what ingest and index would have written of them."""
    paths, rng = Paths(root, recipe), np.random.default_rng(0)
    (root / "cohort").mkdir(parents=True, exist_ok=True)
    paths.tissue.mkdir(parents=True)
    for slide_id in (*slides, BLANK):
        picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        tifffile.imwrite(root / "cohort" / f"{slide_id}.tif", picture, tile=(128, 128), photometric="rgb")
        tissue = np.zeros((21, 25), dtype=bool)
        tissue[2:17, 3:20] = slide_id != BLANK
        Image.fromarray(tissue).save(paths.tissue / f"{slide_id}.png")
    rows = [row_of(slide_id) for slide_id in (*slides, BLANK)]
    rows.append(row_of("bad") | {"status": "bad", "reason": "does not open"})
    records.write(records.MANIFEST, records.frame(records.MANIFEST, rows), paths.manifest)
    return paths


def row_of(slide_id: str) -> dict[str, Any]:
    """Return the slide's row of the manifest."""
    fixed = dict.fromkeys(records.MANIFEST.schema.names)
    texts = dict.fromkeys(("split_rule", "findings", "reason", "provider"), "")
    facts = {
        "slide_id": slide_id,
        "patient": slide_id,
        "image": f"{slide_id}.tif",
        "fingerprint": f"print of {slide_id}",
        "isup": sum(slide_id.encode()) % 6,
    }
    sizes = {"mpp_x": MPP, "mpp_y": MPP, "width": WIDTH, "height": HEIGHT}
    state = {"label_kind": "unknown", "exhaustive": True, "split": "train", "derived": False, "status": "ok"}
    return fixed | texts | facts | sizes | state


def recipe_of(root: Path, **embed: object) -> Recipe:
    """Return a recipe of task slide_labels over the study's slides, whose encoder is tiny and drawn."""
    whole = load_recipe(ROOT, "demo-panda")
    settings = {"encoder": "test_resnet", "weights": "none", "batch_size": 5, **embed}
    changes = {
        "task": "slide_labels",
        "cohort": whole.cohort.model_copy(update={"root": str(root / "cohort")}),
        "index": whole.index.model_copy(update=GRID),
        "embed": whole.embed.model_copy(update=settings),
    }
    return whole.model_copy(update=changes)


def stage_of(
    root: Path, recipe: Recipe, name: str = "r", figures: Callable[[dict[str, Any]], object] = lambda _: None
) -> Stage:
    """Return the stage embed; `figures` gets what it logs."""
    project = load_project(ROOT)
    compute = project.compute.model_copy(update={"workers": 1, "threads": 1, "device": "cpu"})
    project = project.model_copy(update={"seed": 5, "compute": compute})
    log: Any = SimpleNamespace(run_id=None, log_metrics=figures, log_artifact=lambda *_: None)
    return Stage("embed", root, project, log, name, recipe, Paths(root, name))
