"""The trials of a search: each a training with other settings; then the best against the recipe's own."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from acinus import params, plugin_code
from acinus.code import code_digest
from acinus.files import atomic_path, write_text
from acinus.learning.checkpoints import BEST, LAST
from acinus.learning.course import DivergedError
from acinus.learning.fit import fit
from acinus.learning.job import (
    FitJob,
    FitResult,
    Stores,
    Training,
    member,
    split_data,
    training_job,
    training_key,
)
from acinus.learning.measures import measured
from acinus.params import section_hash
from acinus.params.results import Measure, Value
from acinus.plugins import Kind
from acinus.search.study import Plan, Study, Trial, best_of
from acinus.stage import ChildLog

OpenRun = Callable[[str, Mapping[str, str]], AbstractContextManager[ChildLog]]
LENGTH = {"max_epochs", "max_iterations"}
NEVER = 1_000_000_000
"""Epochs between checkpoints that are kept beside the last and the best: a trial needs no others."""


@dataclass(frozen=True)
class Search:
    """A search of settings of a training.

    train_with: settings (dotted key below train -> value) -> the section train with them. own: the recipe's
    values of the keys of the space. open_run, say: where a trial is remembered, and what a person reads.
    """

    training: Training
    tune: params.Tune
    own: Mapping[str, Value]
    train_with: Callable[[Mapping[str, Value]], params.Train]
    open_run: OpenRun
    say: Callable[[str], None]

    @property
    def objective(self) -> Measure:
        """Return the measure that the search goes by."""
        assert self.tune.objective is not None, "params: a search has an objective"
        return self.tune.objective

    def plan(self) -> Plan:
        """Return the study; its name changes with everything that a trial's result or its choice depends on."""
        tune = self.tune.model_copy(update={"trials": 0, "storage": ""})  # more trials, elsewhere: the same study
        paths = self.training.paths
        code = code_digest("acinus.search.trials") + plugin_code.digest(_plugins(tune))
        key = section_hash(tune, training_key(self.training), code)[:16]
        longest = self.train_with({}).max_epochs if self.tune.max_epochs is None else self.tune.max_epochs
        return Plan(
            name=f"{paths.recipe}-{key}",
            folder=paths.root / ".acinus" / "tune" / paths.recipe / key,
            storage=_anchored(self.tune.storage, paths.root),
            space=self.tune.space,
            own=self.own,
            trials=self.tune.trials,
            startup_trials=self.tune.startup_trials,
            pruner=self.tune.pruner,
            epochs=longest,
            seed=self.training.seed("tune"),
        )

    def with_settings(self, settings: Mapping[str, Value]) -> Training:
        """Return the training of a trial, as long as tune.max_epochs says unless its length is searched."""
        changed = {"checkpoint_every": NEVER, "members": 1, "final": "train"}
        train = self.train_with(settings).model_copy(update=changed)
        if self.tune.max_epochs is not None and not LENGTH & set(settings):
            train = train.model_copy(update={"max_epochs": self.tune.max_epochs, "max_iterations": None})
        return replace(self.training, train=train)


def _plugins(tune: params.Tune) -> Iterator[tuple[Kind, str]]:
    """Yield (kind, name) of networks and encoders that are tried, and may be plug-ins."""
    kinds: tuple[tuple[str, Kind], ...] = (("model", "network"), ("encoder", "encoder"))
    for key, kind in kinds:
        space = tune.space.get(key)
        yield from ((kind, str(name)) for name in (space.choices if isinstance(space, params.Choices) else ()))


def run_trial(search: Search, stores: Stores, sample: pd.DataFrame, trial: Trial) -> None:
    """Train a trial, go on where a kill cut it off, and finish it in the study and in its own MLflow run."""
    names = {f"train.{key}": str(value) for key, value in trial.settings.items()}
    with search.open_run(f"trial {trial.ordinal}", {"trial": str(trial.ordinal), **names}) as run:
        job = _job(search, trial.study, trial.ordinal, stores, sample)
        try:
            result = fit(
                replace(job, prune=trial.report, on_epoch=lambda epoch, values: run.log_metrics(values, step=epoch))
            )
        except DivergedError as error:
            trial.give_up()
            run.end("pruned")
            search.say(f"trial {trial.ordinal}: {error}")
        else:
            _finish(search, trial, result, run)
    _tidy(trial.study)


