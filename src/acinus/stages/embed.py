"""embed: slides, tissue, maps and an encoder -> features/<slide_id>.h5 and encoder.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acinus import records, seeds
from acinus.encoders.spec import IMPORTED, OWN
from acinus.files import atomic_path, note_if_empty, read_json
from acinus.grading.runs import check_labels
from acinus.labels.places import Places, mean_mpp
from acinus.params import SLIDE_LABELS
from acinus.paths import home
from acinus.stage import Stage

if TYPE_CHECKING:  # a recipe that learns nothing of slides never imports torch
    from acinus.embedding.folder import Embedded
    from acinus.embedding.reuse import KeptJob
    from acinus.embedding.slide_features import Encoder

WHY = "This recipe learns nothing of whole slides (grade.target: none)."
Row = dict[str, Any]


def run(stage: Stage) -> None:
    """Write the features of every usable slide: of all tissue, or of the patches that its map finds suspicious."""
    manifest = records.rows(records.read(records.MANIFEST, stage.paths.manifest))
    rows = [row for row in manifest if row["status"] == "ok"]
    if stage.recipe.task != SLIDE_LABELS:
        rows = [row for row in rows if _map(stage, row).is_file()]
    elif stage.recipe.grade.target != "none":  # what is wrong with labels is said before hours of work
        labels = read_json(stage.paths.slide_labels) if stage.paths.slide_labels.is_file() else {}
        check_labels(stage.recipe.grade, stage.recipe.cohort.folds, rows, labels)
    none = stage.recipe.grade.target == "none"
    done: list[Embedded] = []
    with atomic_path(stage.paths.features) as folder:
        folder.mkdir()
        if not none:
            done = (_imported if stage.recipe.embed.weights == IMPORTED else _embedded)(stage, rows, folder)
        note_if_empty(folder, WHY)
    made = [slide for slide in done if slide.num_patches]
    before, bare = sum(slide.taken_over for slide in made), len(done) - len(made)
    stage.say(WHY if none else f"{len(made)} slides, {before} of them embedded before; {bare} left out")
    counts = {"n_slides": len(made), "n_slides_left_out": bare, "n_taken_over": before}
    stage.log.log_metrics(counts | {"n_patches": sum(slide.num_patches for slide in made)})


def _embedded(stage: Stage, rows: Sequence[Row], folder: Path) -> list["Embedded"]:
    from acinus.embedding.reuse import embed_all

    return embed_all(_jobs(stage, rows, _encoder(stage, folder)), stage.map, stage.say)


def _imported(stage: Stage, rows: Sequence[Row], folder: Path) -> list["Embedded"]:
    from acinus.embedding.imported import imported_folder, take_imported, wanted_slides

    kept = imported_folder(home(stage.root), stage.recipe_name)
    slides = wanted_slides(rows, Places(stage.cohort_root, stage.paths.rasters))
    return take_imported(kept, slides, stage.recipe.embed, stage.recipe.index, folder, stage.say)


def _encoder(stage: Stage, folder: Path) -> "Encoder":
    """Make the encoder ready in `folder` and say there what it is."""
    from acinus.embedding.folder import save_encoder
    from acinus.embedding.slide_features import Encoder
    from acinus.encoders.loading import make_encoder, own_encoder

    embed, compute, patch_px = stage.recipe.embed, stage.project.compute, stage.recipe.index.patch_px
    if embed.encoder == OWN:
        spec = own_encoder(stage.paths.model)
    else:
        seed = seeds.derive(stage.project.seed, "grade", "encoder")  # of the stage that did this once
        spec = make_encoder(embed.encoder, embed.weights, patch_px, folder, seed, embed, stage.root)
    save_encoder(folder, spec)
    where = compute.device, compute.threads
    return Encoder(spec, stage.paths.model, folder, *where, embed.batch_size, embed.precision, stage.root)


def _jobs(stage: Stage, rows: Sequence[Row], encoder: "Encoder") -> list["KeptJob"]:
    from acinus.embedding.bags import Choice
    from acinus.embedding.folder import feature_path
    from acinus.embedding.reuse import KeptJob, embedding_code, gpus, shelf_of
    from acinus.embedding.slide_features import EmbedJob, SlideToEmbed

    places, embed = Places(stage.cohort_root, stage.paths.rasters), stage.recipe.embed
    choice, dtype, bag_seed = None, embed.dtype, seeds.derive(stage.project.seed, "grade", "bag")
    if stage.recipe.task != SLIDE_LABELS:
        how = embed.top_patches, embed.random_patches, embed.min_distance, stage.recipe.positive_indices
        choice, dtype = Choice(*how), "float32"
    shelf, devices = shelf_of(home(stage.root), encoder.spec), gpus(encoder.device)
    reading = stage.decode_threads, stage.memory_mib
    jobs = []
    for row in rows:
        tissue, map_file = stage.paths.tissue / f"{row['slide_id']}.png", _map(stage, row) if choice else None
        slide = SlideToEmbed(row["slide_id"], places.image(row), mean_mpp(row), tissue, map_file)
        job = EmbedJob(slide, stage.recipe.index, encoder, choice, bag_seed, *reading)
        target = feature_path(encoder.folder, slide.slide_id)
        jobs.append(KeptJob(job, row["fingerprint"], embedding_code(), shelf, target, dtype, devices))
    return jobs


def _map(stage: Stage, row: Row) -> Path:
    return stage.paths.maps / f"{row['slide_id']}.tif"
