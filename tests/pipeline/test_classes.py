"""Patches of three classes, from slides of one's own to the report; every figure against scikit-learn or shapely."""

import json
import re
from typing import Any

import numpy as np
import pytest
import shapely
from sklearn import metrics as reference

from acinus import records
from acinus.paths import Paths
from acinus_demo import slides
from tests.pipeline.conftest import Direct
from tests.pipeline.families import STAGES

CLASSES = ("stroma", "lymphocytes", "tumor")
SMALL: dict[str, dict[str, Any]] = {
    "index": {"patch_px": 32, "stride_px": 32},
    "train": {"model": "test_resnet.r160_in1k", "weights": "none", "max_epochs": 6, "stop_patience": None, "lr": 0.003},
    "infer": {"stride_px": 32},
    "calibrate": {"trials": 2},
    "report": {"bootstrap": 50, "picture_px": 256, "views": 1},
}


@pytest.fixture(scope="module")
def ran(direct: Direct, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The files of the recipe after all its stages."""
    project = direct.copy(tmp_path_factory.mktemp("three"))
    return project.run("three", project.recipe("demo-slides", SMALL), *STAGES)


@pytest.fixture(scope="module")
def metrics(ran: Paths) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ran.reports / "metrics.json").read_text())
    return found


def test_shares_and_labels_are_those_of_the_outlines_areas(ran: Paths, direct: Direct) -> None:
    index = records.read(records.INDEX, ran.index)
    drawn = {}
    for slide in slides.plan(direct.project.seed, direct.project.demo.slides):
        of = {name: [one.polygon for one in slide.regions if one.name == name] for name in CLASSES[1:]}
        lymphocytes, tumor = (shapely.union_all(areas) for areas in of.values())
        drawn[slide.slide_id] = shapely.difference(lymphocytes, tumor), tumor
    assert set(index["label"]) == {-1, 0, 1, 2}
    assert index["downsample"].nunique() == 3  # as many um per px
    for row in index.to_dict("records"):
        x, y, edge = row["x0"], row["y0"], 32 * row["downsample"]
        square = shapely.box(x, y, x + edge, y + edge)
        lymphocytes, tumor = (area.intersection(square).area / square.area for area in drawn[row["slide_id"][:8]])
        shares = [1 - lymphocytes - tumor, lymphocytes, tumor]  # outside is stroma
        assert row["class_fractions"] == pytest.approx(shares, abs=1e-6)
        assert row["tumour_fraction"] == pytest.approx(tumor, abs=1e-6)
        assert row["label"] == (int(np.argmax(shares)) if max(shares) >= 0.6 else -1)


def test_the_sample_is_balanced_and_validated(ran: Paths) -> None:
    sample = records.read(records.SAMPLE, ran.sample)
    for _, rows in sample[sample["split"] != "test"].groupby("split"):
        counts = rows["label"].value_counts()
        assert set(counts.index) == {0, 1, 2}
        assert counts.max() <= 1.5 * counts.min()
    verdict = json.loads((ran.reports / "validation.json").read_text())
    assert verdict["success"]
    assert set(verdict["candidates"]["test"]) == {*CLASSES, "ignore"}


def test_patches_are_told_apart_and_every_figure_is_that_of_scikit_learn(ran: Paths, metrics: dict[str, Any]) -> None:
    scores = records.read(records.CLASS_SCORES, ran.model / "scores_test.parquet")
    labels, probs = scores["label"].to_numpy(), np.array(scores["probs"].tolist())
    said = probs.argmax(axis=1)
    macro, weighted = (
        reference.roc_auc_score(labels, probs / probs.sum(axis=1, keepdims=True), multi_class="ovr", average=average)
        for average in ("macro", "weighted")
    )
    assert metrics["auc_macro"] == pytest.approx(macro, abs=1e-6)
    assert metrics["auc_weighted"] == pytest.approx(weighted, abs=1e-6)
    assert metrics["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(labels, said), abs=1e-12)
    assert metrics["f1_macro"] == pytest.approx(reference.f1_score(labels, said, average="macro"), abs=1e-12)
    matrix = [[metrics[f"patch_confusion.{true}.{given}"] for given in CLASSES] for true in CLASSES]
    assert matrix == reference.confusion_matrix(labels, said).tolist()
    assert metrics["auc_macro"] >= 0.8  # a small network from scratch; tests/test_promises.py has the recipe's figure
    assert metrics["auc_macro_ci_low"] is None  # one test patient
    assert "patch_auc" not in metrics


def test_maps_regions_and_amounts_are_of_three_classes(ran: Paths, metrics: dict[str, Any]) -> None:
    quantities = records.read(records.QUANTITIES, ran.quantities)
    for row in quantities.to_dict("records"):
        assert sum(row["class_px"]) == row["tissue_px"]
        matrix = np.reshape(row["confusion"], (3, 3))
        assert np.trace(matrix) > 0.6 * matrix.sum()  # chance and any one class: below 0.6 of these masks
        assert row["pred_px"] == matrix[:, 2].sum()
    regions = records.read(records.REGIONS, ran.region_table)
    assert set(regions["class_index"]) <= {1, 2}
    names = set()
    for path in sorted(ran.regions.glob("*.geojson")):
        names |= {one["properties"]["classification"]["name"] for one in json.loads(path.read_text())["features"]}
    assert names == {CLASSES[index] for index in set(regions["class_index"])}
    assert metrics["temperature"] > 0
    assert "threshold" not in metrics  # the likeliest class decides


def test_the_page_shows_every_class(ran: Paths) -> None:
    page = (ran.reports / "index.html").read_text()
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "Patch AUC, macro" in text
    assert "Per class" in text
    for name in CLASSES:
        assert f"as {name}" in text
    assert (ran.reports / "pictures" / "roc_classes.png").is_file()
    assert (ran.reports / "pictures" / "confusion.png").is_file()
    assert (ran.model / "colour_test.parquet").is_file()
