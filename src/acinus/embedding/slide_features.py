"""One slide -> the features of its patches: all in tissue, read in one pass, or the most suspicious by its map."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import nn

from acinus import params
from acinus.embedding.bags import Bag, Choice, choose, read_patches, tissue_squares
from acinus.embedding.feature_file import Patches, SlideFeatures
from acinus.encoders.checks import resolution_fault
from acinus.encoders.known import find
from acinus.encoders.loading import load_encoder, patch_features
from acinus.encoders.spec import EncoderSpec
from acinus.errors import AcinusError, SlideError
from acinus.learning.device import Running, network, pick, reproducible
from acinus.learning.inputs import InputSpec, to_device, to_input
from acinus.maps.slide_map import IN_TURN, batches, memory_of
from acinus.maps.tiff import open_map
from acinus.params.faults import running_fault
from acinus.patches.index import Squares
from acinus.seeds import derive
from acinus.slides.geometry import Resolution, resolve
from acinus.slides.open import SlidePixels, open_slide
from acinus.slides.tile_pass import TilePass
from acinus.slides.tiles import check_under
from acinus.threads import drawn_ahead, handed_on
from acinus.tissue.mask import load_tissue

Kept = TypeVar("Kept")
Keep = Callable[[Patches, Iterator[np.ndarray]], Kept]
"""What is done with a slide's patches and their features, float32 (m, d) each, as they come."""


@dataclass(frozen=True)
class SlideToEmbed:
    """One slide. mpp: um per level-0 px (mean of both ways), None where unknown. tissue: its mask, as `save_tissue`
    writes it. map: its probability map, needed for the suspicious patches only.
    """

    slide_id: str
    image: Path
    mpp: float | None
    tissue: Path
    map: Path | None = None


@dataclass(frozen=True)
class Encoder:
    """An encoder and how it runs. model, folder, root: of the trained network, of the features (or the grader), and of
    the project; the weights lie below one of them. batch_size, precision: of all patches in tissue; the suspicious ones
    go by `loading.BATCH` in float32.
    """

    spec: EncoderSpec
    model: Path
    folder: Path
    device: str
    threads: int
    batch_size: int = 64
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    root: Path = Path()


@dataclass(frozen=True)
class EmbedJob:
    """One slide to embed; travels to a worker. choice: which patches, None: all in tissue. decode_threads, memory_mib:
    of the pass over the slide; no bit depends on them.
    """

    slide: SlideToEmbed
    index: params.Index
    encoder: Encoder
    choice: Choice | None = None
    bag_seed: int = 0
    decode_threads: int = 1
    memory_mib: int = 256


def slide_features(job: EmbedJob) -> SlideFeatures | None:
    """Return a slide's features, or None where it has no tissue to take a patch from."""
    return embed(job, lambda patches, features: SlideFeatures(patches, np.concatenate(list(features))))


def embed(job: EmbedJob, keep: Keep[Kept]) -> Kept | None:
    """Return what `keep` makes of a slide's patches, by y0, then x0, and of their features as they come.

    None where the slide has no tissue to take a patch from. With all patches memory does not depend on the slide's
    area: while the encoder has a batch, threads read the next and `keep` takes the one before.

    Raises:
        SlideError: the slide cannot be read, or cannot give the resolution.
        AcinusError: the encoder's weights are missing or others.
    """
    slide, index, encoder = job.slide, job.index, job.encoder
    with reproducible(pick(encoder.device), encoder.threads), open_slide(slide.image, slide.slide_id) as pixels:
        at = resolve(pixels.level_downsamples, slide.mpp, level=index.level, mpp=index.mpp)
        _check_resolution(job, at)
        patches = _patches(job, pixels, at)
        if not len(patches):
            return None
        if job.choice is None:
            check_under(pixels, at, patches.x0, patches.y0, patches.edge0)
            return _all(job, pixels, at, patches, keep)
        chosen = read_patches(pixels, patches.x0, patches.y0, at, index.patch_px)
        return keep(patches, iter([patch_features(_loaded(encoder), chosen, encoder.spec, encoder.device)]))