def _finish(search: Search, trial: Trial, result: FitResult, run: ChildLog) -> None:
    value = result.history[result.best_epoch - 1].val_measure
    assert value is not None, "a job with a measure has it in every epoch"
    if result.pruned:
        trial.give_up()
    else:
        trial.complete(value)
    state = "pruned" if result.pruned else "complete"
    run.log_metrics({search.objective: value, "best_epoch": result.best_epoch, "epochs": len(result.history)})
    run.end(state)
    chosen = ", ".join(f"{key} {value}" for key, value in sorted(trial.settings.items()))
    search.say(
        f"trial {trial.ordinal} {state}: {search.objective} {value:.4f} in epoch {result.best_epoch} of "
        f"{len(result.history)} ({chosen})"
    )


def compare(search: Search, study: Study, stores: Stores, sample: pd.DataFrame) -> dict[str, Any]:
    """Return comparison.json: the measure of the recipe's own settings and of the best, on validation and on test.

    The test patches are looked at here for the first time, when the best trial is chosen.
    """
    rows, best = study.rows(), study.best()
    test_rows = sample[sample["split"] == "test"]

    def measures(ordinal: int) -> dict[str, float | None]:
        test = None
        if rows[ordinal]["state"] == "complete":
            job = _job(search, study, ordinal, stores, sample)
            fit(job)  # finished: the weights come from its checkpoint
            test = measured(job, search.objective, split_data(search.training, stores, test_rows))
        return {"val": rows[ordinal]["value"], "test": test}

    untuned = measures(0)
    tuned = untuned if best == 0 else {"val": None, "test": None} if best is None else measures(best)
    longest = max(row["epochs"] for row in rows)
    return {"objective": search.objective, "epochs": longest, "untuned": untuned, "tuned": tuned}


def hand_over(search: Search, study: Study) -> bool:
    """Leave the best trial's checkpoints where stage train looks for its own, and return whether it did.

    Only where the trial was the very training that train is to do: train then finds it finished, as after a kill.
    """
    if (best := study.best()) is None:
        return False
    settings = study.settings(best)
    wanted = member(replace(search.training, train=search.train_with(settings)), 0).train
    whole = search.with_settings(settings).train.model_copy(update={"checkpoint_every": wanted.checkpoint_every})
    trained, checkpoints = _folder(study, best), search.training.paths.checkpoints
    if whole != wanted or not all((trained / name).is_file() for name in (LAST, BEST)):
        return False
    for name in ("key", LAST, BEST):  # without its key no checkpoint counts
        (checkpoints / name).unlink(missing_ok=True)
    for name in (LAST, BEST):
        with atomic_path(checkpoints / name) as part:
            shutil.copyfile(trained / name, part)
    write_text(checkpoints / "key", training_key(replace(search.training, train=wanted)))
    return True


def _job(search: Search, study: Study, ordinal: int, stores: Stores, sample: pd.DataFrame) -> FitJob:
    training, folder = search.with_settings(study.settings(ordinal)), _folder(study, ordinal)
    job = training_job(training, stores, sample, folder / "training_log.csv")
    return replace(job, checkpoints=folder, key=f"{job.key}-{search.objective}", measure=search.objective)


def _folder(study: Study, ordinal: int) -> Path:
    return study.plan.folder / f"trial_{ordinal:04d}"


def _tidy(study: Study) -> None:
    """Remove the checkpoints of finished trials that nobody will ask for: neither the first nor the best so far."""
    trials = study.trials()
    best = best_of(trials)
    for ordinal, trial in enumerate(trials):
        if ordinal and trial is not best and trial.state.is_finished():
            shutil.rmtree(_folder(study, ordinal), ignore_errors=True)


def _anchored(storage: str, root: Path) -> str:
    """Return the URL with a relative SQLite file meant from the project."""
    prefix = "sqlite:///"
    if storage.startswith(prefix) and not storage.startswith(prefix + "/"):
        return f"{prefix}{root / storage.removeprefix(prefix)}"
    return storage
