"""One slide through a trained model to its probability map: what infer, calibrate and predict share."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from acinus import params
from acinus.errors import AcinusError
from acinus.learning.card import Card, load_model
from acinus.learning.device import pick, reproducible
from acinus.learning.predict import map_channels, predict_probs
from acinus.mapping.blend import blended_rows
from acinus.mapping.geometry import MapGeometry
from acinus.mapping.map_tiff import MapInfo, write_map
from acinus.mapping.windows import grid, with_tissue
from acinus.patches.grid import cell_margin
from acinus.slides.geometry import resolve
from acinus.slides.open import open_slide
from acinus.slides.places import mean_mpp, mpp_of
from acinus.slides.tiles import check_under
from acinus.slides.tissue import load_tissue


@dataclass(frozen=True)
class MapJob:
    """One slide to map; travels to a worker.

    row: a row of records.MANIFEST (slide_id, mpp_x, mpp_y are read). image: the slide, as `open_slide` takes it.
    tissue: the slide's tissue mask. weights: SHA-256 of the model's weights file.
    """

    row: dict[str, Any]
    image: Path
    tissue: Path
    model: Path
    weights: str
    target: Path
    index: params.Index
    infer: params.Infer
    device: str
    threads: int
    temperature: float = 1.0


@lru_cache(maxsize=1)
def _model(folder: Path, weights: str) -> tuple[nn.Module, Card]:
    """Return the model whose weights have this SHA-256, loaded once per process."""
    return load_model(folder)


def map_slide(job: MapJob) -> int:
    """Write one slide's map and return the number of windows that the model saw."""
    row, index, infer = job.row, job.index, job.infer
    model, card = _model(job.model, job.weights)
    with reproducible(pick(job.device), job.threads), open_slide(job.image, row["slide_id"]) as slide:
        at = resolve(slide.level_downsamples, mean_mpp(row), level=index.level, mpp=index.mpp)
        tissue = load_tissue(job.tissue, slide.width, slide.height)
        cell_px = index.cell_px or index.patch_px  # what a window answers for; the rest of it is context
        edge0, margin0 = cell_px * at.downsample, cell_margin(index.patch_px, cell_px, at.downsample)
        every = grid(slide.width, slide.height, edge0, infer.stride_px * at.downsample)
        seen = with_tissue(every, tissue.fractions(every.x0, every.y0, edge0), infer.min_tissue_fraction)
        check_under(slide, at, seen.x0 - margin0, seen.y0 - margin0, index.patch_px * at.downsample)

        def read(x0: int, y0: int) -> np.ndarray:
            return slide.read(x0 - margin0, y0 - margin0, index.patch_px, index.patch_px, at)

        def predict(patches: np.ndarray) -> np.ndarray:
            return map_channels(predict_probs(model, patches, card, job.device, job.temperature), card)

        if index.cell_px is not None and abs(infer.map_downsample - edge0) > 1e-6:
            raise AcinusError(
                f"slide {row['slide_id']}: infer.map_downsample = {infer.map_downsample:g}, but a cell of "
                f"{cell_px} px is {edge0:g} level-0 px; write that, so that the map has one value per cell"
            )
        names = card.classes[1:] if len(card.classes) == 2 else card.classes
        geometry = MapGeometry(slide.width, slide.height, infer.map_downsample)
        bands = blended_rows(geometry, seen, read, predict, len(names), infer.batch_size)
        write_map(job.target, (band.probs for band in bands), geometry, MapInfo(row["slide_id"], names, mpp_of(row)))
    return len(seen)
