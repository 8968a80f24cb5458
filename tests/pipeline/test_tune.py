"""The stage tune on a drawn cohort: what it leaves for train; a kill changes nothing; no search is quick."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from sklearn.metrics import roc_auc_score

from acinus import records
from acinus.errors import AcinusError
from acinus.files import read_json
from acinus.paths import Paths
from acinus.stage import Stage
from acinus.stages import train, tune

RECIPE = "demo-camelyon"
BEFORE = ("inventory", "ingest", "index", "sample", "validate", "extract")
SPACE = {"lr": {"low": 0.0005, "high": 0.05, "log": True}, "aug_factor": {"low": 1, "high": 3, "whole": True}}
SMALL: dict[str, dict[str, Any]] = {
    "cohort": {"val_fraction": 0.34},
    "index": {"patch_px": 64, "stride_px": 64},
    "infer": {"stride_px": 64, "map_downsample": 16.0},
    "sample": {"max_tumor_per_slide": 6, "max_normal_per_slide": 6},
    "train": {"model": "test_resnet.r160_in1k", "weights": "none", "max_epochs": 2, "stop_patience": 6, "lr": 0.003},
    "tune": {"trials": 4, "objective": "patch_auc", "startup_trials": 2, "max_epochs": None, "space": SPACE},
}
STATES = {"complete", "pruned"}


class KilledError(Exception):
    """Where a process would have been killed."""


@dataclass
class Heard:
    """A log that keeps what it is told of the trials, and dies at an epoch where that is asked for."""

    run_id: str | None = None
    parent_id: str | None = None
    die_at: int | None = None
    trials: list[dict[str, Any]] = field(default_factory=list)

    def log_metrics(self, metrics: Mapping[str, float | int | None], step: int = 0) -> None:
        """Hear of the stage's figures."""

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        assert path.exists()

    def share_metrics(self, metrics: Mapping[str, float | int | None]) -> None:
        """Hear of figures for all."""

    def share_params(self, params: Mapping[str, str]) -> None:
        """Hear of the best settings."""

    def log_model(self, folder: Path) -> None:
        assert folder.exists()

    @contextmanager
    def child(self, name: str, params: Mapping[str, str]) -> Iterator["Child"]:
        self.trials.append({"name": name, "params": dict(params), "curve": {}, "state": None})
        yield Child(self)


@dataclass(frozen=True)
class Child:
    """The run of a trial."""

    log: Heard

    def log_metrics(self, metrics: Mapping[str, float | int | None], step: int = 0) -> None:
        self.log.trials[-1]["curve"].setdefault(step, {}).update(metrics)
        if self.log.die_at is not None and sum(len(one["curve"]) for one in self.log.trials) > self.log.die_at:
            raise KilledError

    def end(self, state: str) -> None:
        assert state in STATES
        self.log.trials[-1]["state"] = state


@dataclass(frozen=True)
class Tuned:
    """A project with patches, in which settings are searched."""

    project: Any
    changes: Mapping[str, Mapping[str, Any]]

    def stage(self, log: Heard, name: str = "tune", **section: Any) -> Stage:
        changes = dict(self.changes) | {"tune": {**self.changes["tune"], **section}}
        recipe = self.project.recipe(RECIPE, changes)
        return Stage(name, self.project.root, self.project.project, log, RECIPE, recipe, self.paths)

    @property
    def paths(self) -> Paths:
        return Paths(self.project.root, RECIPE)

    def outputs(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.paths.tune.iterdir())}


