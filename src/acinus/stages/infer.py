"""infer: model and slides -> maps/<slide_id>.tif."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from acinus import records
from acinus.files import atomic_path
from acinus.learning.card import Card, load_model
from acinus.learning.device import pick, reproducible
from acinus.learning.predict import predict_probs
from acinus.mapping.blend import blended_rows
from acinus.mapping.geometry import MapGeometry
from acinus.mapping.map_tiff import MapInfo, write_map
from acinus.mapping.windows import grid, with_tissue
from acinus.slides.geometry import resolve
from acinus.slides.slide import Slide
from acinus.slides.tiles import check_under
from acinus.slides.tissue import load_tissue
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Write the tumour probability of every usable slide of the splits asked for."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    wanted = manifest[(manifest["status"] == "ok") & manifest["split"].isin(stage.recipe.infer.splits)]
    model, card = load_model(stage.paths.model)
    windows = 0
    threads, device = stage.project.compute.threads, stage.project.compute.device
    with reproducible(pick(device), threads), atomic_path(stage.paths.maps) as folder:
        folder.mkdir()
        for row in records.rows(wanted):
            number = _slide(stage, row, model, card, folder / f"{row['slide_id']}.tif")
            windows += number
            stage.say(f"{row['slide_id']}: {number} windows")
    stage.log.log_metrics({"n_slides": len(wanted), "n_windows": windows})


def _slide(stage: Stage, row: dict[str, Any], model: nn.Module, card: Card, path: Path) -> int:
    """Write one slide's map and return the number of windows that the model saw."""
    index, infer = stage.recipe.index, stage.recipe.infer
    device, tumour = stage.project.compute.device, card.classes.index("tumor")
    mpp = (float(row["mpp_x"]), float(row["mpp_y"]))
    with Slide(stage.cohort_root / row["image"], row["slide_id"]) as slide:
        at = resolve(slide.level_downsamples, (mpp[0] + mpp[1]) / 2, level=index.level, mpp=index.mpp)
        tissue = load_tissue(stage.paths.tissue / f"{row['slide_id']}.png", slide.width, slide.height)
        edge0 = index.patch_px * at.downsample
        every = grid(slide.width, slide.height, edge0, infer.stride_px * at.downsample)
        seen = with_tissue(every, tissue.fractions(every.x0, every.y0, edge0), infer.min_tissue_fraction)
        check_under(slide, at, seen.x0, seen.y0, edge0)

        def read(x0: int, y0: int) -> np.ndarray:
            return slide.read(x0, y0, index.patch_px, index.patch_px, at)

        def predict(patches: np.ndarray) -> np.ndarray:
            return predict_probs(model, patches, card, device)[:, tumour : tumour + 1]

        geometry = MapGeometry(slide.width, slide.height, infer.map_downsample)
        bands = blended_rows(geometry, seen, read, predict, 1, infer.batch_size)
        write_map(path, (band.probs for band in bands), geometry, MapInfo(row["slide_id"], ("tumor",), mpp))
    return len(seen)
