"""Whole-slide inference through the pipeline, and the bare network on batches that are in memory, ready to go in."""

from pathlib import Path

import numpy as np
import torch

from acinus import params
from acinus.files import sha256
from acinus.learning.card import WEIGHTS_FILE, Card, save_model
from acinus.learning.device import place, reproducible
from acinus.learning.models import build_model, normalisation
from acinus.learning.weights import ModelSpec
from acinus.maps.slide_map import MapJob, map_slide
from acinus.tissue.mask import TissueMask, save_tissue
from benchmarks.slides import load
from benchmarks.tasks import Done, Work
from benchmarks.whole_slides import CLASSES, INDEX, MAP_DOWNSAMPLE, row_of, tissue_of

BATCH = 16
HELD = 4
"""Different batches that the bare network is given in turn."""


def infer(out: str, slide: str, model: str, threads: int = 1) -> Work:
    """A whole slide to its probability map; the network is loaded and has run once before the clock starts."""
    own, folder = load(Path(slide)), Path(out)
    (folder / "model").mkdir()
    _save(folder / "model", model)
    tissue_of(own, folder / "tissue.png")
    save_tissue(TissueMask(one_px(), own.width, own.height), folder / "warm.png")

    def job(tissue: str, target: str) -> MapJob:
        return MapJob(
            row=row_of(own),
            image=own.path,
            tissue=folder / tissue,
            model=folder / "model",
            weights=sha256(folder / "model" / WEIGHTS_FILE),
            target=folder / target,
            index=INDEX,
            infer=params.Infer(
                stride_px=INDEX.stride_px,
                map_downsample=MAP_DOWNSAMPLE,
                batch_size=BATCH,
                min_tissue_fraction=0.1,
            ),
            compute=params.Compute(threads=1, decode_threads=threads),
        )

    map_slide(job("warm.png", "warm.tif"))
    measured = job("tissue.png", "map.tif")
    return lambda: Done(map_slide(measured).windows)


def bare(out: str, model: str, windows: int) -> Work:
    """The network alone, on normalised float batches, laid out as ours: channels last."""

    def work() -> Done:
        with reproducible(cpu, 1), torch.inference_mode():
            for number in range(-(-windows // BATCH)):
                torch.softmax(network(batches[number % HELD]), dim=1).numpy()
        return Done(-(-windows // BATCH) * BATCH)

    cpu = torch.device("cpu")
    network = build_model(_spec(model)).eval()
    place(network, cpu)
    random = torch.randn(HELD, BATCH, 3, INDEX.patch_px, INDEX.patch_px)
    batches = [one.contiguous(memory_format=torch.channels_last) for one in random]
    with reproducible(cpu, 1), torch.inference_mode():
        network(batches[0])
    return work


def _spec(model: str) -> ModelSpec:
    torch.manual_seed(0)
    return ModelSpec(task="patch_classification", name=model, classes=len(CLASSES))


def _save(folder: Path, model: str) -> None:
    spec = _spec(model)
    mean, std = normalisation(spec)
    card = Card(
        version="0",
        task="patch_classification",
        architecture=model,
        weights="none",
        classes=CLASSES,
        positive=CLASSES[1:],
        patch_px=INDEX.patch_px,
        input_px=INDEX.patch_px,
        level=INDEX.level,
        mpp=None,
        mpp_mean=None,
        mean=mean,
        std=std,
        index=INDEX.model_dump(mode="json"),
        recipe_hash="bench",
        data_hashes={},
        epochs=0,
        best_epoch=1,
        seed=0,
    )
    save_model(folder, build_model(spec), card)


def one_px() -> np.ndarray:
    """Return a mask with a single px of tissue, in its middle."""
    mask = np.zeros((33, 33), dtype=bool)
    mask[16, 16] = True
    return mask
