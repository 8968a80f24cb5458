"""What surrounds a stage: the project found, parameters first, one execution at a time, made ready after a kill."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from acinus import execution
from acinus.errors import AcinusError, RecipeError
from acinus.execution import flatten, prepare, project_root, run_project_stage, run_recipe_stage
from acinus.stage import ProjectStage, Stage

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the current folder; MLflow is down there, which costs a warning only."""
    (tmp_path / "recipes").mkdir()
    settings = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"tracking": {"uri": "http://127.0.0.1:9"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings | {"recipes": ["demo-camelyon"]}))
    recipe = (ROOT / "recipes" / "demo-camelyon.yaml").read_text()
    (tmp_path / "recipes" / "demo-camelyon.yaml").write_text(recipe)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return tmp_path


def test_the_project_is_the_nearest_folder_upwards_with_params(project: Path, monkeypatch) -> None:
    deep = project / "data" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert project_root() == project
    (deep / "params.yaml").mkdir()  # a folder is no file
    assert project_root(deep) == project


def test_outside_a_project_the_remedy_is_said(tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match=r"no params\.yaml here or above; change into the project's folder$"):
        project_root(tmp_path)


def test_a_stage_gets_its_parameters_paths_and_seed(project: Path) -> None:
    got: list[Stage] = []
    run_recipe_stage("sample", "demo-camelyon", got.append)
    (stage,) = got
    assert (stage.name, stage.root, stage.recipe_name) == ("sample", project, "demo-camelyon")
    assert stage.paths.sample == project / "data" / "demo-camelyon" / "sample.parquet"
    assert stage.cohort_root == project / "data" / "demo" / "camelyon"
    assert stage.seed("a") != stage.seed("b")
    assert list(stage.map(abs, [-3, 2])) == [3, 2]


def test_wrong_parameters_stop_before_the_work_and_leave_nothing(project: Path) -> None:
    path = project / "recipes" / "demo-camelyon.yaml"
    path.write_text(path.read_text().replace("lr: 0.0003", "lr: fast"))
    with pytest.raises(RecipeError, match=r"train\.lr = 'fast'"):
        run_recipe_stage("sample", "demo-camelyon", lambda _: pytest.fail("the work began"))
    assert sorted(one.name for one in project.iterdir()) == ["params.yaml", "recipes"]


def test_what_is_recorded_names_stage_recipe_parameters_and_commit(project: Path) -> None:
    run_recipe_stage("sample", "demo-camelyon", lambda stage: stage.log.log_metrics({"n": 3}))
    run_project_stage("summary", lambda stage: stage.log.log_metrics({"n": 4}))
    kept = {one["stage"]: one for one in map(_json, (project / ".acinus" / "tracking").glob("*.json"))}
    sample = kept["sample"]
    assert sample["experiment"] == "demo-camelyon"
    assert sample["params"]["train.loss.terms.cross_entropy"] == "1.0"
    assert sample["params"]["seed"] == "20261121"
    assert sample["params"]["compute.workers"] == "2"
    assert sample["params"]["cohort.positive_groups"] == '["_0", "_1", "Tumor", "metastases"]'
    assert sample["tags"]["acinus.recipe"] == "demo-camelyon"
    assert len(sample["tags"]["acinus.params_sha256"]) == 64
    assert "mlflow.source.git.commit" in sample["tags"]
    start, own = sample["metrics"]
    assert own == {"step": 0, "n": 3.0}
    assert start["step"] == 0
    assert 0 < start["startup_cpu_s"] < time.process_time()
    assert kept["summary"]["experiment"] == "summary"
    assert kept["summary"]["params"]["camelyon.size_px"] == "2560"


def test_two_executions_of_one_stage_wait_for_each_other(project: Path, capsys) -> None:
    events: list[str] = []
    begun, may_end = threading.Event(), threading.Event()

    def first(_: Stage) -> None:
        events.append("first begins")
        begun.set()
        may_end.wait(20)
        events.append("first ends")

    one = threading.Thread(target=run_recipe_stage, args=("sample", "demo-camelyon", first))
    two = threading.Thread(
        target=run_recipe_stage, args=("sample", "demo-camelyon", lambda _: events.append("second begins"))
    )
    one.start()
    assert begun.wait(20)
    two.start()
    run_recipe_stage("index", "demo-camelyon", lambda _: events.append("another stage"))  # waits for nobody
    time.sleep(0.5)
    assert events == ["first begins", "another stage"]
    may_end.set()
    one.join(20)
    two.join(20)
    assert events == ["first begins", "another stage", "first ends", "second begins"]
    assert "sample@demo-camelyon: waiting for another execution of this stage to end" in capsys.readouterr().err


