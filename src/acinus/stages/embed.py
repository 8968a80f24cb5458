"""embed: slides, tissue, maps and an encoder -> features/<slide_id>.h5 and encoder.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acinus import records, seeds
from acinus.files import atomic_path, note_if_empty
from acinus.labels.places import Places, mean_mpp
from acinus.params import SLIDE_LABELS
from acinus.paths import home
from acinus.stage import Stage

if TYPE_CHECKING:  # a recipe that learns nothing of slides never imports torch
    from acinus.embedding.reuse import Embedded, KeptJob
    from acinus.embedding.slide_features import Encoder

WHY = "This recipe learns nothing of whole slides (grade.target: none)."


def run(stage: Stage) -> None:
    """Write the features of every usable slide: of all tissue, or of the patches that its map finds suspicious."""
    manifest = records.rows(records.read(records.MANIFEST, stage.paths.manifest))
    rows = [row for row in manifest if row["status"] == "ok"]
    if stage.recipe.task != SLIDE_LABELS:
        rows = [row for row in rows if _map(stage, row).is_file()]
    none = stage.recipe.grade.target == "none"
    done: list[Embedded] = []
    with atomic_path(stage.paths.features) as folder:
        folder.mkdir()
        if not none:
            done = _embed(stage, rows, folder)
        note_if_empty(folder, WHY)
    made = [slide for slide in done if slide.num_patches]
    before, bare = sum(slide.taken_over for slide in made), len(done) - len(made)
    stage.say(WHY if none else f"{len(made)} slides, {before} of them embedded before; {bare} without tissue left out")
    counts = {"n_slides": len(made), "n_slides_without_tissue": bare, "n_taken_over": before}
    stage.log.log_metrics(counts | {"n_patches": sum(slide.num_patches for slide in made)})


def _embed(stage: Stage, rows: Sequence[dict[str, Any]], folder: Path) -> list["Embedded"]:
    from acinus.embedding.reuse import embed_or_take_over, gpus, swept
    from acinus.learning.device import best_alone

    done: list[Embedded] = []
    device = stage.project.compute.device
    jobs, alone = _jobs(stage, rows, _encoder(stage, folder)), best_alone(device) and not gpus(device)
    with swept({job.shelf for job in jobs}):
        for slide in stage.map(embed_or_take_over, jobs, alone=alone):
            done.append(slide)
            stage.say(f"{slide} ({len(done)} of {len(jobs)})")
    return done


def _encoder(stage: Stage, folder: Path) -> "Encoder":
    """Make the encoder ready in `folder` and say there what it is."""
    from acinus.embedding.folder import save_encoder
    from acinus.embedding.slide_features import Encoder
    from acinus.encoders.loading import make_encoder, own_encoder
    from acinus.encoders.spec import OWN

    embed, compute = stage.recipe.embed, stage.project.compute
    if embed.encoder == OWN:
        spec = own_encoder(stage.paths.model)
    else:  # the seed of the stage grade, which made encoders before this stage was there
        seed = seeds.derive(stage.project.seed, "grade", "encoder")
        spec = make_encoder(embed.encoder, embed.weights, stage.recipe.index.patch_px, folder, seed)
    save_encoder(folder, spec)
    return Encoder(spec, stage.paths.model, folder, compute.device, compute.threads, embed.batch_size, embed.precision)


def _jobs(stage: Stage, rows: Sequence[dict[str, Any]], encoder: "Encoder") -> list["KeptJob"]:
    from acinus.embedding.bags import Choice
    from acinus.embedding.folder import feature_path
    from acinus.embedding.reuse import KeptJob, embedding_code, gpus, shelf_of
    from acinus.embedding.slide_features import EmbedJob, SlideToEmbed

    places, embed, code = Places(stage.cohort_root, stage.paths.rasters), stage.recipe.embed, embedding_code()
    shelf, devices = shelf_of(home(stage.root), encoder.spec), gpus(encoder.device)
    choice, dtype, positive = None, embed.dtype, stage.recipe.positive_indices
    if stage.recipe.task != SLIDE_LABELS:
        choice, dtype = Choice(embed.top_patches, embed.random_patches, embed.min_distance, positive), "float32"
    jobs = []
    for row in rows:
        tissue, map_file = stage.paths.tissue / f"{row['slide_id']}.png", _map(stage, row) if choice else None
        job = EmbedJob(
            slide=SlideToEmbed(row["slide_id"], places.image(row), mean_mpp(row), tissue, map_file),
            index=stage.recipe.index,
            encoder=encoder,
            choice=choice,
            bag_seed=seeds.derive(stage.project.seed, "grade", "bag"),
            decode_threads=stage.decode_threads,
            memory_mib=stage.memory_mib,
        )
        target = feature_path(encoder.folder, row["slide_id"])
        jobs.append(KeptJob(job, row["fingerprint"], code, shelf, target, dtype, devices))
    return jobs


def _map(stage: Stage, row: dict[str, Any]) -> Path:
    return stage.paths.maps / f"{row['slide_id']}.tif"
