"""ingest: inventory -> manifest.parquet."""

from acinus import records
from acinus.cohorts import camelyon
from acinus.cohorts.inventory import fingerprints, read_inventory
from acinus.cohorts.manifest import build_manifest
from acinus.stage import Stage

FAMILIES = {"camelyon": camelyon.ingest}
"""Adapter of each family: disk layout -> manifest rows."""


def run(stage: Stage) -> None:
    """Open every slide once; one that cannot be used is a row with the reason."""
    files = fingerprints(read_inventory(stage.paths.inventory))
    adapter = FAMILIES[stage.recipe.family]
    rows = adapter(stage.cohort_root, stage.recipe.cohort, files, stage.seed(), stage.map)
    manifest = records.write(records.MANIFEST, build_manifest(rows, stage.recipe.cohort), stage.paths.manifest)
    for row in records.rows(manifest[manifest["status"] != "ok"]):
        stage.say(f"{row['slide_id']} is {row['status']}: {row['reason']}")
    counts = {f"n_slides.{status}": int((manifest["status"] == status).sum()) for status in ("ok", "bad", "excluded")}
    usable = manifest[manifest["status"] == "ok"]
    counts |= {f"n_slides.{split}": int((usable["split"] == split).sum()) for split in ("train", "val", "test")}
    stage.log.log_metrics(counts)
    stage.say(", ".join(f"{name.removeprefix('n_slides.')} {count}" for name, count in counts.items()))
