"""extract: sample, slides and verdict -> patches/."""

from acinus import records
from acinus.errors import AcinusError
from acinus.files import read_json
from acinus.patches.extract import SlideSource, StorePlan, reading_code, shard_jobs, write_shard_of
from acinus.patches.store import StoreFormat
from acinus.patches.writer import StoreWriter
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Write the shards that are not there yet, then store.json over all of them."""
    if not read_json(stage.paths.reports / "validation.json")["success"]:
        raise AcinusError(f"{stage.paths.reports / 'validation.json'}: validation failed; mend that first")
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    sample = records.read(records.SAMPLE, stage.paths.sample)
    settings = stage.recipe.extract
    form = StoreFormat(settings.backend, settings.codec, settings.jpeg_quality, stage.recipe.index.patch_px)
    plan = StorePlan(
        store=stage.paths.patches,
        ledger=stage.root / ".acinus" / "shards" / stage.recipe_name,
        form=form,
        max_shards=settings.max_shards,
        classes=tuple(stage.recipe.classes),
        code=reading_code(),
    )
    sources = {
        row["slide_id"]: SlideSource(stage.cohort_root / row["image"], row["fingerprint"])
        for row in records.rows(manifest)
    }
    shards = []
    jobs = shard_jobs(sample, sources, plan)
    for info in stage.map(write_shard_of, jobs):
        shards.append(info)
        stage.say(f"{info.name}: {info.count} patches ({len(shards)} of {len(jobs)})")
    index = StoreWriter(plan.store, plan.ledger, form).finish(shards)
    size = sum(one.bytes for one in shards)
    stage.log.log_metrics({"n_shards": len(shards), "n_patches": index.count, "store_mb": size / 1e6})
