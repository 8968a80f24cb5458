"""quantify: maps and operating point -> quantities.parquet, regions.parquet, regions/ and masks/."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acinus import params, records
from acinus.annotations.frame import qupath_corner
from acinus.files import atomic_path, note_if_empty, read_json
from acinus.labels import fold
from acinus.labels.labels import LabelRow, LabelRules, Labels, open_labels, open_tissue
from acinus.labels.palette import mask_colours
from acinus.labels.places import Places, mean_mpp, mpp_of
from acinus.learning.colour import ColourModel, pixel_features
from acinus.maps.tiff import open_map
from acinus.maps.windows import coverage_of, tissue_of, truth_of
from acinus.regions.against_truth import lesion_grid, pq_of_classes
from acinus.regions.amounts import Amounts, Rows, Terms
from acinus.regions.files import Legend, exported
from acinus.regions.mask_png import write_mask
from acinus.regions.operating_point import OperatingPoint, read_point
from acinus.regions.table import Found, find_regions
from acinus.slides.array import array_row
from acinus.slides.geometry import at_downsample
from acinus.slides.open import open_slide
from acinus.stage import Stage
from acinus.tissue.mask import TissueMask, load_tissue

CHUNK_PX = 1 << 18
"""Map px that the colour baseline judges at a time; its features are many times the px."""


@dataclass(frozen=True)
class Job:
    """One slide to count; travels to a worker. regions: where its regions go, without a suffix.

    mask: where its predicted classes go. coloured: whether they go in the cohort's colours at the slide's size, else
    as indices on the map's grid. froc: whether regions are held against lesions.
    """

    row: dict[str, Any]
    places: Places
    map: Path
    tissue: Path
    rules: LabelRules
    positive: tuple[int, ...]
    point: OperatingPoint
    index: params.Index
    infer: params.Infer
    baseline: ColourModel | None
    legend: Legend
    mask: Path
    coloured: bool
    regions: Path
    froc: bool


def run(stage: Stage) -> None:
    """Turn every slide's map into regions and amounts, beside the annotation's at the same resolution."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    wanted = manifest[(manifest["status"] == "ok") & manifest["split"].isin(stage.recipe.infer.splits)]
    with atomic_path(stage.paths.masks) as masks, atomic_path(stage.paths.regions) as regions:
        masks.mkdir()
        regions.mkdir()
        found = list(stage.map(quantify_one, _jobs(stage, records.rows(wanted), masks, regions)))
        for folder in (masks, regions):
            note_if_empty(folder, "No slide of the splits that were mapped can be used.")
    amounts = records.frame(records.QUANTITIES, [amount for amount, _ in found])
    table = records.write(records.QUANTITIES, amounts, stage.paths.quantities)
    region_rows = records.frame(records.REGIONS, [row for _, rows in found for row in rows])
    records.write(records.REGIONS, region_rows, stage.paths.region_table)
    burden = float(table["burden_pred"].mean())
    stage.log.log_metrics({"n_slides": len(table), "n_regions": len(region_rows), "burden_pred_mean": burden})
    stage.say(f"{len(table)} slides, {len(region_rows)} regions")


def _jobs(stage: Stage, rows: list[dict[str, Any]], masks: Path, regions: Path) -> list[Job]:
    classes, cohort = stage.recipe.classes, stage.recipe.cohort
    colours = tuple(mask_colours(cohort).values())
    point = read_point(stage.paths.operating_point).with_threshold(stage.recipe.quantify.threshold)
    baseline = None
    if stage.recipe.task == "segmentation":
        baseline = ColourModel.from_json(read_json(stage.paths.model / "colour.json"))
    return [
        Job(
            row=row,
            places=Places(stage.cohort_root, stage.paths.rasters),
            map=stage.paths.maps / f"{row['slide_id']}.tif",
            tissue=stage.paths.tissue / f"{row['slide_id']}.png",
            rules=LabelRules.of(classes, cohort),
            positive=tuple(classes.index(name) for name in stage.recipe.positive),
            point=point,
            index=stage.recipe.index,
            infer=stage.recipe.infer,
            baseline=baseline,
            legend=Legend.of(tuple(classes), colours),
            mask=masks / f"{row['slide_id']}.png",
            coloured=bool(colours),
            regions=regions / row["slide_id"],
            froc=stage.recipe.quantify.froc,
        )
        for row in rows
    ]


