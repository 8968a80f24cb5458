"""Stages over a Dask cluster give the very files of a local run, whatever threads its workers have."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from acinus.paths import Paths
from tests.pipeline.test_calibrate import write_model

NAME = "demo-camelyon"
SMALL: dict[str, dict[str, Any]] = {
    "cohort": {"val_fraction": 0.34},
    "index": {"patch_px": 64, "stride_px": 64},
    "infer": {"splits": ["train", "val", "test"], "stride_px": 64, "map_downsample": 16.0},
    "calibrate": {"trials": 4},
    "grade": {"target": "tumor", "max_epochs": 2, "seeds": 1},
}
MAPPED = (
    "inventory",
    "ingest",
    "index",
    "sample",
    "validate",
    "extract",
    "calibrate",
    "infer",
    "quantify",
    "embed",
    "grade",
)
"""Stages that map over slides, and those between them."""


def files(paths: Paths) -> dict[str, str]:
    """SHA-256 of every file that the stages left, by its path."""
    roots = (paths.data, paths.model.parent)
    found = sorted(path for root in roots for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(paths.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def run(project: Any, scheduler: str, workers: int = 1) -> dict[str, str]:
    """Run the stages with an untrained network in place of train's, and return what they left."""
    compute = project.project.compute.model_copy(update={"scheduler": scheduler, "workers": workers})
    project = type(project)(project.root, project.project.model_copy(update={"compute": compute}))
    recipe = project.recipe(NAME, SMALL)
    before = MAPPED.index("calibrate")
    write_model(project.run(NAME, recipe, *MAPPED[:before]), recipe)
    return files(project.run(NAME, recipe, *MAPPED[before:]))


@pytest.fixture(scope="module")
def local(direct: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return run(direct.copy(tmp_path_factory.mktemp("local")), "local")


@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_a_cluster_leaves_the_files_of_a_local_run(
    direct: Any, local: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], threads: int
) -> None:
    """Regression: a worker with a thread per core shared one network among them; half of a map's px were wrong."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=threads, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        assert run(direct.copy(tmp_path), cluster.scheduler_address) == local
    assert len([name for name in local if name.startswith(f"data/{NAME}/maps/")]) == 8
    assert ("1 of them have several threads and still take one slide at a time" in capsys.readouterr().out) == (
        threads > 1
    )
