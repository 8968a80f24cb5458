"""quantify: probability maps and tissue -> quantities.parquet."""

from typing import Any

from acinus import records
from acinus.mapping.map_tiff import read_map
from acinus.mapping.quantify import quantify
from acinus.slides.labels import LabelRow, open_labels
from acinus.slides.tissue import load_tissue
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Turn every slide's map into amounts, beside the annotation's at the same resolution."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    wanted = manifest[(manifest["status"] == "ok") & manifest["split"].isin(stage.recipe.infer.splits)]
    rows = [_slide(stage, row) for row in records.rows(wanted)]
    table = records.write(records.QUANTITIES, records.frame(records.QUANTITIES, rows), stage.paths.quantities)
    stage.log.log_metrics({"n_slides": len(table), "burden_pred_mean": float(table["burden_pred"].mean())})
    stage.say(f"{len(table)} slides")


def _slide(stage: Stage, row: dict[str, Any]) -> dict[str, Any]:
    slide_id, width, height = row["slide_id"], int(row["width"]), int(row["height"])
    prob, geometry, _ = read_map(stage.paths.maps / f"{slide_id}.tif")
    tissue = load_tissue(stage.paths.tissue / f"{slide_id}.png", width, height)
    truth = None
    if row["label_kind"] != "unknown" and row["exhaustive"]:  # known tumour without known normal would flatter Dice
        labels = open_labels(LabelRow.of(row), stage.cohort_root, stage.recipe.cohort)
        truth = labels.raster(geometry.columns, geometry.rows, geometry.downsample)
    amounts = quantify(
        prob,
        tissue.raster(geometry.columns, geometry.rows, geometry.downsample),
        truth,
        stage.recipe.quantify.threshold,
        geometry,
        (float(row["mpp_x"]), float(row["mpp_y"])),
        row["mpp_source"],
    )
    return {"slide_id": slide_id, **amounts}
