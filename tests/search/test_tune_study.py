"""A search: what it draws, what it gives up, and that a kill at any place, or a second worker, changes nothing else."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from filelock import BaseFileLock
from PIL import Image

from acinus.errors import AcinusError
from acinus.files import try_lock
from acinus.params.results import Choices, Range
from acinus.search import study as study_module
from acinus.search.pictures import importances, pictures
from acinus.search.study import JOURNAL, Plan, Trial, claimed, open_study, search, whereabouts

EPOCHS = 9
SPACE = {"lr": Range(low=1e-4, high=1e-1, log=True), "aug_factor": Range(low=1, high=5, whole=True),
         "schedule": Choices(choices=["plateau", "poly"])}  # fmt: skip
OWN = {"lr": 0.05, "aug_factor": 1, "schedule": "plateau"}


class KilledError(Exception):
    """Where a process would have been killed."""


def plan(folder: Path, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "name": "demo-1", "folder": folder, "storage": "journal", "space": SPACE, "own": OWN, "trials": 12,
        "startup_trials": 3, "pruner": "median", "epochs": EPOCHS, "seed": 7,
    }  # fmt: skip
    return Plan(**(values | changes))


def measure(settings: Any, epoch: int) -> float:
    """A learning curve whose height is best at lr = 0.001, aug_factor 3, poly; no two settings alike."""
    height = 0.9 - 0.1 * abs(np.log10(settings["lr"]) + 3) - 0.02 * abs(settings["aug_factor"] - 3)
    return float((height - 0.05 * (settings["schedule"] == "plateau")) * (1 - 0.5**epoch))


def trainer(at: Callable[[int, str, Trial], None] = lambda step, place, trial: None) -> Callable[[Trial], None]:
    """What trains a trial by the curve; `at` hears of every place where a process may die."""
    steps = iter(range(10_000))

    def work(trial: Trial) -> None:
        for epoch in range(1, EPOCHS + 1):
            step, value = next(steps), measure(trial.settings, epoch)
            at(step, "before", trial)
            if step == getattr(at, "between", None):  # reported, but the pruner was not asked any more
                one = trial.study.optuna.trials[trial.number]
                optuna.trial.Trial(trial.study.optuna, one._trial_id).report(value, step=epoch)
                raise KilledError
            given_up = trial.report(epoch, value)
            at(step, "after", trial)
            if given_up:
                trial.give_up()
                return
        trial.complete(measure(trial.settings, EPOCHS))

    return work


def run(plan: Plan, work: Callable[[Trial], None] | None = None) -> list[dict[str, Any]]:
    study = open_study(plan)
    search(study, work or trainer())
    return study.rows()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("straight")
    return {pruner: run(plan(folder / pruner, pruner=pruner)) for pruner in ("median", "hyperband", "none")}


def test_the_first_trial_is_the_recipe_and_the_others_are_drawn_from_the_space(straight: Any) -> None:
    rows = straight["none"]
    settings = [json.loads(row["settings"]) for row in rows]
    assert [row["trial"] for row in rows] == list(range(12))
    assert settings[0] == OWN
    assert len({row["settings"] for row in rows}) > 8
    for one in settings:
        assert set(one) == set(SPACE)
        assert 1e-4 <= one["lr"] <= 1e-1
        assert one["lr"] == float(f"{one['lr']:.6g}")
        assert one["aug_factor"] in range(1, 6)
        assert one["schedule"] in ("plateau", "poly")
    assert {one["schedule"] for one in settings} == {"plateau", "poly"}


def test_the_best_is_the_highest_complete_value_of_the_curve(straight: Any) -> None:
    for rows in straight.values():
        (best,) = (row for row in rows if row["best"])
        assert best["value"] == max(
            measure(json.loads(r["settings"]), EPOCHS) for r in rows if r["state"] == "complete"
        )
        assert best["value"] > rows[0]["value"], "twelve draws find no better place than the recipe"


def test_the_sampler_learns(tmp_path: Path) -> None:
    rows = run(plan(tmp_path, trials=40, pruner="none"))
    early = np.mean([row["value"] for row in rows[1:11]])
    assert np.mean([row["value"] for row in rows[-10:]]) > early


def test_pruned_trials_stop_early_with_their_last_value_and_the_first_trials_never_do(straight: Any) -> None:
    for pruner in ("median", "hyperband"):
        rows = straight[pruner]
        assert {row["state"] for row in rows[:3]} == {"complete"}
        pruned = [row for row in rows if row["state"] == "pruned"]
        assert pruned
        for row in pruned:
            assert 1 <= row["epochs"] <= EPOCHS
            assert row["value"] == measure(json.loads(row["settings"]), row["epochs"])
            assert not row["best"]
        assert any(row["epochs"] < EPOCHS for row in pruned)
    assert {row["epochs"] for row in straight["none"]} == {EPOCHS}
    assert straight["median"] != straight["hyperband"]


def test_the_median_rule_by_hand(straight: Any) -> None:
    """Akin to Vizier's: given up where the best epoch so far lies below the median of the complete trials there."""
    rows = straight["median"]
    for row in rows[3:]:
        mine = json.loads(row["settings"])
        complete = [json.loads(one["settings"]) for one in rows[: row["trial"]] if one["state"] == "complete"]
        behind = [
            epoch
            for epoch in range(1, EPOCHS + 1)
            if measure(mine, epoch) < np.median([measure(one, epoch) for one in complete])
        ]
        assert row["epochs"] == (behind[0] if behind else EPOCHS)
        assert row["state"] == ("pruned" if behind else "complete")


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_killed_anywhere_and_resumed_equals_straight(pruner: str, place: str, straight: Any, tmp_path: Path) -> None:
    expected = straight[pruner]
    for kill in range(0, sum(row["epochs"] for row in expected), 51):
        chosen = plan(tmp_path / str(kill), pruner=pruner)

        def die(step: int, where: str, trial: Trial, kill: int = kill) -> None:
            if step == kill and where == place:
                raise KilledError

        if place == "between":
            die.between = kill  # type: ignore[attr-defined]
        with pytest.raises(KilledError):
            run(chosen, trainer(die))
        half = len(open_study(chosen).rows())
        assert half < 12
        assert run(chosen) == expected, f"killed {place} step {kill}"


