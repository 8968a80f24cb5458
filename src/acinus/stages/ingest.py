"""ingest: inventory -> manifest.parquet, and rasters/ where slides have to be made of giant images."""

from acinus import records
from acinus.cohorts import camelyon, panda, pannuke, rgb_mask
from acinus.cohorts.adapter import Order
from acinus.cohorts.inventory import fingerprints, read_inventory
from acinus.cohorts.manifest import build_manifest
from acinus.files import atomic_path, note_if_empty
from acinus.stage import Stage

FAMILIES = {
    "camelyon": camelyon.ingest,
    "panda": panda.ingest,
    "rgb_mask": rgb_mask.ingest,
    "pannuke": pannuke.ingest,
}
"""Adapter of each family: disk layout -> manifest rows."""


def run(stage: Stage) -> None:
    """Open every slide once; one that cannot be used is a row with the reason."""
    adapter = FAMILIES[stage.recipe.family]
    with atomic_path(stage.paths.rasters) as rasters:
        rasters.mkdir()
        order = Order(
            root=stage.cohort_root,
            rasters=rasters,
            cohort=stage.recipe.cohort,
            classes=tuple(stage.recipe.classes),
            positive=tuple(stage.recipe.positive),
            files=fingerprints(read_inventory(stage.paths.inventory)),
            seed=stage.seed(),
            map=stage.map,
        )
        table = build_manifest(adapter(order), stage.recipe.cohort)
        note_if_empty(rasters, "The slides of this cohort are read where they are; nothing was made of them.")
    manifest = records.write(records.MANIFEST, table, stage.paths.manifest)
    for row in records.rows(manifest[manifest["status"] != "ok"]):
        stage.say(f"{row['slide_id']} is {row['status']}: {row['reason']}")
    for row in records.rows(manifest[manifest["findings"] != ""]):
        stage.say(f"{row['slide_id']}: {row['findings'].replace(';', ', ')}")
    counts = {f"n_slides.{status}": int((manifest["status"] == status).sum()) for status in ("ok", "bad", "excluded")}
    usable = manifest[manifest["status"] == "ok"]
    counts |= {f"n_slides.{split}": int((usable["split"] == split).sum()) for split in ("train", "val", "test")}
    stage.log.log_metrics(counts)
    stage.say(", ".join(f"{name.removeprefix('n_slides.')} {count}" for name, count in counts.items()))