def _check_resolution(job: EmbedJob, at: Resolution) -> None:
    """Refuse a slide whose level gives another resolution than the encoder's; index.mpp is checked before any work."""
    spec, mpp = job.encoder.spec, job.slide.mpp
    if job.choice is not None or job.index.mpp is not None or mpp is None or spec.mpp is None:
        return
    known = find(spec.name)
    wanted = known.mpp if known is not None and spec.mpp in known.mpp else (spec.mpp,)
    fault = resolution_fault(job.index.patch_px, mpp * at.downsample, spec.px, wanted, spec.name)
    if fault is not None:
        raise SlideError(f"slide {job.slide.slide_id}: {fault}")


def _patches(job: EmbedJob, pixels: SlidePixels, at: Resolution) -> Patches:
    """Return which patches of the slide are embedded."""
    slide, index = job.slide, job.index
    tissue = load_tissue(slide.tissue, pixels.width, pixels.height)
    chosen: Bag | Squares
    if job.choice is None:
        chosen = tissue_squares(tissue, at, index)
        prob = top = None
    else:
        assert slide.map is not None, "the most suspicious patches are told by a map"
        with open_map(slide.map) as reader:
            chosen = choose(reader, tissue, at, index, job.choice, derive(job.bag_seed, slide.slide_id))
        prob, top = chosen.prob, chosen.top
    return Patches(
        slide_id=slide.slide_id,
        width=pixels.width,
        height=pixels.height,
        mpp=slide.mpp,
        x0=chosen.x0,
        y0=chosen.y0,
        downsample=at.downsample,
        patch_px=index.patch_px,
        stride_px=index.stride_px,
        prob=prob,
        top=top,
    )


def _all(job: EmbedJob, pixels: SlidePixels, at: Resolution, patches: Patches, keep: Keep[Kept]) -> Kept:
    """Return what `keep` makes of all patches, read in one pass over the slide's tiles."""
    encoder, count = job.encoder, len(patches)
    corners = np.stack([patches.x0, patches.y0], axis=1)
    features = _by_batch(encoder)
    empty = memory_of(pick(encoder.device))
    with (
        TilePass(pixels, at, corners, patches.patch_px, job.decode_threads, job.memory_mib) as squares,
        drawn_ahead(batches(squares, count, encoder.batch_size, IN_TURN, empty)) as prepared,
    ):
        return handed_on((features(batch) for batch in prepared), lambda each: keep(patches, each))


def _loaded(encoder: Encoder) -> nn.Module:
    return _load(encoder.spec.model_dump_json(), encoder.model, encoder.folder, encoder.root)


@lru_cache(maxsize=1)
def _load(spec: str, model: Path, folder: Path, root: Path) -> nn.Module:
    """Load an encoder, once per process: its spec, as JSON, has the checksum of its weights."""
    return load_encoder(EncoderSpec.model_validate_json(spec), model, folder, root)


def _by_batch(encoder: Encoder) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from uint8 (n, h, w, 3) patches to float32 (n, d) features.

    The encoder is the process's one copy: only within `reproducible`, which lets one thread in, may it be run.
    """
    spec, where = encoder.spec, pick(encoder.device)
    if (fault := running_fault(encoder.precision, "torch", False, where.type, "embed")) is not None:
        raise AcinusError(fault)
    run = network(_loaded(encoder), where, spec.px, Running(encoder.precision))
    inputs = InputSpec(spec.mean, spec.std, spec.px)

    def features(patches: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            values = run(to_input(to_device(patches, where), inputs)).float().cpu().numpy()
        if spec.width not in (None, values.shape[1]):
            raise AcinusError(f"encoder {spec.name}: {values.shape[1]} features per patch, {spec.width} were noted")
        return values

    return features
