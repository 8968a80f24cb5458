"""What MLflow remembers of a stage; and that nothing is lost or stopped when it is not there."""

import json
import shutil
import subprocess
import sys
import time
import typing
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acinus.errors import AcinusError
from acinus.files import write_json
from acinus.project.lineage import Input
from acinus.tracking import RunFacts, create_database, open_runs, run_artifact, stage_run
from acinus.tracking import runs as runs_module

URI = "sqlite:///mlflow.db"
DOWN = "http://127.0.0.1:9"
"""The discard port: nobody listens there."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a tracking database: making one takes seconds, so the tests share it."""
    folder = tmp_path_factory.mktemp("project")
    create_database(URI, folder)
    assert (folder / "mlflow.db").is_file()
    return folder


@pytest.fixture
def facts(root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> RunFacts:
    """A stage execution in an experiment of the test's own."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return RunFacts(
        root=root,
        uri=URI,
        required=False,
        experiment=request.function.__name__,
        stage="sample",
        params={"sample.normal_per_tumor": "1.0", "seed": "7"},
        tags={"acinus.kind": "stage", "acinus.stage": "sample", "mlflow.source.git.commit": "c0ffee"},
        inputs=(Input("data/r/index.parquet", "0123abcd.dir"), Input("data/r/unknown", None)),
    )


def client(root: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}")


def runs(facts: RunFacts) -> list[Any]:
    """The runs of the test's experiment, oldest first."""
    found = client(facts.root).get_experiment_by_name(facts.experiment)
    return client(facts.root).search_runs([found.experiment_id], order_by=["attributes.start_time ASC"])


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / ".acinus" / "tracking").glob("*.json"))]


def test_a_stage_is_a_run_with_params_tags_figures_inputs_and_pictures(facts: RunFacts, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"png")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.png").write_bytes(b"one")
    with stage_run(facts) as run:
        for epoch, loss in enumerate((0.9, 0.4)):
            run.log_metrics({"train_loss": loss, "undefined": None}, step=epoch)
        run.log_metrics({})
        run.log_artifact(tmp_path / "picture.png")
        run.log_artifact(tmp_path / "pictures", "report")
    (found,) = runs(facts)
    assert found.info.run_id == run.run_id
    assert found.info.status == "FINISHED"
    assert found.data.params == facts.params
    assert facts.tags.items() <= found.data.tags.items()
    assert found.data.tags["mlflow.runName"] == "sample"
    assert "mlflow.parentRunId" not in found.data.tags  # run by hand
    assert found.data.metrics == {"train_loss": 0.4}
    history = client(facts.root).get_metric_history(run.run_id, "train_loss")
    assert sorted((one.step, one.value) for one in history) == [(0, 0.9), (1, 0.4)]
    (dataset,) = found.inputs.dataset_inputs  # what DVC does not know has no digest to tell
    assert (dataset.dataset.name, dataset.dataset.digest) == ("data/r/index.parquet", "0123abcd.dir")
    assert json.loads(dataset.dataset.source)["dvc_md5"] == "0123abcd.dir"
    kept = facts.root / "mlartifacts" / facts.experiment / found.info.run_id / "artifacts"
    assert sorted(p.relative_to(kept).as_posix() for p in kept.rglob("*.png")) == ["picture.png", "report/one.png"]
    assert records(facts.root) == []