def test_what_is_left_for_after_the_record_waits_for_it_and_is_left_where_it_fails(project: Path) -> None:
    done: list[list[str]] = []

    def states() -> None:
        done.append([_json(one)["status"] for one in (project / ".acinus" / "tracking").glob("*.json")])

    run_recipe_stage("sample", "demo-camelyon", lambda stage: stage.when_recorded.append(states))
    assert done == [["FINISHED"]]

    def fail(stage: Stage) -> None:
        stage.when_recorded.append(states)
        raise AcinusError("stop")

    with pytest.raises(AcinusError, match=r"^stop$"):
        run_recipe_stage("sample", "demo-camelyon", fail)
    assert len(done) == 1


def test_a_stage_that_failed_holds_nobody_up(project: Path) -> None:
    def fail(_: ProjectStage) -> None:
        raise AcinusError("stop")

    for _ in range(2):
        with pytest.raises(AcinusError, match=r"^stop$"):
            run_project_stage("summary", fail)
    assert [_json(one)["status"] for one in (project / ".acinus" / "tracking").glob("*.json")] == ["FAILED"] * 2


def test_a_project_that_cannot_be_written_is_one_line(project: Path) -> None:
    (project / ".acinus").write_text("in the way")
    with pytest.raises(AcinusError, match=r"\.acinus/locks: cannot write here \(.*\); make the folder writable$"):
        run_recipe_stage("sample", "demo-camelyon", lambda _: pytest.fail("the work began"))


def test_what_a_kill_left_beside_an_output_is_swept_when_the_stage_runs_again(project: Path) -> None:
    (project / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    folder = project / "data" / "demo-camelyon"
    mine, other = folder / ".sample.parquet.x1.part", folder / ".index.parquet.x2.part"
    for left in (mine, other):
        left.mkdir(parents=True)
        (left / "half").write_text("half")
    run_recipe_stage("sample", "demo-camelyon", lambda _: None)
    assert not mine.exists()
    assert (other / "half").exists()  # of another stage, which may be at work


@pytest.fixture
def rwlock(project: Path) -> Path:
    """What a killed dvc leaves behind."""
    path = project / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.mark.parametrize("content", ["", '{"data/r": {"read": [', "\0\0"])
def test_a_lock_that_a_kill_left_empty_or_half_written_is_removed(rwlock: Path, project: Path, content: str) -> None:
    rwlock.write_text(content)
    prepare(project)
    assert not rwlock.exists()
    prepare(project)  # and none is none


def test_a_lock_that_says_something_is_left(rwlock: Path, project: Path) -> None:
    rwlock.write_text("{}")
    prepare(project)
    assert rwlock.read_text() == "{}"


@pytest.mark.parametrize(("folder", "stays"), [(".", True), ("data", True), ("..", False)])
def test_the_lock_of_a_dvc_that_runs_in_this_project_is_left(
    rwlock: Path, project: Path, folder: str, stays: bool
) -> None:
    (project / "data").mkdir()
    dvc = project / "dvc"
    dvc.write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    running = subprocess.Popen(
        [sys.executable, str(dvc), "repro"], cwd=project / folder, stdout=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "here\n"
        prepare(project)
        assert rwlock.exists() is stays
    finally:
        running.kill()
        running.communicate()
    prepare(project)
    assert not rwlock.exists()


def test_making_ready_does_not_open_a_database_that_is_there(project: Path, monkeypatch) -> None:
    made = []
    monkeypatch.setattr(execution, "create_database", lambda uri, root: made.append(uri))
    settings = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(settings | {"tracking": {"uri": "sqlite:///mlflow.db"}}))
    prepare(project)
    (project / "mlflow.db").touch()
    prepare(project)
    assert made == ["sqlite:///mlflow.db"]


def test_flatten_is_what_mlflow_shows() -> None:
    nested = {"a": {"b": 1, "c": {"d": None}}, "e": ["x", 2], "f": 1e-4, "g": {}}
    assert flatten(nested) == {"a.b": "1", "a.c.d": "None", "e": '["x", 2]', "f": "0.0001"}
    assert flatten({"b": True}, "compute.") == {"compute.b": "True"}
    kept = {"storage": "postgresql+psycopg://me:secret@host:5432/studies", "root": "s3://bucket/a", "plain": "journal"}
    assert flatten(kept) == kept | {"storage": "postgresql+psycopg://me:***@host:5432/studies"}


def _json(path: Path) -> dict:
    return json.loads(path.read_text())


def test_a_home_that_nobody_has_is_one_line(project: Path) -> None:
    got: list[Stage] = []
    run_recipe_stage("sample", "demo-camelyon", got.append)
    (stage,) = got
    cohort = stage.recipe.cohort.model_copy(update={"root": "~nobody-of-that-name/slides"})
    lost = replace(stage, recipe=stage.recipe.model_copy(update={"cohort": cohort}))
    with pytest.raises(AcinusError, match=r"cohort.root = .*: no such user's home"):
        _ = lost.cohort_root


def test_making_ready_refuses_a_wrong_key_in_any_recipe_of_the_run_list(project: Path) -> None:
    path = project / "recipes" / "demo-camelyon.yaml"
    path.write_text(path.read_text() + "typo: 1\n")
    with pytest.raises(RecipeError, match="typo = 1: unknown key"):
        prepare(project)
