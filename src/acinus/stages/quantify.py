"""quantify: probability maps and tissue -> quantities.parquet, and masks/ where the cohort's masks have colours."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acinus import params, records
from acinus.files import atomic_path, note_if_empty, read_json
from acinus.learning.colour import ColourModel, pixel_features
from acinus.mapping.map_tiff import MapReader, open_map
from acinus.mapping.mask_png import write_colour_mask
from acinus.mapping.quantify import Amounts, Terms
from acinus.patches.index import cell_tissue, cell_truth
from acinus.slides.geometry import at_downsample
from acinus.slides.labels import LabelRow, LabelRules, open_labels
from acinus.slides.open import open_slide
from acinus.slides.places import Places, mpp_of
from acinus.slides.tissue import load_tissue
from acinus.stage import Stage

Colour = tuple[int, int, int]
CHUNK_PX = 1 << 18
"""Map px that the colour baseline judges at a time; its features are many times the px."""


@dataclass(frozen=True)
class Job:
    """One slide to count; travels to a worker. mask: the picture of its predicted classes in `colours`, or None."""

    row: dict[str, Any]
    places: Places
    map: Path
    tissue: Path
    rules: LabelRules
    positive: tuple[int, ...]
    threshold: float
    index: params.Index
    min_tissue: float
    baseline: ColourModel | None
    mask: Path | None
    colours: tuple[Colour, ...]


def run(stage: Stage) -> None:
    """Turn every slide's map into amounts, beside the annotation's at the same resolution."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    wanted = manifest[(manifest["status"] == "ok") & manifest["split"].isin(stage.recipe.infer.splits)]
    with atomic_path(stage.paths.masks) as folder:
        folder.mkdir()
        rows = list(stage.map(quantify_one, _jobs(stage, records.rows(wanted), folder)))
        note_if_empty(folder, "The masks of this cohort have no colours to write predictions in; see the maps.")
    table = records.write(records.QUANTITIES, records.frame(records.QUANTITIES, rows), stage.paths.quantities)
    stage.log.log_metrics({"n_slides": len(table), "burden_pred_mean": float(table["burden_pred"].mean())})
    stage.say(f"{len(table)} slides")


def _jobs(stage: Stage, rows: list[dict[str, Any]], folder: Path) -> list[Job]:
    classes, cohort = stage.recipe.classes, stage.recipe.cohort
    segmented = stage.recipe.task == "segmentation"
    colours = cohort.colours if isinstance(cohort, params.RgbMaskCohort) else {}
    return [
        Job(
            row=row,
            places=Places(stage.cohort_root, stage.paths.rasters),
            map=stage.paths.maps / f"{row['slide_id']}.tif",
            tissue=stage.paths.tissue / f"{row['slide_id']}.png",
            rules=LabelRules.of(classes, cohort),
            positive=tuple(classes.index(name) for name in stage.recipe.positive),
            threshold=stage.recipe.quantify.threshold,
            index=stage.recipe.index,
            min_tissue=stage.recipe.infer.min_tissue_fraction,
            baseline=ColourModel.from_json(read_json(stage.paths.model / "colour.json")) if segmented else None,
            mask=folder / f"{row['slide_id']}.png" if colours else None,
            colours=tuple((red, green, blue) for red, green, blue in colours.values()),
        )
        for row in rows
    ]


def quantify_one(job: Job) -> dict[str, Any]:
    """Return one slide's row of records.QUANTITIES."""
    row, baseline = job.row, job.baseline
    terms = Terms(
        classes=len(job.rules.classes),
        positive=job.positive,
        threshold=job.threshold,
        majority=baseline.majority if baseline else None,
        colour_classes=_classes_by_colour(baseline) if baseline else None,
    )
    with open_map(job.map) as reader:
        amounts = Amounts(reader.geometry, terms, mpp_of(row), row["mpp_source"])
        bands = _counted(job, reader, amounts)
        if job.mask is None:
            for _ in bands:
                pass
        else:
            size = (reader.geometry.width, reader.geometry.height)
            write_colour_mask(job.mask, bands, size, job.colours, reader.geometry.downsample)
    return {"slide_id": row["slide_id"], **amounts.result()}


def _counted(job: Job, reader: MapReader, amounts: Amounts) -> Iterator[np.ndarray]:
    """Count the map band by band and yield the predicted classes."""
    row, geometry = job.row, reader.geometry
    tissue = load_tissue(job.tissue, geometry.width, geometry.height)
    judged = row["label_kind"] != "unknown" and row["exhaustive"]  # tumour without known normal would flatter Dice
    labels = open_labels(LabelRow.of(row, job.places.label(row)), job.rules) if judged else None
    with open_slide(job.places.image(row), row["slide_id"]) as slide:
        at = at_downsample(slide.level_downsamples, geometry.downsample)
        for top, prob in reader.bands():
            count, place = prob.shape[1], (geometry.columns, prob.shape[1], geometry.downsample, top)
            colour = None
            if labels is not None and job.baseline is not None:
                y0 = round(top * geometry.downsample)
                colour = slide.read(0, y0, geometry.columns, count, at) / 255.0
            inside, truth = tissue.raster(*place), labels.raster(*place) if labels else None
            if job.index.cell_px is not None:  # a px of the map is a cell, and has the cell's label
                inside = cell_tissue(tissue, *place, job.min_tissue)
                truth = cell_truth(labels, *place, job.index) if labels else None
            yield amounts.add(prob, inside, truth, colour)


def _classes_by_colour(baseline: ColourModel) -> Any:
    """Return the baseline as a function of mean colours in [0, 1], (n, 3) -> class indices (n,)."""

    def classes(colours: np.ndarray) -> np.ndarray:
        parts = [colours[start : start + CHUNK_PX] for start in range(0, len(colours), CHUNK_PX)]
        found = [baseline.probs(pixel_features(part)).argmax(axis=1).astype(np.uint8) for part in parts]
        return np.concatenate([np.zeros(0, dtype=np.uint8), *found])

    return classes