def quantify_one(job: Job) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return one slide's row of records.QUANTITIES and its rows of records.REGIONS; write its regions and mask."""
    row = job.row
    judged = row["label_kind"] != "unknown" and row["exhaustive"]  # tumour without known normal would flatter Dice
    labels = open_labels(LabelRow.of(row, job.places.label(row)), job.rules) if judged else None
    with open_map(job.map) as reader:
        geometry = reader.geometry
        mask = load_tissue(job.tissue, geometry.width, geometry.height)
        coverage = coverage_of(job.places.image(row), row, mask, geometry, job.index, job.infer)
        point = job.point.on_map(geometry.downsample, mpp_of(row))
        found = find_regions(lambda: coverage.beside(reader.bands()), geometry, point, job.positive, mpp_of(row))
        amounts = _amounts(job, found, labels, mask)
    lesions = None
    if job.froc and labels is not None:
        lesions = lesion_grid(labels, (int(row["width"]), int(row["height"])), mean_mpp(row), job.positive)
    regions = [
        {"slide_id": row["slide_id"], **region, "lesion": lesions.under(region) if lesions else None}
        for region in found.rows
    ]
    counts = {
        "num_regions": len(regions),
        "num_lesions": len(lesions.lesions.targets) if lesions else None,
        "num_itc": len(lesions.lesions.itc) if lesions else None,
    }
    return {"slide_id": row["slide_id"], **amounts, **counts}, regions


def _amounts(job: Job, found: Found, labels: Labels | None, mask: TissueMask) -> dict[str, Any]:
    """Count the cleaned map and write its regions and its mask on the way."""
    geometry, baseline = found.geometry, job.baseline
    terms = Terms(
        classes=len(job.rules.classes),
        positive=job.positive,
        majority=baseline.majority if baseline else None,
        colour_classes=_classes_by_colour(baseline) if baseline else None,
    )
    amounts = Amounts(geometry, terms, mpp_of(job.row), job.row["mpp_source"])
    tile: list[np.ndarray] | None = [] if job.row["label_kind"] == "fold" and labels is not None else None
    bands = _counted(job, found, labels, mask, amounts, tile)
    if job.coloured:
        write_mask(job.mask, bands, (geometry.width, geometry.height), job.legend.colours, geometry.downsample)
    else:
        write_mask(job.mask, bands, (geometry.columns, geometry.rows))
    counts = None
    if tile is not None:
        counts = pq_of_classes(_true_instances(job), np.concatenate(tile), geometry)
    return {**amounts.result(), "pq_counts": counts}


def _counted(
    job: Job,
    found: Found,
    labels: Labels | None,
    mask: TissueMask,
    amounts: Amounts,
    tile: list[np.ndarray] | None,
) -> Iterator[np.ndarray]:
    """Count the map band by band and yield the predicted classes, which `tile` also keeps."""
    row, geometry, min_fraction = job.row, found.geometry, job.infer.min_tissue_fraction
    annotated = open_tissue(LabelRow.of(row, job.places.label(row)), job.rules) if labels is not None else None
    geojson, asap = (job.regions.with_name(f"{job.regions.name}{suffix}") for suffix in (".geojson", ".xml"))
    with open_slide(job.places.image(row), row["slide_id"]) as image:
        at = at_downsample(image.level_downsamples, geometry.downsample)
        for band in exported(found, job.legend, geojson, asap, qupath_corner(image.properties)):
            top, rows = band.top, len(band.classes)
            tissue = tissue_of(mask, geometry, top, rows, job.index, min_fraction)
            truth, true_tissue, colour = None, None, None
            if labels is not None:
                truth = truth_of(labels, geometry, top, rows, job.index)
                if job.baseline is not None:
                    colour = image.read(0, round(top * geometry.downsample), geometry.columns, rows, at) / 255.0
            if annotated is not None:
                true_tissue = annotated.raster(geometry.columns, rows, geometry.downsample, top) == 1
            amounts.add(Rows(band.prob, tissue, band.classes, band.looked, truth, true_tissue, colour))
            if tile is not None:
                tile.append(band.classes)
            yield band.classes


def _true_instances(job: Job) -> np.ndarray:
    """Return the instances of a tile of a fold, int32 (classes, height, width), by class."""
    label = job.places.label(job.row)
    place = array_row(label) if label is not None else None
    assert place is not None, f"label kind fold without a row of an array: {label}"
    return np.roll(fold.instances(*place), 1, axis=0)  # class = (channel + 1) mod 6


def _classes_by_colour(baseline: ColourModel) -> Any:
    """Return the baseline as a function of mean colours in [0, 1], (n, 3) -> class indices (n,)."""

    def classes(colours: np.ndarray) -> np.ndarray:
        parts = [colours[start : start + CHUNK_PX] for start in range(0, len(colours), CHUNK_PX)]
        found = [baseline.probs(pixel_features(part)).argmax(axis=1).astype(np.uint8) for part in parts]
        return np.concatenate([np.zeros(0, dtype=np.uint8), *found])

    return classes
