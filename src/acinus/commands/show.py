"""`acinus show`: one slide with its annotation and tissue over it, to be looked at before anything is trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus import records
from acinus.charts.classes import class_overlay
from acinus.errors import AcinusError
from acinus.files import atomic_path
from acinus.labels.labels import LabelRow, LabelRules, open_labels
from acinus.labels.palette import class_colours
from acinus.labels.places import Places
from acinus.params import Recipe, cohort_root, load_recipe
from acinus.paths import Paths
from acinus.slides.open import open_slide
from acinus.tissue.mask import load_tissue


def run(root: Path, recipe_name: str, slide_id: str | None, out: str | None) -> str:
    """Write the picture and return its path.

    Raises:
        AcinusError: no such slide, one without annotation, or a cohort without any tumour.
    """
    recipe, paths = load_recipe(root, recipe_name), Paths(root, recipe_name)
    manifest = records.read(records.MANIFEST, paths.manifest)
    row = _row(manifest, paths, slide_id or _example(manifest, paths))
    target = Path(out) if out else paths.reports / "show" / f"{row['slide_id']}.png"
    places = Places(cohort_root(root, recipe_name, recipe.cohort), paths.rasters)
    with atomic_path(target) as part:
        part.write_bytes(picture(row, places, recipe, paths.tissue / f"{row['slide_id']}.png"))
    return str(target)


def picture(row: dict[str, Any], places: Places, recipe: Recipe, tissue: Path) -> bytes:
    """Return the PNG: the slide beside the same slide with the class of every pixel laid over it.

    tissue: the slide's mask, whose border is drawn where `index` has written it.
    """
    width, height = int(row["width"]), int(row["height"])
    downsample = max(1.0, max(width, height) / recipe.report.picture_px)
    labels = open_labels(LabelRow.of(row, places.label(row)), LabelRules.of(recipe.classes, recipe.cohort))
    grid = int(np.ceil(width / downsample)), int(np.ceil(height / downsample)), downsample
    classes = labels.raster(*grid)
    inside = load_tissue(tissue, width, height).raster(*grid) if tissue.is_file() else None
    with open_slide(places.image(row), row["slide_id"]) as slide:
        thumbnail = slide.overview(classes.shape[1], classes.shape[0])
    return class_overlay(thumbnail, classes, class_colours(recipe.classes, recipe.cohort), inside)


def _row(manifest: pd.DataFrame, paths: Paths, slide_id: str) -> dict[str, Any]:
    row = next((row for row in records.rows(manifest) if row["slide_id"] == slide_id), None)
    if row is None:
        raise AcinusError(f"slide {slide_id!r}: not in {paths.manifest}; give a slide_id of it")
    if row["status"] != "ok":
        raise AcinusError(f"slide {slide_id}: {row['status']}: {row['reason']}")
    if row["label_kind"] == "unknown":
        raise AcinusError(f"slide {slide_id}: has no annotation to show; give another one")
    return row


def _example(manifest: pd.DataFrame, paths: Paths) -> str:
    """Return the slide with the largest annotated tumour area."""
    index = records.read(records.INDEX, paths.index, without=records.FRACTIONS)
    usable = set(manifest.loc[(manifest["status"] == "ok") & (manifest["label_kind"] != "unknown"), "slide_id"])
    area = index["tumour_fraction"] * (index["patch_px"] * index["downsample"]) ** 2
    totals = area[index["slide_id"].isin(usable)].groupby(index["slide_id"]).sum()
    if totals.empty or totals.max() <= 0:
        raise AcinusError(f"{paths.index}: no slide with annotated tumour; name one with --slide")
    return str(totals.idxmax())
