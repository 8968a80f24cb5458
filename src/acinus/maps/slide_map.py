"""One slide through a trained model to its probability map: what infer, calibrate and predict share."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from acinus import params
from acinus.errors import AcinusError
from acinus.labels.places import mean_mpp, mpp_of
from acinus.learning.card import Card, load_model
from acinus.learning.device import Running, pick, reproducible
from acinus.learning.predict import Predict, map_channels, predictor
from acinus.maps.blend import blended_rows, shown
from acinus.maps.geometry import MapGeometry
from acinus.maps.tiff import MapInfo, write_map
from acinus.maps.windows import chosen_windows
from acinus.params.faults import cell_fault
from acinus.patches.grid import cell_margin
from acinus.scoring.scaling import AS_TRAINED, Scaling
from acinus.slides.geometry import Resolution, resolve
from acinus.slides.open import open_slide
from acinus.slides.tile_pass import PassCounts, TilePass
from acinus.slides.tiles import check_under
from acinus.threads import drawn_ahead, handed_on
from acinus.tissue.mask import load_tissue

IN_TURN = 3
"""Batches that exist at a time: one being put together, one waiting, one in the model."""
Empty = Callable[[tuple[int, ...]], np.ndarray]
"""shape -> a writable uint8 array."""


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
    compute: params.Compute
    scaling: Scaling = AS_TRAINED


def running_as(compute: params.Compute, infer: params.Infer) -> Running:
    """Return how a recipe has its network run; the last bits depend on it."""
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
    start, row, index, infer, compute = clock(), job.row, job.index, job.infer, job.compute
    device = pick(compute.device)
    with reproducible(device, compute.threads), open_slide(job.image, row["slide_id"]) as slide:
        _, card = _model(job.model, job.weights)
        at = resolve(slide.level_downsamples, mean_mpp(row), level=index.level, mpp=index.mpp)
        geometry = MapGeometry(slide.width, slide.height, _map_downsample(job, at))
        # a window is what the model answers for, a cell where the recipe has cells: the rest of its pixels is context
        margin0 = cell_margin(index.patch_px, index.cell_px or index.patch_px, at.downsample)
        inside = chosen_windows(load_tissue(job.tissue, slide.width, slide.height), at, index, infer)
        check_under(slide, at, inside.x0 - margin0, inside.y0 - margin0, index.patch_px * at.downsample)
        seen = shown(geometry, inside)
        corners = np.stack([seen.x0, seen.y0], axis=1) - margin0
        names = card.classes[1:] if len(card.classes) == 2 else card.classes
        info = MapInfo(row["slide_id"], names, mpp_of(row))
        how = running_as(compute, infer)
        predict = _predictor((job.model, job.weights), compute.device, compute.threads, job.scaling, how)
        empty = memory_of(device)

        def write(answers: Iterator[np.ndarray]) -> None:
            bands = blended_rows(geometry, seen, answers, len(names), infer.batch_size)
            write_map(job.target, (band.probs for band in bands), geometry, info)

        with (
            TilePass(
                slide, at, corners, index.patch_px, threads=compute.decode_threads, memory_mib=compute.memory_mib
            ) as squares,
            drawn_ahead(batches(squares, len(seen), infer.batch_size, IN_TURN, empty)) as prepared,
        ):
            handed_on((map_channels(predict(batch), card) for batch in prepared), write)
        return Mapped(len(inside), squares.counts, clock() - start)


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


def memory_of(device: torch.device) -> Empty:
    """Return what gives the memory of a batch that goes to the device."""
    return _pinned if device.type == "cuda" else _plain


def _plain(shape: tuple[int, ...]) -> np.ndarray:
    return np.empty(shape, dtype=np.uint8)


def _pinned(shape: tuple[int, ...]) -> np.ndarray:
    """Return a page-locked array, which a CUDA device copies at once."""
    pixels: np.ndarray = torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
    return pixels


def batches(
    squares: Iterable[np.ndarray], count: int, batch_size: int, in_turn: int, empty: Empty = _plain
) -> Iterator[np.ndarray]:
    """Yield `count` squares as uint8 (batch_size, h, w, 3), the last batch shorter.

    A batch is overwritten when `in_turn` more have been asked for: it holds as long as so many are in use at a time.

    Raises:
        ValueError: fewer squares.
    """
    turn, source, done = list[np.ndarray](), iter(squares), 0
    for number, start in enumerate(range(0, count, batch_size)):
        size = min(batch_size, count - start)
        for place, square in enumerate(islice(source, size)):
            if place == 0 and number < in_turn:
                turn.append(empty((min(batch_size, count), *square.shape)))
            turn[number % in_turn][place] = square
            done = start + place + 1
        if done < start + size:
            raise ValueError(f"{done} of {count} squares came")
        yield turn[number % in_turn][:size]
