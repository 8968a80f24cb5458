"""Slides of one's own from real pixels: the same outlines from three tools give the same index.

GlaS images are the slides. Their gland masks become outlines; a malignant gland is tumor, a benign one gland.
"""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import yaml
from PIL import Image
from skimage.measure import find_contours

from acinus import params, records
from acinus.cohorts import inventory, slides
from acinus.cohorts.adapter import Order
from acinus.cohorts.manifest import build_manifest
from acinus.labels.labels import LabelRules
from acinus.labels.places import Places
from acinus.patches.index import LabelRule
from acinus.patches.sample import drawn_rows
from acinus.stages.index import Job, index_one
from acinus_demo import tools
from acinus_demo.tools import Region

NAMES = ("train_1", "train_2", "train_12", "train_41")
CLASSES = ("background", "gland", "tumor")


def polygons(mask: np.ndarray) -> list[shapely.Polygon]:
    """The outlines of a mask, with holes, whole px: what a person would draw, at 1 px or better."""
    padded = np.pad(mask.astype(float), 1)
    rings = [shapely.Polygon(ring[:, ::-1] - 0.5) for ring in find_contours(padded, 0.5) if len(ring) > 8]
    rings.sort(key=lambda ring: -ring.area)
    whole: shapely.Geometry = shapely.Polygon()
    for ring in rings:  # a ring inside the area is a hole of it
        inside = whole.contains(ring.representative_point())
        whole = shapely.difference(whole, ring) if inside else shapely.union(whole, ring)
    return [part for part in shapely.get_parts(whole) if part.area > 20]


def regions(shapes: list[shapely.Polygon], name: str) -> list[Region]:
    """Outlines of a class, without the repeated first point of each ring."""
    rings = [[tuple(map(tuple, ring.coords[:-1])) for ring in (one.exterior, *one.interiors)] for one in shapes]
    return [Region(name, outer, tuple(holes)) for outer, *holes in rings]


WRITERS: dict[str, tuple[str, Callable[[list[Region]], str]]] = {
    "qupath": (".geojson", tools.qupath),
    "imagescope": (".xml", partial(tools.imagescope, mpp=0.62)),
    "asap": (".xml", partial(tools.asap, cut_out="Hole")),
}


def indexed(glas: Path, folder: Path, tool: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lay the images out as slides with one tool's files; return the manifest and the index of all slides."""
    suffix, written = WRITERS[tool]
    root, rasters = folder / tool, folder / f"{tool}_rasters"
    (root / "annotations").mkdir(parents=True)
    rasters.mkdir()
    with (glas / "labels.csv").open(newline="") as stream:
        known = {row["name"]: row for row in csv.DictReader(stream)}
    lines = ["Slide;Patient;Grade;mpp"]
    for name in NAMES:
        (root / f"{name}.JPG").symlink_to(glas / "images" / f"{name}.jpg")
        shapes = polygons(np.asarray(Image.open(glas / "masks" / f"{name}.png")) == 1)
        drawn = "Tumor" if known[name]["grade"] == "malignant" else "Gland"
        (root / "annotations" / f"{name}{suffix}").write_text(written(regions(shapes, drawn)))
        lines.append(f"{name};{known[name]['patient']};{known[name]['grade']};0,62")
    (root / "slides.csv").write_text("\r\n".join(lines), encoding="utf-8-sig")
    meaning = {"Gland": "gland", "Tumor": "tumor", "Hole": "background"}
    cohort = params.SlidesCohort.model_validate(
        {"root": str(root), "annotations": {"classes": meaning, "outside": "background"}, "val_fraction": 0.5}
    )
    files = inventory.fingerprints(inventory.inventory(root, None))
    order = Order(root, rasters, cohort, CLASSES, CLASSES[1:], files, 7, map)
    manifest = build_manifest(slides.ingest(order), cohort)
    index = params.Index.model_validate(
        {"mpp": 1.24, "patch_px": 64, "stride_px": 48, "tissue": {"method": "all", "downsample": 8.0}}
    )
    rules, rule = LabelRules.of(CLASSES, cohort), LabelRule(3, (1, 2), "segmentation")
    places = Places(root, rasters)
    tables = [index_one(Job(row, places, folder, index, rules, rule)).to_pandas() for row in records.rows(manifest)]
    return manifest, pd.concat(tables, ignore_index=True)


def test_three_tools_give_one_index(shared_data: Path, tmp_path: Path) -> None:
    glas = shared_data / "glas"
    made: dict[str, Any] = {tool: indexed(glas, tmp_path, tool) for tool in WRITERS}
    manifest, index = made["qupath"]
    assert (manifest["status"] == "ok").all()
    assert set(manifest["slide_label"]) == {"tumor"}  # of gland and tumor, both positive
    shares = np.array(index["class_fractions"].tolist())
    for other, of_other in made.values():
        assert other["label_kind"].tolist() == ["outlines"] * len(NAMES)
        pd.testing.assert_frame_equal(
            of_other.drop(columns="class_fractions"), index.drop(columns="class_fractions"), atol=1e-6
        )
        np.testing.assert_allclose(np.array(of_other["class_fractions"].tolist()), shares, atol=1e-6)
    # against the masks themselves, px by px: an outline cuts half px off at corners only
    for name, rows in index.groupby("slide_id"):
        mask = np.asarray(Image.open(glas / "masks" / f"{name}.png")) == 1
        edge = 128
        inside = rows[(rows["x0"] + edge <= mask.shape[1]) & (rows["y0"] + edge <= mask.shape[0])]
        exact = [mask[y : y + edge, x : x + edge].mean() for x, y in zip(inside["x0"], inside["y0"], strict=True)]
        np.testing.assert_allclose(inside["tumour_fraction"], exact, atol=0.004)
    sample = index.iloc[drawn_rows(index, params.Sample.model_validate({"normal_per_tumor": 1.0}), 7)]
    assert set(sample["split"]) == set(manifest["split"])


@pytest.mark.parametrize("name", ["demo-panda"])
def test_a_recipe_of_the_family_is_read(name: str) -> None:
    root = Path(__file__).parents[2]
    recipe = yaml.safe_load((root / "recipes" / f"{name}.yaml").read_text())
    recipe |= {"family": "slides", "classes": list(CLASSES), "positive": ["tumor"]}
    recipe["grade"] |= {"target": "none"}
    recipe["train"]["loss"]["class_weights"] = "equal"
    recipe["cohort"] = {"root": "x", "annotations": {"classes": {"T": "tumor"}, "outside": "background"}}
    assert params.check_recipe("x.yaml", recipe).classes == list(CLASSES)
    recipe["cohort"]["annotations"] = {"classes": {"T": "tumour"}, "outside": "none"}
    with pytest.raises(
        params.reading.RecipeError, match=r"cohort\.annotations\.classes names tumour; allowed are background"
    ):
        params.check_recipe("x.yaml", recipe)