def test_a_trial_that_was_cut_off_is_taken_up_with_the_settings_that_it_had(tmp_path: Path) -> None:
    seen: list[tuple[int, Any]] = []

    def work(trial: Trial) -> None:
        seen.append((trial.ordinal, trial.settings))
        if len(seen) == 5:
            raise KilledError
        trial.complete(0.5)

    with pytest.raises(KilledError):
        run(plan(tmp_path), work)
    run(plan(tmp_path), work)
    assert [ordinal for ordinal, _ in seen] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11]
    assert seen[4] == seen[5]


def test_half_a_record_at_the_journals_end_is_no_harm(straight: Any, tmp_path: Path) -> None:
    def die(step: int, where: str, trial: Trial) -> None:
        if step == 40:
            raise KilledError

    with pytest.raises(KilledError):
        run(plan(tmp_path), trainer(die))
    with (tmp_path / JOURNAL).open("ab") as stream:
        stream.write(b'{"op_code":4,"worker_id":"')
    assert run(plan(tmp_path)) == straight["median"]


def test_more_trials_go_on_where_the_study_ended_and_fewer_are_its_beginning(straight: Any, tmp_path: Path) -> None:
    first = run(plan(tmp_path, trials=5))
    assert [row | {"best": None} for row in first] == [row | {"best": None} for row in straight["median"][:5]]
    assert run(plan(tmp_path)) == straight["median"]
    assert run(plan(tmp_path, trials=5)) == first


def test_of_equal_values_the_first_is_best(tmp_path: Path) -> None:
    rows = run(plan(tmp_path, trials=4), lambda trial: trial.complete(0.25 if trial.ordinal < 1 else 0.5))
    assert [row["best"] for row in rows] == [False, True, False, False]


def test_a_trial_that_diverged_at_once_has_no_value(tmp_path: Path) -> None:
    rows = run(plan(tmp_path, trials=4), lambda t: t.give_up() if t.ordinal == 2 else t.complete(0.1 * t.ordinal))
    assert (rows[2]["state"], rows[2]["value"], rows[2]["epochs"], rows[2]["best"]) == ("pruned", None, 0, False)
    nothing = run(plan(tmp_path / "none", trials=3), lambda trial: trial.give_up())
    assert not any(row["best"] for row in nothing)


def test_own_values_may_lie_outside_the_space(tmp_path: Path) -> None:
    own = {"lr": 0.5, "aug_factor": 9, "schedule": "none"}
    rows = run(plan(tmp_path, own=own))
    assert json.loads(rows[0]["settings"]) == own
    assert all(1e-4 <= json.loads(row["settings"])["lr"] <= 1e-1 for row in rows[1:])
    pictures(rows, SPACE, "miou")


WORKER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from acinus.search.study import open_study, search
from test_tune_study import plan, trainer
import os
def slow(step, where, trial):
    with open(sys.argv[1] + "/who", "a") as stream:
        stream.write(f"{trial.ordinal} {os.getpid()}\\n")
    time.sleep(0.01)