def test_a_project_that_was_moved_keeps_its_artifacts_and_writes_no_more_where_it_was(
    facts: RunFacts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """MLflow records whole paths: a copy wrote into the folder of the first, and a moved one made that anew."""
    (tmp_path / "old.txt").write_text("old")
    (tmp_path / "new.txt").write_text("new")
    with stage_run(facts) as first:
        first.log_artifact(tmp_path / "old.txt")
    moved = tmp_path / "the place % of now"
    shutil.copytree(facts.root, moved)
    before = sorted(facts.root.rglob("*.txt"))
    capsys.readouterr()
    with stage_run(replace(facts, root=moved)) as second:
        second.log_artifact(tmp_path / "new.txt")
    assert "the project was moved" in capsys.readouterr().err
    assert sorted(facts.root.rglob("*.txt")) == before
    assert [path.name for path in (moved / "mlartifacts" / facts.experiment / second.run_id).rglob("*.txt")] == [
        "new.txt"
    ]
    shutil.rmtree(moved / "mlartifacts" / facts.experiment / second.run_id)
    found = run_artifact(URI, moved, first.run_id, "old.txt", tmp_path / "fetched")
    assert found.read_text() == "old"
    assert str(facts.root) not in client(moved).get_run(first.run_id).info.artifact_uri
    assert client(facts.root).get_run(first.run_id).info.artifact_uri.startswith(facts.root.as_uri())  # its own stays
    assert "moved" not in capsys.readouterr().err


def test_more_parameters_than_one_batch_holds_and_very_long_ones_are_kept(facts: RunFacts) -> None:
    many = {f"cohort.exclude.slide_{n}": "why" for n in range(250)} | {"long": "x" * 9000}
    with stage_run(replace(facts, params=many)):
        pass
    (found,) = runs(facts)
    assert len(found.data.params) == 251
    assert found.data.params["long"] == "x" * 6000


def test_a_failing_stage_is_failed_and_the_failure_goes_on(facts: RunFacts) -> None:
    def work() -> None:
        with stage_run(facts) as run:
            run.log_metrics({"before": 1})
            raise AcinusError("stop")

    with pytest.raises(AcinusError, match=r"^stop$"):
        work()
    (found,) = runs(facts)
    assert (found.info.status, found.data.metrics) == ("FAILED", {"before": 1.0})


def test_stages_of_one_pipeline_share_a_parent_that_has_the_final_figures(facts: RunFacts, monkeypatch) -> None:
    monkeypatch.setattr(runs_module, "pipeline_key", lambda: "4711-1")
    with stage_run(facts):
        pass
    with stage_run(replace(facts, stage="report")) as run:
        run.share_metrics({"patch_auc": 0.97, "slide_auc": None})
    monkeypatch.setattr(runs_module, "pipeline_key", lambda: "4711-2")  # the next `dvc repro`
    with pytest.raises(AcinusError), stage_run(facts):
        raise AcinusError("stop")
    found = runs(facts)
    parents = [one for one in found if one.data.tags["acinus.kind"] == "pipeline"]
    assert [one.info.status for one in parents] == ["FINISHED", "FAILED"]
    assert parents[0].data.metrics == {"patch_auc": 0.97}
    assert parents[0].data.params == dict(facts.params)  # what Compare in the UI shows between two pipelines
    assert parents[0].data.tags["mlflow.source.git.commit"] == "c0ffee"
    children = {
        one.data.tags["mlflow.runName"] + one.info.status: one.data.tags["mlflow.parentRunId"]
        for one in found
        if one.data.tags["acinus.kind"] == "stage"
    }
    first, second = (one.info.run_id for one in parents)
    assert children == {"sampleFINISHED": first, "reportFINISHED": first, "sampleFAILED": second}


def test_a_trial_is_a_run_below_the_stage_with_params_curve_and_state(facts: RunFacts) -> None:
    with stage_run(facts) as run:
        for name, state in (("trial 0", None), ("trial 1", "pruned"), ("trial 2", "fail")):
            with run.child(name, {"train.lr": name[-1]}) as trial:
                for epoch in (1, 2):
                    trial.log_metrics({"val_miou": epoch / 10, "undefined": None}, step=epoch)
                if state:
                    trial.end(state)
        with pytest.raises(AcinusError, match=r"^stop$"), run.child("trial 3", {}) as trial:
            raise AcinusError("stop")
    found = {one.data.tags["mlflow.runName"]: one for one in runs(facts)}
    assert found["sample"].info.status == "FINISHED"  # a trial that fails is the study's to judge
    below = {name: one for name, one in found.items() if name != "sample"}
    assert {one.data.tags["mlflow.parentRunId"] for one in below.values()} == {run.run_id}
    states = {name: (one.info.status, one.data.tags["acinus.trial_state"]) for name, one in below.items()}
    assert states == {
        "trial 0": ("FINISHED", "complete"),
        "trial 1": ("KILLED", "pruned"),
        "trial 2": ("FAILED", "fail"),
        "trial 3": ("FAILED", "fail"),
    }
    assert [below[f"trial {n}"].data.params for n in range(4)] == [{"train.lr": str(n)} for n in range(3)] + [{}]
    history = client(facts.root).get_metric_history(below["trial 1"].info.run_id, "val_miou")
    assert sorted((one.step, one.value) for one in history) == [(1, 0.1), (2, 0.2)]


def test_a_trial_that_was_killed_is_ended_by_the_next_execution(facts: RunFacts) -> None:
    killed = stage_run(facts)
    trial = killed.__enter__().child("trial 0", {})
    lost = trial.__enter__()  # and nothing after it, as by SIGKILL
    with stage_run(facts):
        pass
    assert {one.info.run_id: one.info.status for one in runs(facts)}[lost.run_id] == "KILLED"
    trial.__exit__(None, None, None)
    killed.__exit__(None, None, None)


def test_a_server_that_dies_in_a_trial_costs_one_warning_and_no_figure(facts, monkeypatch, capsys) -> None:
    before = len(records(facts.root))
    with stage_run(facts) as run:
        with run.child("trial 0", {"train.lr": "1"}) as trial:
            break_down(monkeypatch)
            trial.log_metrics({"val_miou": 0.5}, step=1)
        with run.child("trial 1", {"train.lr": "2"}) as trial:
            trial.log_metrics({"val_miou": 0.6}, step=1)
    assert len(capsys.readouterr().err.splitlines()) == 1
    (record,) = records(facts.root)[before:]
    kept = [(one["name"], one["metrics"][0]["val_miou"], one["state"]) for one in record["children"]]
    assert kept == [("trial 0", 0.5, "complete"), ("trial 1", 0.6, "complete")]


def test_two_pipelines_differ_in_the_parameters_and_figures_that_differ(facts: RunFacts, monkeypatch) -> None:
    """What Compare shows of two parents: everything the recipe says, so what changed, and the final figures."""
    for key, lr, auc in (("4713-1", "0.001", 0.9), ("4713-2", "0.01", 0.8)):
        monkeypatch.setattr(runs_module, "pipeline_key", lambda key=key: key)
        changed = replace(facts, params={**facts.params, "train.lr": lr})
        with stage_run(changed):
            pass
        with stage_run(replace(changed, stage="report")) as run:
            run.share_metrics({"patch_auc": auc})
    one, two = (found for found in runs(facts) if found.data.tags["acinus.kind"] == "pipeline")
    assert one.data.params.keys() == two.data.params.keys()
    assert {key for key in one.data.params if one.data.params[key] != two.data.params[key]} == {"train.lr"}
    assert (one.data.metrics, two.data.metrics) == ({"patch_auc": 0.9}, {"patch_auc": 0.8})


def test_settings_that_a_search_found_stand_on_the_run_and_on_the_pipelines(facts: RunFacts, monkeypatch) -> None:
    monkeypatch.setattr(runs_module, "pipeline_key", lambda: "4715-1")
    with stage_run(replace(facts, stage="train")) as run:
        run.share_params({"tuned.train.lr": "0.25"})
    found = {one.info.run_id: one.data.params for one in runs(facts)}
    for run_id in (run.run_id, run.parent_id):
        assert found[run_id] == {**facts.params, "tuned.train.lr": "0.25"}


def test_a_file_is_fetched_from_a_stages_run_or_from_the_pipelines(
    facts: RunFacts, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(runs_module, "pipeline_key", lambda: "4714-1")
    for stage, text in (("report", "old"), ("report", "new"), ("grade", "other")):
        (tmp_path / "per_slide.csv").write_text(text)
        with stage_run(replace(facts, stage=stage, tags={**facts.tags, "acinus.stage": stage})) as run:
            run.log_artifact(tmp_path / "per_slide.csv", "report")
    found = {}
    for name, run_id in (("pipeline", run.parent_id), ("stage", run.run_id)):
        path = run_artifact(URI, facts.root, run_id, "report/per_slide.csv", tmp_path / name)
        assert path.is_relative_to(tmp_path / name)
        found[name] = path.read_text()
    assert found == {"pipeline": "new", "stage": "other"}


@pytest.mark.parametrize("case", ["no_file", "no_run", "no_server"])
def test_a_file_that_cannot_be_fetched_is_one_line(facts: RunFacts, tmp_path: Path, case: str) -> None:
    with stage_run(facts) as run:
        pass
    uri, run_id = (DOWN if case == "no_server" else URI), ("0" * 32 if case == "no_run" else str(run.run_id))
    with pytest.raises(AcinusError) as caught:
        run_artifact(uri, facts.root, run_id, "report/per_slide.csv", tmp_path)
    assert run_id in str(caught.value)
    assert ("has report/per_slide.csv" if case == "no_file" else "cannot be read") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_joined_worker_that_was_killed_is_ended_by_the_next_and_one_at_work_is_left(
    facts: RunFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker is named after its process, so that no execution of the same name follows it."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    gone = {**open_runs.this_process(), "pid": done.pid}
    done.wait()
    elsewhere = {**gone, "host": "another machine"}  # nobody here can tell
    again = {**open_runs.this_process(), "started": 1.0}  # its number was given to another process since
    ids = {}
    for name, process in {"gone": gone, "again": again, "elsewhere": elsewhere, "here": None}.items():
        with monkeypatch.context() as patch:
            if process:
                patch.setattr(open_runs, "this_process", lambda process=process: process)
            worker = stage_run(replace(facts, stage=f"tune-join-{name}"))
            run = worker.__enter__()
            trial = run.child("trial 0", {})
            ids[name] = (trial.__enter__().run_id, run, worker, trial)
    with stage_run(replace(facts, stage="tune")):
        states = {one.info.run_id: one for one in runs(facts)}
        found = {name: states[run_id].info.status for name, (run_id, *_) in ids.items()}
        workers = {
            name: states[states[run_id].data.tags["mlflow.parentRunId"]].info.status
            for name, (run_id, *_) in ids.items()
        }
    assert found == workers == {"gone": "KILLED", "again": "KILLED", "elsewhere": "RUNNING", "here": "RUNNING"}
    for *_, worker, trial in ids.values():
        trial.__exit__(None, None, None)
        worker.__exit__(None, None, None)
    assert not list((facts.root / ".acinus" / "running").glob(f"{facts.experiment}-*"))


def test_what_a_killed_execution_left_open_is_ended_by_the_next(facts: RunFacts, monkeypatch) -> None:
    monkeypatch.setattr(runs_module, "pipeline_key", lambda: "4711-4")
    killed = stage_run(facts)
    lost = killed.__enter__()  # and nothing after it, as by SIGKILL
    monkeypatch.setattr(runs_module, "pipeline_key", lambda: "4711-5")
    with stage_run(facts):
        pass
    states = {one.info.run_id: one.info.status for one in runs(facts)}
    assert states[lost.run_id] == states[lost.parent_id] == "KILLED"
    assert "RUNNING" not in states.values()
    killed.__exit__(None, None, None)


def test_a_pipelines_run_that_is_gone_is_opened_anew(facts: RunFacts, monkeypatch) -> None:
    """The database was deleted while the pipeline ran."""
    monkeypatch.setattr(runs_module, "pipeline_key", lambda: "4711-3")
    memo = facts.root / ".acinus" / "pipelines" / f"4711-3-{facts.experiment}.json"
    write_json(memo, {"run_id": "0" * 32})
    with stage_run(facts) as run:
        assert run.parent_id not in {None, "0" * 32}
    parent, child = sorted(runs(facts), key=lambda one: one.data.tags["acinus.kind"])
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id == run.parent_id


def test_a_run_by_mlflow_run_is_above_the_pipeline(facts: RunFacts, monkeypatch) -> None:
    monkeypatch.setattr(runs_module, "pipeline_key", lambda: "4712-1")
    above = client(facts.root).create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", above)
    with stage_run(facts):
        pass
    (parent,) = [one for one in runs(facts) if one.data.tags["acinus.kind"] == "pipeline"]
    assert parent.data.tags["mlflow.parentRunId"] == above


@pytest.mark.parametrize("uri", [DOWN, "sqlite:////proc/none/mlflow.db", "mlruns"])
def test_a_server_that_is_down_costs_a_warning_and_a_local_record(facts, tmp_path, capsys, uri: str) -> None:
    begun = time.monotonic()
    with stage_run(replace(facts, root=tmp_path, uri=uri)) as run:
        run.log_metrics({"n_normal.train": 3, "undefined": None}, step=2)
        run.log_artifact(tmp_path / "picture.png")
        run.share_metrics({"patch_auc": 0.9})
        run.share_params({"tuned.train.lr": "0.25"})
        with run.child("trial 0", {"train.lr": "0.1"}) as trial:
            trial.log_metrics({"val_miou": 0.5, "undefined": None}, step=1)
            trial.end("pruned")
        run.log_model(tmp_path / "model")  # not read: there is nobody to send it to
        work_done = True
    assert work_done
    assert run.run_id is None
    assert time.monotonic() - begun < 60  # the client's own default retries for minutes
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: tracking.uri = {uri!r}: MLflow cannot be reached (")
    assert warning.endswith("recorded under .acinus/tracking/")
    assert records(tmp_path) == [
        {
            "experiment": facts.experiment,
            "stage": "sample",
            "status": "FINISHED",
            "params": facts.params,
            "tags": facts.tags,
            "inputs": [
                {"path": "data/r/index.parquet", "md5": "0123abcd.dir"},
                {"path": "data/r/unknown", "md5": None},
            ],
            "metrics": [{"step": 2, "n_normal.train": 3.0}],
            "shared": {"patch_auc": 0.9},
            "shared_params": {"tuned.train.lr": "0.25"},
            "artifacts": [str(tmp_path / "picture.png")],
            "children": [
                {
                    "name": "trial 0",
                    "params": {"train.lr": "0.1"},
                    "metrics": [{"step": 1, "val_miou": 0.5}],
                    "state": "pruned",
                }
            ],
            "models": [str(tmp_path / "model")],
        }
    ]


def test_a_failure_without_a_server_is_recorded_as_failed(facts, tmp_path) -> None:
    with pytest.raises(AcinusError, match=r"^stop$"), stage_run(replace(facts, root=tmp_path, uri=DOWN)):
        raise AcinusError("stop")
    assert [one["status"] for one in records(tmp_path)] == ["FAILED"]


def test_a_required_server_that_is_down_stops_before_the_work(facts, tmp_path) -> None:
    with pytest.raises(AcinusError) as caught, stage_run(replace(facts, root=tmp_path, uri=DOWN, required=True)):
        pytest.fail("the work began")
    assert str(caught.value).startswith(f"params.yaml: tracking.uri = {DOWN!r}: MLflow cannot be reached")
    assert str(caught.value).endswith("start the server, or set tracking.required: false")
    assert "\n" not in str(caught.value)


def break_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every batch of figures meets a dead server."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("connection refused")

    monkeypatch.setattr(MlflowClient, "log_batch", refuse)


def test_a_server_that_dies_midway_costs_one_warning_and_no_figure(facts, monkeypatch, capsys) -> None:
    before = len(records(facts.root))
    with stage_run(facts) as run:
        run.log_metrics({"first": 1})
        break_down(monkeypatch)
        run.log_metrics({"second": 2}, step=1)
        run.log_metrics({"third": 3}, step=2)
    assert len(capsys.readouterr().err.splitlines()) == 1
    (record,) = records(facts.root)[before:]
    assert record["metrics"] == [{"step": 0, "first": 1.0}, {"step": 1, "second": 2.0}, {"step": 2, "third": 3.0}]
    assert record["status"] == "FINISHED"


def test_a_required_server_that_dies_midway_stops_the_work(facts, monkeypatch) -> None:
    def work() -> None:
        with stage_run(replace(facts, required=True)) as run:
            break_down(monkeypatch)
            run.log_metrics({"second": 2})
            pytest.fail("the work went on")

    with pytest.raises(AcinusError, match="MLflow cannot be reached"):
        work()


def test_a_deleted_database_is_made_anew(facts, tmp_path) -> None:
    fresh = replace(facts, root=tmp_path)
    with stage_run(fresh) as run:
        run.log_metrics({"n": 1})
    assert [one.data.metrics for one in runs(fresh)] == [{"n": 1.0}]


def test_no_stage_reads_from_mlflow() -> None:
    """Deleting mlflow.db loses no result: what a stage gets can be written to only."""
    from acinus.stage import ChildLog, Log

    offered = {name for name in vars(Log) if not name.startswith("_")} | set(Log.__annotations__)
    assert offered == {
        *("run_id", "parent_id", "log_metrics", "log_artifact", "share_metrics", "share_params", "child", "log_model")
    }
    hints = {name: typing.get_type_hints(vars(Log)[name])["return"] for name in offered if name in vars(Log)}
    assert {name for name, hint in hints.items() if hint is not type(None)} == {"child"}
    assert hints["child"] == AbstractContextManager[ChildLog]
    returns = [typing.get_type_hints(one).get("return") for name, one in vars(ChildLog).items() if name[0] != "_"]
    assert returns == [type(None)] * 2


def test_making_ready_without_a_server_warns_only(tmp_path, capsys) -> None:
    create_database(DOWN, tmp_path)
    assert capsys.readouterr().err.startswith(f"warning: tracking.uri = {DOWN!r}: MLflow cannot be reached")


def test_a_figure_that_is_no_number_is_left_out_with_and_without_a_server(facts: RunFacts, tmp_path: Path) -> None:
    odd = {"nan": float("nan"), "inf": float("inf"), "fine": 1}
    with stage_run(facts) as run:
        run.log_metrics(odd)
    assert runs(facts)[-1].data.metrics == {"fine": 1.0}
    with stage_run(replace(facts, root=tmp_path, uri=DOWN)) as run:
        run.log_metrics(odd)
        run.share_metrics(odd)
    (record,) = (tmp_path / ".acinus" / "tracking").glob("*.json")
    assert json.loads(record.read_text())["shared"] == {"fine": 1.0}


def test_an_experiment_in_a_temporary_copy_is_recorded_in_the_project(facts: RunFacts, tmp_path: Path) -> None:
    """`dvc exp run --temp` deletes its copy of the project afterwards."""
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    copy.mkdir(parents=True)
    with stage_run(replace(facts, root=copy)) as run:
        run.log_metrics({"n": 1})
    assert [one.info.run_id for one in runs(replace(facts, root=tmp_path))] == [run.run_id]
    assert not (copy / "mlflow.db").exists()


def test_a_stage_by_hand_under_mlflow_run_lies_below_its_run(facts: RunFacts, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "a" * 32)
    with stage_run(replace(facts, root=tmp_path)):
        pass
    (run,) = runs(replace(facts, root=tmp_path))
    assert run.data.tags["mlflow.parentRunId"] == "a" * 32
