"""What MLflow remembers of a pipeline execution, and that it is only a memory."""

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

STAGES = ("inventory", "ingest", "index", "sample", "validate", "extract", "tune", "train")
STAGES += ("calibrate", "infer", "quantify", "embed", "grade", "report")

DUMP = """
import json, sys
from mlflow import MlflowClient

client = MlflowClient("sqlite:///mlflow.db")

def files(run, folder=None):
    for one in client.list_artifacts(run, folder):
        yield from files(run, one.path) if one.is_dir else [one.path]

found = []
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id]):
        history = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
        found.append({
            "experiment": experiment.name,
            "id": run.info.run_id,
            "name": run.info.run_name,
            "status": run.info.status,
            "params": run.data.params,
            "metrics": run.data.metrics,
            "tags": run.data.tags,
            "curves": {key: [[one.step, one.value] for one in ones] for key, ones in history.items()},
            "inputs": {one.dataset.name: one.dataset.digest for one in run.inputs.dataset_inputs},
            "artifacts": sorted(files(run.info.run_id)),
        })
print("RUNS" + json.dumps(found))
"""


def remembered(project: Any) -> list[dict[str, Any]]:
    """Every run that MLflow's own client finds."""
    output = project.run(sys.executable, "-W", "ignore", "-c", DUMP)
    return json.loads(next(line for line in output.splitlines() if line.startswith("RUNS")).removeprefix("RUNS"))


@pytest.fixture(scope="module")
def runs(tiny_project: Any) -> list[dict[str, Any]]:
    return remembered(tiny_project)


def kind(runs: list[dict[str, Any]], experiment: str, wanted: str) -> list[dict[str, Any]]:
    """The runs of an experiment that are a `pipeline` or a `stage`."""
    own = [run for run in runs if run["experiment"] == experiment]
    return [run for run in own if run["tags"].get("acinus.kind") == wanted]


@pytest.fixture(scope="module")
def stages(runs: list[dict[str, Any]], tiny_project: Any) -> dict[str, dict[str, Any]]:
    """Stage -> its run; that there is one of each is a test's matter."""
    return {run["tags"]["acinus.stage"]: run for run in kind(runs, tiny_project.recipe, "stage")}


def test_one_experiment_per_recipe_with_one_pipeline_run(runs: list[dict[str, Any]], tiny_project: Any) -> None:
    experiments = {tiny_project.recipe, "demo", "summary"}
    assert {run["experiment"] for run in runs} == experiments
    for experiment in experiments:
        (pipeline,) = kind(runs, experiment, "pipeline")
        assert pipeline["status"] == "FINISHED"
        assert "mlflow.parentRunId" not in pipeline["tags"]


def test_one_child_run_per_stage(runs: list[dict[str, Any]], tiny_project: Any) -> None:
    own = {tiny_project.recipe: sorted(STAGES), "demo": ["demo"], "summary": ["summary"]}
    for experiment, expected in own.items():
        children = kind(runs, experiment, "stage")
        (pipeline,) = kind(runs, experiment, "pipeline")
        assert sorted(child["tags"]["acinus.stage"] for child in children) == expected
        for child in children:
            assert child["tags"]["mlflow.parentRunId"] == pipeline["id"]
            assert child["status"] == "FINISHED"
            assert child["metrics"], child["name"]


def test_a_stage_run_says_what_it_ran_on(stages: dict[str, dict[str, Any]], tiny_project: Any) -> None:
    recipe = yaml.safe_load((tiny_project.root / "recipes" / f"{tiny_project.recipe}.yaml").read_text())
    commit = tiny_project.run("git", "rev-list", "--max-parents=0", "HEAD").strip()
    for run in stages.values():
        assert run["params"]["train.lr"] == str(recipe["train"]["lr"]) == "0.003"
        assert run["params"]["index.tissue.downsample"] == str(recipe["index"]["tissue"]["downsample"])
        assert run["tags"]["acinus.recipe"] == tiny_project.recipe
        assert run["tags"]["mlflow.source.git.commit"] == commit, "the state that was checked out when it ran"
        assert re.fullmatch("[0-9a-f]{64}", run["tags"]["acinus.params_sha256"])


def test_the_data_sets_have_the_digests_of_dvc_lock(runs: list[dict[str, Any]], tiny_project: Any) -> None:
    """Every data dependency of dvc.lock, or what a stage put below it, is an input of the stage's run."""
    outs, lock = tiny_project.outs(), tiny_project.lock()
    by_stage = {run["tags"]["acinus.stage"]: run for run in runs if run["tags"]["acinus.kind"] == "stage"}
    assert "code" not in by_stage, "it runs each time: MLflow would remember nothing else"
    for entry, stage in lock.items():
        read = {dep["path"] for dep in stage.get("deps", []) if not dep["path"].startswith("code/")}
        expected = {
            path: md5 for path, md5 in outs.items() if path in read or path.startswith(tuple(f"{r}/" for r in read))
        }
        assert by_stage[entry.split("@")[0]]["inputs"] == expected, entry
        assert expected or entry == "demo@camelyon"