study = open_study(plan(Path(sys.argv[1]), trials=10, storage=sys.argv[3]))
search(study, trainer(slow), join=True)
"""


@pytest.mark.parametrize("storage", ["journal", "sqlite:///{}/study.db"])
def test_two_workers_share_a_study_and_its_trials_are_as_many_as_asked_for(storage: str, tmp_path: Path) -> None:
    storage = storage.format(tmp_path)
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(Path(__file__).parent), storage]
    first, second = (subprocess.Popen(command) for _ in range(2))
    study = open_study(plan(tmp_path, trials=10, storage=storage))
    assert (first.wait(100), second.wait(100)) == (0, 0)
    rows = study.rows()
    assert study.complete
    assert [row["trial"] for row in rows] == list(range(10))
    assert json.loads(rows[0]["settings"]) == OWN
    assert len({row["settings"] for row in rows}) == 10, "two workers drew with one seed"
    hands: dict[str, set[str]] = {}
    for line in (tmp_path / "who").read_text().splitlines():
        trial, process = line.split()
        hands.setdefault(trial, set()).add(process)
    assert {len(one) for one in hands.values()} == {1}, "a trial was in two hands"
    assert len(set.union(*hands.values())) == 2, "one worker did everything"


def test_a_trial_finished_while_another_worker_looks_is_not_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen once on a busy machine: running at the first look, finished and let go of before its lock was tried."""
    chosen = plan(tmp_path, trials=3)
    with ExitStack() as held:
        begun = held.enter_context(claimed(open_study(chosen)))
        assert begun is not None
        tried = []

        def meanwhile(path: Path) -> BaseFileLock | None:
            if not tried:
                begun.complete(0.5)
                held.close()
            tried.append(path.name)
            return try_lock(path)

        monkeypatch.setattr(study_module, "try_lock", meanwhile)
        with claimed(open_study(chosen)) as other:
            assert other is not None
            assert (other.ordinal, tried) == (1, ["trial_0000.lock", "trial_0001.lock"])
            other.complete(0.25)
    rows = run(chosen)
    assert [row["state"] for row in rows] == ["complete"] * 3
    assert [row["value"] for row in rows[:2]] == [0.5, 0.25]


def test_the_one_who_waits_takes_over_from_a_worker_that_died(tmp_path: Path) -> None:
    """The run that writes the outputs finishes when all trials are finished, whoever began them."""
    chosen = plan(tmp_path, trials=3)
    dying = "import os, signal\n" + WORKER.replace("time.sleep(0.01)", "os.kill(os.getpid(), signal.SIGKILL)")
    command = [sys.executable, "-c", dying, str(tmp_path), str(Path(__file__).parent), "journal"]
    assert subprocess.run(command, check=False).returncode == -9
    assert not open_study(chosen).complete
    rows = run(chosen)
    assert [row["state"] for row in rows] == ["complete"] * 3


def test_another_tools_trials_are_left_alone(tmp_path: Path) -> None:
    study = open_study(plan(tmp_path, trials=4))
    study.optuna.add_trial(optuna.trial.create_trial(value=9.0))
    rows = run(plan(tmp_path, trials=4))
    assert [row["trial"] for row in rows] == [0, 1, 2, 3]
    assert json.loads(rows[0]["settings"]) == OWN


@pytest.mark.parametrize("url", ["nothing://who:secret@host/db", "sqlite:////no/such/folder/study.db"])
def test_a_storage_that_cannot_be_opened_is_one_line_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match=r"tune\.storage: study demo-1 in") as caught:
        open_study(plan(tmp_path, storage=url))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_whereabouts_hide_the_password() -> None:
    line = whereabouts(replace(plan(Path("x")), storage="postgresql://me:secret@db.example:5432/studies"))
    assert line == "study demo-1 in postgresql://db.example:5432/studies\n"


def test_pictures_are_png_and_the_same_each_time(straight: Any) -> None:
    rows = straight["median"]
    drawn = pictures(rows, SPACE, "miou")
    assert set(drawn) == {"history.png", "importances.png", "parallel.png", "slice.png"}
    assert drawn == pictures(rows, SPACE, "miou")
    for png in drawn.values():
        pixels = np.asarray(Image.open(BytesIO(png)).convert("RGB"))
        assert min(pixels.shape[:2]) > 200
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    few = pictures(rows[:1], SPACE, "miou")
    assert few["importances.png"] != drawn["importances.png"]


@pytest.mark.parametrize("keys", [["lr"], ["aug_factor", "lr"], sorted(SPACE)])
def test_no_picture_is_cut_off_at_its_sides(straight: Any, keys: list[str]) -> None:
    """The legend above the panels is wider than a single panel."""
    for name, png in pictures(straight["median"], {key: SPACE[key] for key in keys}, "miou").items():
        pixels = np.asarray(Image.open(BytesIO(png)).convert("RGB"))
        assert (pixels[:40, :2] == 255).all(), name
        assert (pixels[:40, -2:] == 255).all(), name


def test_importances_find_the_setting_that_matters(tmp_path: Path) -> None:
    """A value that hangs on the learning rate alone."""
    rows = run(plan(tmp_path, trials=20, pruner="none"), lambda t: t.complete(-abs(np.log10(t.settings["lr"]) + 3)))
    found = importances(rows, SPACE)
    assert next(iter(found)) == "lr"
    assert found["lr"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert importances(rows[:1], SPACE) == {}
