"""A recipe of plug-ins alone from slides to the report, and jobs of plug-ins on other machines."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from acinus.learning.augmentation import Augmentation, Plugged
from acinus.learning.card import read_card
from acinus.parallel import map_over
from acinus.params import check_recipe
from acinus.plugins import finding, loading
from tests.pipeline.conftest import REPOSITORY, Direct, undrawn  # noqa: F401 (a fixture)
from tests.pipeline.families import STAGES
from tests.pipeline.test_classes import SMALL
from tests.plugins.pages import FILES, project
from tests.test_cluster import SRC, scheduling, worker

TRAIN = {"model": "two_layers", "augmentations": ["rolled", "grey_square"], "max_epochs": 2, "lr": 0.01}


@pytest.mark.slow  # each kind by itself: test_examples.py; jobs in further processes: its family and its reader
def test_a_recipe_of_plugins_goes_through_all_stages(undrawn: Direct, tmp_path: Path) -> None:  # noqa: F811
    root = project(tmp_path / "own", "losses.py", "networks.py", "changes.py", "counts.py")
    alone = Direct(root, undrawn.project)
    compute = undrawn.project.compute.model_copy(update={"workers": 2})
    shared = Direct(root, undrawn.project.model_copy(update={"compute": compute}))
    alone.draw("slides")
    document = yaml.safe_load((REPOSITORY / "recipes" / "demo-slides.yaml").read_text())
    for section, values in SMALL.items():
        document[section] |= values
    document["train"] |= TRAIN
    document["train"]["loss"] |= {"terms": {"generalised_cross_entropy": 1.0}}
    recipe = check_recipe("own", document)
    for stage in STAGES:  # other processes look plug-ins up by name, where a network runs over slides
        paths = (shared if stage == "infer" else alone).run("own", recipe, stage)
    assert list(read_card(paths.model).plugins) == ["network two_layers"]
    metrics: dict[str, Any] = json.loads((paths.reports / "metrics.json").read_text())
    table = pd.read_csv(paths.reports / "per_slide.csv")
    largest = table.loc[(table["split"] == "test") & table["scored"], "burden_error"].abs().max()
    assert metrics["largest_burden_error"] == pytest.approx(largest, rel=1e-6)
    assert metrics["largest_burden_error_ci_low"] is None  # one test patient
    assert "Largest burden error" in (paths.reports / "index.html").read_text()


def test_an_augmentation_travels_by_name(tmp_path: Path) -> None:
    project(tmp_path, "changes.py")
    here = Plugged(Augmentation(seed=1, plugged=("grey_square",)))
    packed = pickle.dumps(here)
    finding.use(None)
    there = pickle.loads(packed)
    patch = np.zeros((16, 16, 3), dtype=np.uint8)
    assert (there.changed(patch, 0, 0) == here.changed(patch, 0, 0)).all()
    assert finding.project() == tmp_path


JOB = "\n\ndef doubled(number: int) -> int:\n    return 2 * number\n"


def test_functions_of_a_plugin_run_on_a_cluster(tmp_path: Path) -> None:
    project(tmp_path, networks=FILES["networks.py"] + JOB)
    plugin = loading.named("network", "two_layers")
    assert plugin is not None
    function = plugin.function.__globals__["doubled"]
    with scheduling(tmp_path, SRC) as (address, _), worker(address, SRC):
        assert list(map_over(function, [1, 2], address, shared=[tmp_path], say=str)) == [2, 4]
