"""One slide through a trained model to its probability map: what infer, calibrate and predict share."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from acinus import params
from acinus.errors import AcinusError
from acinus.labels.places import mean_mpp, mpp_of
from acinus.learning.card import Card, load_model
from acinus.learning.device import AS_IS, Running, pick, reproducible
from acinus.learning.predict import Predict, map_channels, predictor
from acinus.maps.batches import Empty, batches
from acinus.maps.blend import blended_rows, shown
from acinus.maps.coverage import chosen_windows
from acinus.maps.geometry import MapGeometry
from acinus.maps.tiff import MapInfo, write_map
from acinus.maps.windows import Windows
from acinus.params.faults import cell_fault
from acinus.patches.grid import cell_margin
from acinus.scoring.scaling import AS_TRAINED, Scaling
from acinus.slides.geometry import Resolution, resolve
from acinus.slides.open import SlidePixels, open_slide
from acinus.slides.tile_pass import PassCounts, TilePass
from acinus.slides.tiles import check_under
from acinus.threads import drawn_ahead, handed_on
from acinus.tissue.mask import load_tissue

IN_TURN = 3
"""Batches that exist at a time: one being put together, one waiting, one in the model."""


@dataclass(frozen=True)
class MapJob:
    """One slide to map; travels to a worker.

    row: a row of records.MANIFEST (slide_id, mpp_x, mpp_y are read). image: the slide, as `open_slide` takes it.
    tissue: the slide's tissue mask. weights: SHA-256 of the model's weights file. decode_threads, memory_mib: see
    `slides.tile_pass`; no result depends on them. running: how the network is run; the last bits depend on it.
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
    scaling: Scaling = AS_TRAINED
    decode_threads: int = 1
    memory_mib: int = 256
    running: Running = AS_IS


def running_as(compute: params.Compute, infer: params.Infer) -> Running:
    """Return how a recipe has its network run."""
    return Running(infer.precision, infer.engine, compute.channels_last, compute.compile_, infer.tta)


@dataclass(frozen=True)
class Mapped:
    """What one slide's map took. windows: those in tissue; pixels: how they were read; seconds: wall time in all."""

    windows: int
    pixels: PassCounts
    seconds: float


@lru_cache(maxsize=1)
def _model(folder: Path, weights: str) -> tuple[nn.Module, Card]:
    """Return the model whose weights have this SHA-256, loaded once per process; call it within `reproducible`."""
    return load_model(folder)


@lru_cache(maxsize=1)
def _predictor(job_model: tuple[Path, str], device: str, threads: int, scaling: Scaling, how: Running) -> Predict:
    """Return what runs the model (folder, SHA-256) on `device`, made once per process for all its slides.

    It is the process's one copy: only within `reproducible`, which lets one thread in, may it be made and run.
    threads: torch's at this moment; an engine may keep them.
    """
    model, card = _model(*job_model)
    return predictor(model, card, device, scaling, how)


def map_slide(job: MapJob, clock: Callable[[], float] = time.perf_counter) -> Mapped:
    """Write one slide's map.

    While the model computes a batch, threads decode and put together the next and blend the one before. The map's
    bytes depend on none of them: batches, and the windows within, go through in order.
    """
    start, row, index, infer = clock(), job.row, job.index, job.infer
    with reproducible(pick(job.device), job.threads), open_slide(job.image, row["slide_id"]) as slide:
        _, card = _model(job.model, job.weights)
        at = resolve(slide.level_downsamples, mean_mpp(row), level=index.level, mpp=index.mpp)
        geometry = MapGeometry(slide.width, slide.height, _map_downsample(job, at))
        inside, margin0 = _windows(job, slide, at)
        seen = shown(geometry, inside)
        names = card.classes[1:] if len(card.classes) == 2 else card.classes
        info = MapInfo(row["slide_id"], names, mpp_of(row))
        predict = _predictor((job.model, job.weights), job.device, job.threads, job.scaling, job.running)

        def write(answers: Iterator[np.ndarray]) -> None:
            bands = blended_rows(geometry, seen, answers, len(names), infer.batch_size)
            write_map(job.target, (band.probs for band in bands), geometry, info)

        with (
            _pixels(job, slide, at, seen, margin0) as squares,
            drawn_ahead(batches(squares, len(seen), infer.batch_size, IN_TURN, _empty_for(job.device))) as prepared,
        ):
            handed_on((map_channels(predict(batch), card) for batch in prepared), write)
        return Mapped(len(inside), squares.counts, clock() - start)


def _windows(job: MapJob, slide: SlidePixels, at: Resolution) -> tuple[Windows, int]:
    """Return where a slide has tissue to look at, and how far before its corner the pixels of a window begin.

    A window here is what the model answers for, a cell where the recipe has cells: the rest of its pixels is context.
    """
    index, infer = job.index, job.infer
    margin0 = cell_margin(index.patch_px, index.cell_px or index.patch_px, at.downsample)
    inside = chosen_windows(load_tissue(job.tissue, slide.width, slide.height), at, index, infer)
    check_under(slide, at, inside.x0 - margin0, inside.y0 - margin0, index.patch_px * at.downsample)
    return inside, margin0


def _map_downsample(job: MapJob, at: Resolution) -> float:
    """Return the level-0 px per px of a slide's map: as set, or those of its cells, which are the map's px.

    Pyramids round their sizes, so cells differ a little from slide to slide.
    """
    wanted, cell_px = job.infer.map_downsample, job.index.cell_px
    if cell_px is None:
        return wanted
    edge0 = cell_px * at.downsample
    if (fault := cell_fault(wanted, cell_px, edge0)) is not None:
        raise AcinusError(f"slide {job.row['slide_id']}: {fault}")
    return edge0


def _pixels(job: MapJob, slide: SlidePixels, at: Resolution, windows: Windows, margin0: int) -> TilePass:
    """Return the pass that gives the windows' pixels, in order."""
    corners = np.stack([windows.x0, windows.y0], axis=1) - margin0
    return TilePass(slide, at, corners, job.index.patch_px, threads=job.decode_threads, memory_mib=job.memory_mib)


def _empty_for(device: str) -> Empty | None:
    """Return what makes a batch's array: page-locked where it goes to a CUDA device, so that it is copied at once."""
    if pick(device).type != "cuda":
        return None

    def pinned(shape: tuple[int, ...]) -> np.ndarray:
        found: np.ndarray = torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
        return found

    return pinned