@pytest.fixture(scope="module")
def patches(direct: Any, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    project = direct.copy(tmp_path_factory.mktemp("tune"))
    project.run(RECIPE, project.recipe(RECIPE, SMALL), *BEFORE)
    return Tuned(project, SMALL)


@pytest.fixture(scope="module")
def straight(patches: Tuned) -> tuple[Heard, dict[str, bytes]]:
    """What the unbroken study wrote; its working folder is gone afterwards."""
    log = Heard()
    tune.run(patches.stage(log))
    outputs = patches.outputs()
    forget(patches)
    return log, outputs


def forget(patches: Tuned) -> None:
    folder = patches.project.root / ".acinus" / "tune"
    folder.rename(folder.with_name(f"tune-{len(list(folder.parent.iterdir()))}"))


def test_outputs_say_the_same_as_the_runs(straight: Any, patches: Tuned) -> None:
    log, outputs = straight
    assert set(outputs) == {"best.yaml", "trials.parquet", "comparison.json", "history.png", "importances.png",
                            "parallel.png", "slice.png"}  # fmt: skip
    rows = records.rows(records.read(records.TRIALS, patches.paths.tune / "trials.parquet"))
    assert [row["trial"] for row in rows] == [0, 1, 2, 3]
    assert json.loads(rows[0]["settings"]) == {"lr": 0.003, "aug_factor": patches.stage(log).recipe.train.aug_factor}
    for row, run in zip(rows, log.trials, strict=True):
        assert run["name"] == f"trial {row['trial']}"
        assert run["state"] == row["state"]
        assert {key.removeprefix("train.") for key in run["params"]} == {"trial", *SPACE}
        curve = {step: one for step, one in run["curve"].items() if step}
        assert list(curve) == list(range(1, row["epochs"] + 1))
        best = min(curve, key=lambda step: (curve[step]["val_loss"], step))
        if row["state"] == "complete":
            assert row["value"] == curve[best]["val_patch_auc"]
    best = max((row for row in rows if row["state"] == "complete"), key=lambda row: (row["value"], -row["trial"]))
    assert [row["trial"] for row in rows if row["best"]] == [best["trial"]]
    written = yaml.safe_load(outputs["best.yaml"])
    expected = json.loads(best["settings"]) if best["trial"] else {}
    assert written == {"objective": "patch_auc", "trials": 4, "value": best["value"], "settings": expected}
    comparison = json.loads(outputs["comparison.json"])
    assert comparison["untuned"]["val"] == rows[0]["value"]
    assert comparison["tuned"]["val"] == best["value"]
    for name in ("history.png", "importances.png", "parallel.png", "slice.png"):
        with Image.open(patches.paths.tune / name) as image:
            assert min(image.size) > 200


@dataclass
class Steps(Heard):
    """A log that hears in how many epochs steps were trained."""

    epochs: int = 0

    def log_metrics(self, metrics: Mapping[str, float | int | None], step: int = 0) -> None:
        self.epochs += "data_wait_share" in metrics


def train_whole(stage: Stage) -> None:
    train.run(stage)
    stage.recorded()


def test_train_delivers_what_the_best_trial_had(straight: Any, patches: Tuned) -> None:
    """The same seeds: validation curve and test figure of the model are those that the search reported."""
    outputs = straight[1]
    assert patches.outputs() == outputs
    train_whole(patches.stage(taken := Steps(), "train"))
    over = {path.name: path.read_bytes() for path in sorted(patches.paths.model.iterdir())}
    train_whole(patches.stage(anew := Steps(), "train"))
    assert (taken.epochs, anew.epochs) == (0, 2)
    assert {path.name: path.read_bytes() for path in sorted(patches.paths.model.iterdir())} == over
    log = (patches.paths.model / "training_log.csv").read_text().splitlines()
    best = next(row for row in straight[0].trials if row["name"] == f"trial {_best(patches)}")
    losses = [f"{one['val_loss']:.9g}" for step, one in best["curve"].items() if step]
    assert [line.split(",")[3] for line in log[1:]] == losses
    scores = records.read(records.SCORES, patches.paths.model / "patch_scores.parquet")
    expected = json.loads(outputs["comparison.json"])["tuned"]["test"]
    assert roc_auc_score(scores["label"], scores["probs"]) == pytest.approx(expected, abs=1e-6)


def _best(patches: Tuned) -> int:
    rows = records.read(records.TRIALS, patches.paths.tune / "trials.parquet")
    return int(rows.loc[rows["best"], "trial"].iloc[0])


@pytest.mark.parametrize(
    "die_at", [pytest.param(0, marks=pytest.mark.slow), 3, pytest.param(6, marks=pytest.mark.slow)]
)
def test_killed_in_a_trial_and_resumed_leaves_the_same_bytes(die_at: int, straight: Any, patches: Tuned) -> None:
    with pytest.raises(KilledError):
        tune.run(patches.stage(Heard(die_at=die_at)))
    log = Heard()
    tune.run(patches.stage(log))
    assert patches.outputs() == straight[1]
    first = log.trials[0]
    epochs = [step for step in first["curve"] if step]
    assert epochs[0] == 1, "a trial that goes on has its whole curve in its new run"
    assert len(log.trials) < 4 or die_at < 2
    forget(patches)


def test_lost_checkpoints_are_trained_again(straight: Any, patches: Tuned) -> None:
    tune.run(patches.stage(Heard()))
    folder = patches.project.root / ".acinus" / "tune"
    kept = {path.parent.name for path in folder.rglob("best.ckpt")}
    assert kept == {"trial_0000", f"trial_{_best(patches):04d}"}
    for path in folder.rglob("*.ckpt"):
        path.unlink()
    log = Heard()
    tune.run(patches.stage(log))
    assert not log.trials, "finished trials are not begun again"
    assert patches.outputs() == straight[1]
    forget(patches)


def test_a_shorter_trial_is_not_handed_over(patches: Tuned) -> None:
    tune.run(patches.stage(Heard(), trials=1, max_epochs=1))
    train_whole(patches.stage(log := Steps(), "train", trials=1, max_epochs=1))
    assert log.epochs == 2
    forget(patches)


def test_a_worker_that_joins_does_trials_and_writes_nothing(straight: Any, patches: Tuned) -> None:
    before = patches.outputs()
    log = Heard()
    tune.join(patches.stage(log))
    assert len(log.trials) == 4
    assert patches.outputs() == before
    afterwards = Heard()
    tune.run(patches.stage(afterwards))
    assert not afterwards.trials
    assert patches.outputs() == straight[1], "one worker after the other is a straight study"
    forget(patches)


def test_a_study_in_a_database_gives_the_same_and_says_where_it_is(straight: Any, patches: Tuned) -> None:
    tune.run(patches.stage(Heard(), storage="sqlite:///studies.db"))
    assert (patches.project.root / "studies.db").is_file(), "a relative file is meant from the project"
    assert patches.outputs() == straight[1]
    line = patches.paths.study.read_text()
    assert line.startswith(f"study {RECIPE}-")
    assert line.endswith("studies.db\n")
    forget(patches)


def test_no_search_repeats_the_recipe(patches: Tuned) -> None:
    tune.run(patches.stage(Heard(), trials=0))
    assert yaml.safe_load(patches.outputs()["best.yaml"]) == {
        "objective": "patch_auc", "trials": 0, "value": None, "settings": {},
    }  # fmt: skip
    assert len(records.read(records.TRIALS, patches.paths.tune / "trials.parquet")) == 0
    none = {"val": None, "test": None}
    comparison = read_json(patches.paths.tune / "comparison.json")
    assert comparison == {"objective": "patch_auc", "epochs": None, "tuned": none, "untuned": none}
    assert (patches.paths.tune / "none.txt").read_text()
    assert patches.paths.study.read_text()
    tune.join(patches.stage(Heard(), trials=0))


def test_no_search_loads_neither_torch_nor_optuna() -> None:
    code = "import sys, acinus.stages.tune; print([m for m in ('torch', 'optuna', 'lightning') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@dataclass
class Refusing(Steps):
    """A log whose server is there until the trained model is sent."""

    def log_model(self, folder: Path) -> None:
        raise AcinusError(f"{folder.name}: the model cannot be recorded")


def test_a_training_whose_model_cannot_be_recorded_is_not_trained_again(patches: Tuned) -> None:
    tune.run(patches.stage(Heard(), trials=0))
    for _ in range(2):  # the server stays away for a while
        stage = patches.stage(log := Refusing(), "train", trials=0)
        with pytest.raises(AcinusError, match="cannot be recorded"):
            train_whole(stage)
        assert not stage.when_recorded
    assert log.epochs == 0, "the second execution finds the training finished"
    first = {path.name: path.read_bytes() for path in sorted(patches.paths.model.iterdir())}
    train_whole(patches.stage(log := Steps(), "train", trials=0))
    assert log.epochs == 0
    assert {path.name: path.read_bytes() for path in sorted(patches.paths.model.iterdir())} == first
    assert not list(patches.paths.checkpoints.rglob("key")), "recorded: a forced rerun trains anew"
