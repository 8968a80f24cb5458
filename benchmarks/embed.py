"""A whole slide's features by an encoder, the bare encoder on batches in memory, and what a second recipe costs."""

from pathlib import Path

import torch

from acinus import params
from acinus.embedding.reuse import KeptJob, embed_or_take_over, embedding_code, shelf_of
from acinus.embedding.slide_features import EmbedJob, Encoder, SlideToEmbed
from acinus.encoders.loading import load_encoder, make_encoder
from acinus.learning.device import place, reproducible
from acinus.tissue.mask import TissueMask, save_tissue
from benchmarks.networks import HELD, one_px
from benchmarks.slides import MPP, load
from benchmarks.tasks import Done, Work
from benchmarks.whole_slides import INDEX, tissue_of

BATCH = 64
PATCH_PX = 224
SEED = 1
GRID = INDEX.model_copy(update={"patch_px": PATCH_PX, "stride_px": PATCH_PX})


def features(out: str, slide: str, model: str, threads: int = 1) -> Work:
    """A whole slide to its file of features; the encoder is loaded and has run once before the clock starts."""
    folder = Path(out)
    job = _job(folder, Path(slide), model, GRID, threads)
    embed_or_take_over(_warm(job, folder))
    return lambda: Done(embed_or_take_over(job).num_patches)


def taken_over(out: str, slide: str, model: str) -> Work:
    """The same for a second recipe with the same encoder: what the first one made."""
    folder = Path(out)
    first = _job(folder, Path(slide), model, GRID, 1)
    embed_or_take_over(first)
    second = _job(folder, Path(slide), model, GRID, 1, "second.h5")

    def work() -> Done:
        done = embed_or_take_over(second)
        return Done(done.num_patches, {"embedded": 0 if done.taken_over else done.num_patches})

    return work


def bare(out: str, model: str, patches: int) -> Work:
    """The encoder alone, on normalised float batches, laid out as ours: channels last."""

    def work() -> Done:
        with reproducible(cpu, 1), torch.inference_mode():
            for number in range(-(-patches // BATCH)):
                network(batches[number % HELD]).numpy()
        return Done(-(-patches // BATCH) * BATCH)

    cpu, folder = torch.device("cpu"), Path(out)
    network = load_encoder(make_encoder(model, "none", PATCH_PX, folder, SEED), folder, folder)
    place(network, cpu)
    random = torch.randn(HELD, BATCH, 3, PATCH_PX, PATCH_PX)
    batches = [one.contiguous(memory_format=torch.channels_last) for one in random]
    with reproducible(cpu, 1), torch.inference_mode():
        network(batches[0])
    return work


def _job(
    folder: Path, slide: Path, model: str, index: params.Index, threads: int, target: str = "features.h5"
) -> KeptJob:
    own, spec = load(slide), make_encoder(model, "none", PATCH_PX, folder, SEED)
    tissue_of(own, folder / "tissue.png")
    job = EmbedJob(
        slide=SlideToEmbed(own.path.stem, own.path, MPP, folder / "tissue.png"),
        index=index,
        encoder=Encoder(spec, folder, folder, "cpu", 1, BATCH),
        decode_threads=threads,
    )
    return KeptJob(job, "print", embedding_code(), shelf_of(folder, spec), folder / target)


def _warm(job: KeptJob, folder: Path) -> KeptJob:
    """Return the job of the same slide with a single px of tissue."""
    slide = job.embed.slide
    own = load(slide.image)
    save_tissue(TissueMask(one_px(), own.width, own.height), folder / "warm.png")
    warm = SlideToEmbed(slide.slide_id, slide.image, slide.mpp, folder / "warm.png")
    embed = EmbedJob(warm, job.embed.index, job.embed.encoder)
    return KeptJob(embed, job.fingerprint, job.code, job.shelf, folder / "warm.h5")
