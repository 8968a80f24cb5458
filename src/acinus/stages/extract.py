"""extract: sample, slides, labels and verdict -> patches/, extraction.json."""

from acinus import records
from acinus.errors import AcinusError
from acinus.files import read_json, write_json
from acinus.labels.labels import LabelRow, LabelRules
from acinus.labels.places import Places
from acinus.patches.extract import SlideSource, StorePlan, finish_stores, reading_code, shard_jobs, write_shard_of
from acinus.patches.facts import extraction, extraction_metrics
from acinus.patches.store import StoreFormat
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Write the shards that are not there yet, then store.json over all of them."""
    if not read_json(stage.paths.reports / "validation.json")["success"]:
        raise AcinusError(f"{stage.paths.reports / 'validation.json'}: validation failed; mend that first")
    sample = records.read(records.SAMPLE, stage.paths.sample, without=records.FRACTIONS)
    settings = stage.recipe.extract
    segmented = stage.recipe.task == "segmentation"
    plan = StorePlan(
        store=stage.paths.patches,
        ledger=stage.root / ".acinus" / "shards" / stage.recipe_name,
        form=StoreFormat(settings.backend, settings.codec, settings.jpeg_quality, stage.recipe.index.patch_px),
        max_shards=settings.max_shards,
        classes=tuple(stage.recipe.classes),
        code=reading_code(settings.codec),
        rules=LabelRules.of(stage.recipe.classes, stage.recipe.cohort) if segmented else None,
        decode_threads=stage.decode_threads,
        memory_mib=stage.memory_mib,
    )
    written = []
    jobs = shard_jobs(sample, _sources(stage), plan)
    for shard in stage.map(write_shard_of, jobs):
        written.append(shard)
        stage.say(f"{shard.images.name}: {shard.images.count} patches ({len(written)} of {len(jobs)})")
    index = finish_stores(plan, written, sample)
    way = extraction(shard.facts for shard in written)
    write_json(stage.paths.extraction, way)
    size = sum(shard.images.bytes + (shard.masks.bytes if shard.masks else 0) for shard in written)
    counts = {"n_shards": len(written), "n_patches": index.count, "store_mb": size / 1e6}
    metrics = extraction_metrics(way) | {"tile_decodes": sum(shard.facts.decodes for shard in written)}
    stage.log.log_metrics(counts | metrics)


def _sources(stage: Stage) -> dict[str, SlideSource]:
    """Return where each slide's pixels and labels are; the tiles of an array go to one shard per fold."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    places = Places(stage.cohort_root, stage.paths.rasters)
    return {
        row["slide_id"]: SlideSource(
            path=places.image(row),
            fingerprint=row["fingerprint"],
            shard=_fold(row["slide_id"], row["image"]),
            label=LabelRow.of(row, places.label(row)),
            label_fingerprint=row["label_fingerprint"],
        )
        for row in records.rows(manifest[manifest["status"] == "ok"])
    }


def _fold(slide_id: str, image: str) -> str | None:
    """Return the fold of a tile of an array, as its id begins (fold1_000012); None for a slide of its own file."""
    return slide_id.rpartition("_")[0] if ".npy#" in image else None
