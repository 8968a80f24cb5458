"""tune: patch store and sample -> data/<recipe>/tune/ (best.yaml, trials, comparison, pictures) and study.log."""

import shutil
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import yaml

from acinus import records, seeds
from acinus.files import atomic_path, write_json, write_text
from acinus.params import value_of, with_values
from acinus.stage import Stage

if TYPE_CHECKING:
    from acinus.search.trials import Search

NOTHING: dict[str, float | None] = {"val": None, "test": None}


def run(stage: Stage) -> None:
    """Train with settings drawn from the recipe's space, and write which did best on the validation patches."""
    if stage.recipe.tune.trials == 0:  # the recipe's own values are the best there are
        nothing = {"objective": stage.recipe.tune.objective, "epochs": None, "untuned": NOTHING, "tuned": NOTHING}
        _write(stage, [], {}, nothing, {"none.txt": b"no search: tune.trials is 0\n"})
        write_text(stage.paths.study, "no study: tune.trials is 0\n")
        stage.log.log_metrics({"n_trials": 0})
        stage.say("tune.trials is 0: the recipe's own settings are trained")
        return
    from acinus.learning.job import open_stores
    from acinus.search.pictures import pictures  # torch only where something is trained
    from acinus.search.study import JOURNAL, open_study, search, whereabouts
    from acinus.search.trials import compare, hand_over, run_trial

    settings = _search(stage)
    sample = records.read(records.SAMPLE, stage.paths.sample, without=records.FRACTIONS)
    study = open_study(settings.plan())
    with open_stores(settings.training) as stores:
        search(study, partial(run_trial, settings, stores, sample))
        comparison = compare(settings, study, stores, sample)
    rows, measure = study.rows(), settings.objective
    best = next((row for row in rows if row["best"]), None)
    best_settings = study.settings(best["trial"]) if best and best["trial"] else {}
    _write(stage, rows, best_settings, comparison, pictures(rows, study.plan.space, comparison["objective"]))
    if study.plan.storage == "journal":  # the study's own file last
        with atomic_path(stage.paths.study) as part:
            shutil.copyfile(study.plan.folder / JOURNAL, part)
    else:
        write_text(stage.paths.study, whereabouts(study.plan))
    if hand_over(settings, study):
        stage.say("the best trial is the training that stage train is to do: its checkpoints are left there")
    stage.log.log_artifact(stage.paths.tune, "tune")
    metrics = {
        f"{kind}.{split}.{measure}": comparison[kind][split] for kind in ("untuned", "tuned") for split in NOTHING
    }
    stage.log.log_metrics({"n_trials": len(rows), **metrics})
    stage.say(
        f"{len(rows)} trials, {measure} on validation {_text(comparison['untuned']['val'])} untuned, "
        f"{_text(comparison['tuned']['val'])} tuned"
    )


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def join(stage: Stage) -> None:
    """Work on trials of the study that another process runs, until none is left to begin; write no outputs."""
    if stage.recipe.tune.trials == 0:
        stage.say("tune.trials is 0: nothing to join")
        return
    from acinus.learning.job import open_stores
    from acinus.search.study import open_study, search
    from acinus.search.trials import run_trial

    settings = _search(stage)
    sample = records.read(records.SAMPLE, stage.paths.sample, without=records.FRACTIONS)
    with open_stores(settings.training) as stores:
        search(open_study(settings.plan()), partial(run_trial, settings, stores, sample), join=True)


def _search(stage: Stage) -> "Search":
    """Return the search; its trainings have the seeds of stage train, so that the best is what train delivers."""
    from acinus.learning.device import Machine
    from acinus.learning.job import Training
    from acinus.search.trials import Search

    training = Training(
        task=stage.recipe.task,
        classes=tuple(stage.recipe.classes),
        index=stage.recipe.index,
        train=stage.recipe.train,
        machine=Machine.of(stage.project.compute),
        seed=partial(seeds.derive, stage.project.seed, "train"),
        paths=stage.paths,
    )
    return Search(
        training=training,
        tune=stage.recipe.tune,
        own={key: value_of(stage.recipe, key) for key in stage.recipe.tune.space},
        train_with=lambda values: with_values(stage.recipe, values).train,
        open_run=stage.log.child,
        say=stage.say,
    )


def _write(
    stage: Stage,
    rows: list[dict[str, Any]],
    settings: Mapping[str, Any],
    comparison: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> None:
    """Write the folder of the search. rows: records.TRIALS. settings: of the best trial. files: what else is there."""
    value = next((row["value"] for row in rows if row["best"]), None)
    with atomic_path(stage.paths.tune) as folder:
        folder.mkdir()
        best = {"objective": comparison["objective"], "trials": len(rows), "value": value, "settings": dict(settings)}
        write_text(folder / "best.yaml", yaml.safe_dump(best))
        records.write(records.TRIALS, records.frame(records.TRIALS, rows), folder / "trials.parquet")
        write_json(folder / "comparison.json", comparison)
        for name, content in files.items():
            (folder / name).write_bytes(content)