def test_the_training_has_its_curve_and_its_model(stages: dict[str, dict[str, Any]], tiny_project: Any) -> None:
    folder = tiny_project.root / "models" / tiny_project.recipe
    with (folder / "training_log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    train = stages["train"]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    for figure in set(rows[0]) - {"epoch"}:
        steps, values = zip(*train["curves"][figure], strict=True)
        assert steps == (1, 2, 3, 4, 5, 6)
        assert values == pytest.approx([float(row[figure]) for row in rows], rel=1e-6)
    assert {"train_loss", "train_acc", "val_loss", "val_acc"} < set(rows[0])
    assert train["curves"]["lr"][0] == [1, 0.003]
    assert [step for step, _ in train["curves"]["lr"]] == [1, 2, 3, 4, 5, 6]
    files = {f"training/{path.name}" for path in folder.iterdir() if path.name != "model.safetensors"}
    assert {"training/card.json", "training/training_log.csv", "training/patch_scores.parquet"} < files
    assert set(train["artifacts"]) == files  # the weights are a model of MLflow's own
    (weights,) = (tiny_project.root / "mlartifacts").rglob("model.safetensors")
    assert weights.read_bytes() == (folder / "model.safetensors").read_bytes()
    assert list((tiny_project.root / "mlartifacts").rglob("*.pkl")) == []
    run = json.loads((tiny_project.root / "models" / f"{tiny_project.recipe}.run.json").read_text())
    assert run == {"mlflow_run_id": train["id"], "mlflow_parent_id": train["tags"]["mlflow.parentRunId"]}


def test_the_report_has_its_figures_and_pictures(
    runs: list[dict[str, Any]], stages: dict[str, dict[str, Any]], tiny_project: Any
) -> None:
    folder = tiny_project.root / "reports" / tiny_project.recipe
    figures = {
        name: value for name, value in json.loads((folder / "metrics.json").read_text()).items() if value is not None
    }
    (pipeline,) = kind(runs, tiny_project.recipe, "pipeline")
    assert pipeline["metrics"] == pytest.approx(figures)
    own = stages["report"]["metrics"]
    assert 0.2 < own["startup_cpu_s"] < 60  # Python, our own modules, MLflow
    assert {name: value for name, value in own.items() if name != "startup_cpu_s"} == pytest.approx(figures)
    pictures = {f"report/pictures/{path.name}" for path in (folder / "pictures").iterdir()}
    assert {"report/pictures/test_001_heatmap.png", "report/pictures/test_001_slide.png"} <= pictures
    tables = {f"report/{name}.csv" for name in ("per_slide", "views", "regions", "attention")}
    names = ("quantities", "regions", "grades", "patch_scores", "scores_test")
    tables |= {f"report/tables/{name}.parquet" for name in names}  # what `acinus compare` pools
    tables |= {"report/metrics.json", "report/index.html", "report/views/none.txt"}  # a classifier has no views
    below = {
        f"report/{path.relative_to(folder).as_posix()}"
        for part in ("plots", "slides")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }
    assert {"report/plots/roc.csv", "report/slides/test_001.html"} <= below
    assert pictures | tables | below == set(stages["report"]["artifacts"])


def test_mlproject_main_is_dvc_repro_and_its_stages_exist() -> None:
    project = yaml.safe_load((Path(__file__).resolve().parents[2] / "MLproject").read_text())
    assert project["entry_points"]["main"] == {"command": "dvc repro"}
    assert {"train", "extract", "validate", "infer", "report", "stage"} <= set(project["entry_points"])


def test_without_its_database_nothing_is_lost_and_nothing_reruns(tiny_project: Any, tmp_path: Path) -> None:
    project = tiny_project.copy(tmp_path / "project")
    assert not (project.root / "mlflow.db").exists()
    output = project.run("dvc", "repro")
    assert project.ran(output) == {"code"}
    assert project.outs() == tiny_project.outs()
    assert not (project.root / "mlflow.db").exists()


def test_an_experiment_begins_the_memory_anew(experiment: tuple[Any, str]) -> None:
    """The copy in which it ran had no database; the first stage that ran made one."""
    project, _ = experiment
    found = remembered(project)
    (pipeline,) = kind(found, project.recipe, "pipeline")
    children = [run for run in kind(found, project.recipe, "stage") if "mlflow.parentRunId" in run["tags"]]
    assert pipeline["name"] == "slower"
    assert sorted(run["tags"]["acinus.stage"] for run in children) == sorted(STAGES[STAGES.index("tune") :])
    assert {run["tags"]["mlflow.parentRunId"] for run in children} == {pipeline["id"]}
    assert {run["params"]["train.lr"] for run in children} == {"0.001"}


def test_mlflow_run_runs_one_stage(experiment: tuple[Any, str]) -> None:
    project, _ = experiment
    sample = project.root / "data" / project.recipe / "sample.parquet"
    before = sample.stat()
    project.run("mlflow", "run", ".", "-e", "stage", "-P", "name=sample", "--env-manager", "local")
    assert sample.stat().st_ino != before.st_ino, "the stage did not write its output"
    assert project.changed() == {}, "run by hand it writes other bytes than under DVC"
    (run,) = [run for run in remembered(project) if run["tags"].get("acinus.stage") == "sample"]
    assert run["status"] == "FINISHED"
