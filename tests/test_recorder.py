"""Stages below `acinus dvc`, whose calls to MLflow another process makes."""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from acinus.project.lineage import Input
from acinus.tracking import RunFacts, create_database, recorder, stage_run
from acinus.tracking import runs as runs_module

STAGE = """
import sys
import tempfile
from pathlib import Path
from acinus.tracking import RunFacts, stage_run

facts = RunFacts(Path(sys.argv[1]), "sqlite:///mlflow.db", False, "r", "sample", {"seed": "7"}, {}, ())
with stage_run(facts) as run:
    run.log_metrics({"n": 1})
print(run.run_id, "mlflow" in sys.modules)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    create_database("sqlite:///mlflow.db", folder)
    return folder


@pytest.fixture
def facts(root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> RunFacts:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    tags = {"acinus.kind": "stage", "acinus.stage": "tune", "acinus.recipe": "r"}
    inputs = (Input("data/r/index.parquet", "0123abcd.dir"), Input("data/r/unknown", None))
    return RunFacts(root, "sqlite:///mlflow.db", False, request.function.__name__, "tune", {"seed": "7"}, tags, inputs)


def remembered(facts: RunFacts) -> dict[str, dict[str, Any]]:
    """Run name -> what MLflow has of it, without ids and times."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{facts.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(facts.experiment)
    runs = client.search_runs([experiment.experiment_id])
    names = {run.info.run_id: run.data.tags["mlflow.runName"].partition(" 20")[0] for run in runs}
    return {
        names[run.info.run_id]: {
            "status": run.info.status,
            "params": run.data.params,
            "tags": {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")},
            "above": names.get(run.data.tags.get("mlflow.parentRunId")),
            "curves": {
                key: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            },
            "inputs": {one.dataset.name: one.dataset.digest for one in run.inputs.dataset_inputs},
            "artifacts": [one.path for one in client.list_artifacts(run.info.run_id)],
        }
        for run in runs
    }


def work(facts: RunFacts, folder: Path) -> None:
    """A stage that uses all there is to record, but for a model."""
    (folder / "pictures").mkdir(exist_ok=True)
    (folder / "pictures" / "a.png").write_bytes(b"png")
    with stage_run(facts) as run:
        for epoch, loss in enumerate((0.9, 0.4)):
            run.log_metrics({"loss": loss, "undefined": None}, epoch)
        run.log_artifact(folder / "pictures" / "a.png")
        run.log_artifact(folder / "pictures", "report")
        run.share_metrics({"patch_auc": 0.9})
        run.share_params({"tuned.train.lr": "0.25"})
        with run.child("trial 0", {"train.lr": "1"}) as trial:
            trial.log_metrics({"val_miou": 0.5}, 1)
            trial.end("pruned")


def test_mlflow_has_of_a_stage_what_it_has_without(facts: RunFacts, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(runs_module, "pipeline_key", lambda: "4711-9")
    work(facts, tmp_path)
    there = replace(facts, experiment=f"{facts.experiment}-there")
    with recorder.beside():
        work(there, tmp_path)
    here = remembered(facts)
    assert set(here) == {"pipeline", "tune", "trial 0"}
    assert here == remembered(there)
    assert not list((facts.root / ".acinus" / "tracking").glob("*"))


def test_a_stage_loads_no_mlflow(root: Path) -> None:
    with recorder.beside():
        done = subprocess.run([sys.executable, "-c", STAGE, str(root)], capture_output=True, text=True, check=True)
    run_id, loaded = done.stdout.split()
    assert (len(run_id), loaded) == (32, "False")


def test_a_recorder_that_dies_costs_a_warning_and_a_local_record(facts: RunFacts, capsys) -> None:
    with recorder.beside():
        (process,) = (child for child in psutil.Process().children() if "recorder" in " ".join(child.cmdline()))
        with stage_run(facts) as run:
            process.kill()
            process.wait()
            run.log_metrics({"n": 1})
            run.log_metrics({"m": 2})
        (line,) = capsys.readouterr().err.splitlines()
        with stage_run(facts) as after:  # by MLflow in this process
            after.log_metrics({"k": 3})
    assert "MLflow cannot be reached" in line
    (record,) = (facts.root / ".acinus" / "tracking").glob(f"{facts.experiment}-*.json")
    record.unlink()
    assert remembered(facts)["tune"]["curves"].keys() <= {"n", "k"}
    assert after.run_id is not None


def test_what_the_server_refuses_is_a_warning_of_the_stage(facts: RunFacts, tmp_path: Path, capsys) -> None:
    with recorder.beside(), stage_run(replace(facts, root=tmp_path, uri="mlruns-of-no-kind://x")) as run:
        assert run.run_id is None
    assert capsys.readouterr().err.startswith("warning: tracking.uri = 'mlruns-of-no-kind://x': MLflow cannot")


def test_ctrl_c_does_not_reach_the_process_and_it_ends_with_the_one_above() -> None:
    code = "from acinus.tracking import recorder\nwith recorder.beside():\n print(flush=True)\n input()"
    above = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with above:
        assert above.stdout is not None
        above.stdout.readline()
        (process,) = psutil.Process(above.pid).children()
        groups = os.getpgid(process.pid), os.getpgid(above.pid)
        above.kill()
        psutil.wait_procs([process], timeout=120)
    assert groups[0] != groups[1]
    assert not process.is_running()


def test_a_long_folder_for_temporary_files_costs_time_only(root: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / ("long" * 30)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    with recorder.beside():
        assert recorder.ADDRESS not in os.environ
        done = subprocess.run([sys.executable, "-c", STAGE, str(root)], capture_output=True, text=True, check=True)
    run_id, loaded = done.stdout.split()
    assert (len(run_id), loaded) == (32, "True")
