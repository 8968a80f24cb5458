"""Slides of one's own from real pixels: the same outlines from three tools give the same index and training.

GlaS images are the slides. Their gland masks become outlines; a malignant gland is tumor, a benign one gland.
"""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
import yaml
from PIL import Image
from skimage.measure import find_contours

from acinus import params, records
from acinus.cohorts.inventory import fingerprints, inventory
from acinus.commands.draft import own_draft
from acinus.paths import Paths
from tests.pipeline.conftest import Direct, settings
from tests.real.tool_files import HOLE, asap, imagescope, qupath

NAMES = {"train_1": "train", "train_2": "test", "train_12": "train", "train_41": "val"}
CLASSES = ("background", "gland", "tumor")
TRAINING = ("inventory", "ingest", "index", "sample", "validate", "extract", "tune", "train")


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


TOOLS = {"qupath": (".geojson", qupath), "imagescope": (".xml", imagescope), "asap": (".xml", asap)}


def write_slides(glas: Path, root: Path, tool: str) -> None:
    """Lay the images out as slides with one tool's files and a table."""
    suffix, written = TOOLS[tool]
    (root / "annotations").mkdir(parents=True)
    with (glas / "labels.csv").open(newline="") as stream:
        known = {row["name"]: row for row in csv.DictReader(stream)}
    lines = ["Slide;Patient;Grade;mpp;SPLIT"]
    for name, split in NAMES.items():
        (root / f"{name}.JPG").symlink_to(glas / "images" / f"{name}.jpg")
        shapes = polygons(np.asarray(Image.open(glas / "masks" / f"{name}.png")) == 1)
        drawn = "Tumor" if known[name]["grade"] == "malignant" else "Gland"
        (root / "annotations" / f"{name}{suffix}").write_text(written([(drawn, shape) for shape in shapes]))
        lines.append(f"{name};{known[name]['patient']};{known[name]['grade']};0,62;{split}")
    (root / "slides.csv").write_text("\r\n".join(lines), encoding="utf-8-sig")


def recipe_of(root: Path) -> params.Recipe:
    """Return the drafted recipe, smaller."""
    document = own_draft(root, fingerprints(inventory(root, None)), "segmentation", seed=0).document
    document |= {"classes": list(CLASSES), "positive": list(CLASSES[1:])}
    meaning = {"Gland": "gland", "Tumor": "tumor", HOLE: "background"}
    annotations = {"classes": meaning, "outside": "background"}
    document["cohort"] |= {"root": str(root), "annotations": annotations, "label": None}
    tissue = {"method": "all", "downsample": 8.0}
    document["index"] |= {"mpp": 1.24, "patch_px": 64, "stride_px": 48, "tissue": tissue}
    document["train"] |= {"encoder": "test_resnet.r160_in1k", "weights": "none", "max_epochs": 1}
    document["sample"]["balance"] = []
    document["infer"] |= {"stride_px": 64, "map_downsample": 8.0}
    document["report"]["picture_px"] = 256
    recipe: params.Recipe = params.check_recipe("tools", document)
    return recipe


@pytest.fixture(scope="module")
def trained(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Paths]:
    """Tool -> its files after training."""
    made = {}
    for tool in TOOLS:
        folder = tmp_path_factory.mktemp(tool)
        write_slides(shared_data / "glas", folder / "slides", tool)
        project = Direct(folder / "study", settings())
        project.root.mkdir()
        made[tool] = project.run("tools", recipe_of(folder / "slides"), *TRAINING)
    return made


def test_three_tools_give_one_index(trained: dict[str, Paths], shared_data: Path) -> None:
    manifests = {tool: records.read(records.MANIFEST, paths.manifest) for tool, paths in trained.items()}
    indexes = {tool: records.read(records.INDEX, paths.index) for tool, paths in trained.items()}
    manifest, index = manifests["qupath"], indexes["qupath"]
    assert set(manifest["slide_label"]) == {"tumor"}  # of gland and tumor, both positive
    shares = np.array(index["class_fractions"].tolist())
    for tool, of_other in indexes.items():
        assert (manifests[tool]["status"] == "ok").all()
        assert manifests[tool]["label_kind"].tolist() == ["outlines"] * len(NAMES)
        pd.testing.assert_frame_equal(
            of_other.drop(columns="class_fractions"), index.drop(columns="class_fractions"), atol=1e-6
        )
        np.testing.assert_allclose(np.array(of_other["class_fractions"].tolist()), shares, atol=1e-6)
    # against the masks themselves, px by px: an outline cuts half px off at corners only
    for name, rows in index.groupby("slide_id"):
        mask = np.asarray(Image.open(shared_data / "glas" / "masks" / f"{name}.png")) == 1
        edge = 128
        inside = rows[(rows["x0"] + edge <= mask.shape[1]) & (rows["y0"] + edge <= mask.shape[0])]
        exact = [mask[y : y + edge, x : x + edge].mean() for x, y in zip(inside["x0"], inside["y0"], strict=True)]
        np.testing.assert_allclose(inside["tumour_fraction"], exact, atol=0.004)


def test_three_tools_give_one_training(trained: dict[str, Paths]) -> None:
    """The same patches and masks, byte by byte, and so the same weights."""
    first = trained["qupath"]
    sample = records.read(records.SAMPLE, first.sample)
    assert {"train", "val", "test"} == set(sample["split"])
    stored = sorted(path.relative_to(first.patches) for path in first.patches.rglob("*") if path.is_file())
    assert len(stored) > 2 * len(NAMES)
    weights = {tool: (paths.model / "model.safetensors").read_bytes() for tool, paths in trained.items()}
    for tool, paths in trained.items():
        pd.testing.assert_frame_equal(records.read(records.SAMPLE, paths.sample), sample)
        for file in stored:
            assert (paths.patches / file).read_bytes() == (first.patches / file).read_bytes(), (tool, file)
        assert weights[tool] == weights["qupath"], tool


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
