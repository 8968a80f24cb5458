"""A search of settings as an Optuna study that several processes share and that survives a kill.

A trial is claimed under a lock of the study's folder and held by a lock of its own, which the system lets
go with its process: a RUNNING trial whose lock is free was cut off, and the next worker takes it up where
it stood. So no trial fails and none is skipped, a trial's number is its ordinal (what its random numbers
and Hyperband's bracket come from), and a study killed and resumed equals an unbroken one. Workers must see
the same folder, whatever keeps the study.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from acinus.errors import AcinusError
from acinus.files import file_lock, try_lock
from acinus.params.results import Choices, Space, Value
from acinus.seeds import derive

if TYPE_CHECKING:
    from filelock import BaseFileLock

JOURNAL = "journal.log"
WAIT_S = 0.5
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
SETTINGS = "settings"
"""User attribute of a trial: JSON of all its settings, also of those that lie outside the space."""


@dataclass(frozen=True)
class Plan:
    """What a study is. own: the recipe's own value of every key of the space. epochs: most of a trial."""

    name: str
    folder: Path
    storage: str
    space: Mapping[str, Space]
    own: Mapping[str, Value]
    trials: int
    startup_trials: int
    pruner: Literal["median", "hyperband", "none"]
    epochs: int
    seed: int


@dataclass(frozen=True)
class Study:
    """An open study."""

    plan: Plan
    optuna: optuna.Study

    def trials(self) -> list[FrozenTrial]:
        """Return the study's trials, as many as it is to have, by number; those of other tools are left out."""
        ours = [trial for trial in self.optuna.get_trials(deepcopy=False) if SETTINGS in trial.user_attrs]
        return sorted(ours, key=lambda trial: trial.number)[: self.plan.trials]

    @property
    def complete(self) -> bool:
        """Whether all trials are finished."""
        trials = self.trials()
        return len(trials) == self.plan.trials and all(trial.state.is_finished() for trial in trials)

    def settings(self, ordinal: int) -> dict[str, Value]:
        """Return all settings of a trial."""
        settings: dict[str, Value] = json.loads(self.trials()[ordinal].user_attrs[SETTINGS])
        return settings

    def rows(self) -> list[dict[str, Any]]:
        """Return rows of records.TRIALS of the finished trials."""
        finished = [trial for trial in self.trials() if trial.state in STATES]
        best = best_of(finished)
        return [
            {
                "trial": ordinal,
                "state": STATES[trial.state],
                "value": trial.value,
                "epochs": trial.last_step or 0,
                "settings": trial.user_attrs[SETTINGS],
                "best": trial is best,
            }
            for ordinal, trial in enumerate(finished)
        ]

    def best(self) -> int | None:
        """Return which of the finished trials is best, None without a complete one."""
        return next((row["trial"] for row in self.rows() if row["best"]), None)


@dataclass(frozen=True)
class Trial:
    """A trial under way in this process. number: in the study; ordinal: among the trials of the plan."""

    study: Study
    number: int
    ordinal: int
    settings: Mapping[str, Value]

    def report(self, epoch: int, value: float) -> bool:
        """Record an epoch's measure (from 1) and return whether the trial is given up after it.

        An epoch from before a kill has been judged then, unless it is the newest: that is judged again.
        """
        study = self.study.optuna
        reported = self._frozen().intermediate_values
        if reported and epoch < max(reported):
            return False
        if epoch not in reported:
            optuna.trial.Trial(study, self._frozen()._trial_id).report(value, step=epoch)
        given_up = study.pruner.prune(study, self._frozen())  # asked always: Hyperband remembers who passed
        return given_up and self.ordinal >= self.study.plan.startup_trials

    def complete(self, value: float) -> None:
        """Finish the trial with its value."""
        self.study.optuna.tell(self.number, value)

    def give_up(self) -> None:
        """Finish the trial as pruned; its value is that of its last epoch."""
        self.study.optuna.tell(self.number, state=TrialState.PRUNED)

    def _frozen(self) -> FrozenTrial:
        return next(trial for trial in self.study.optuna.get_trials(deepcopy=False) if trial.number == self.number)


def open_study(plan: Plan) -> Study:
    """Open the plan's study, or begin it. AcinusError: the storage cannot be opened."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan.folder.mkdir(parents=True, exist_ok=True)
    with file_lock(plan.folder / "study.lock"):
        storage = _storage(plan)
        study = optuna.create_study(
            storage=storage, study_name=plan.name, direction="maximize", load_if_exists=True, pruner=_pruner(plan)
        )
    return Study(plan, study)


def search(
    study: Study, work: Callable[[Trial], None], *, join: bool = False, wait: Callable[[float], None] = time.sleep
) -> None:
    """Work on trials until the study has them all; `join`: until none is left to begin.

    work: trains the trial and finishes it with `complete` or `give_up`.
    """
    while True:
        with claimed(study) as trial:
            if trial is not None:
                work(trial)
                continue
        if join or study.complete:
            return
        wait(WAIT_S)  # another worker has the last trials


@contextmanager
def claimed(study: Study) -> Iterator[Trial | None]:
    """Give the next trial, this process's own within the block; None when all are finished or in other hands."""
    with file_lock(study.plan.folder / "study.lock"):
        trial, lock = _claim(study)
    try:
        yield trial
    finally:
        if lock is not None:
            lock.release()


def best_of(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial of the highest value, the first of equals; None without any."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def whereabouts(plan: Plan) -> str:
    """Return one line that says where a study outside the project lies, without the password of its URL."""
    parts = urlsplit(plan.storage)
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return f"study {plan.name} in {place}\n"


def _claim(study: Study) -> "tuple[Trial | None, BaseFileLock | None]":
    """Return a trial that was cut off, or a new one, and the lock that holds it."""
    trials = study.trials()
    for ordinal, trial in enumerate(trials):
        if trial.state == TrialState.RUNNING and (lock := try_lock(_trial_lock(study, trial.number))) is not None:
            if study.trials()[ordinal].state == TrialState.RUNNING:
                return Trial(study, trial.number, ordinal, json.loads(trial.user_attrs[SETTINGS])), lock
            lock.release()  # its worker finished it after the first look and before it let go of the lock
    if len(trials) >= study.plan.trials:
        return None, None
    settings, params, space = _settings(study, len(trials))
    before = {trial.number for trial in study.optuna.get_trials(deepcopy=False)}
    study.optuna.add_trial(  # in one record: a trial is there with all its settings, or not at all
        optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions=space,
            user_attrs={SETTINGS: json.dumps(settings, sort_keys=True)},
        )
    )
    number = next(trial.number for trial in study.optuna.get_trials(deepcopy=False) if trial.number not in before)
    return Trial(study, number, len(trials), settings), try_lock(_trial_lock(study, number))


def _settings(study: Study, ordinal: int) -> tuple[dict[str, Value], dict[str, Value], dict[str, BaseDistribution]]:
    """Return all settings of a new trial, and those inside the space with their distributions.

    The first trial has the recipe's own values; what lies outside the space Optuna does not hear of. Others
    are drawn from the finished trials and a seed of their own, so nothing hangs on who draws or when.
    """
    plan = study.plan
    space = {key: distribution(plan.space[key]) for key in sorted(plan.space)}
    if ordinal == 0:
        within = {key: plan.own[key] for key in space if inside(plan.own[key], plan.space[key])}
        return dict(plan.own), within, {key: space[key] for key in within}
    sampler = optuna.samplers.TPESampler(
        seed=derive(plan.seed, "trial", ordinal) % 2**32,
        n_startup_trials=plan.startup_trials,
        multivariate=True,
        constant_liar=False,
    )
    blank = optuna.trial.create_trial(state=TrialState.WAITING)
    drawn = sampler.sample_relative(study.optuna, blank, space)
    for key in space:
        if key not in drawn:
            drawn[key] = sampler.sample_independent(study.optuna, blank, key, space[key])
    values = {key: readable(drawn[key], plan.space[key]) for key in space}
    return values, values, space


def _pruner(plan: Plan) -> BasePruner:
    if plan.pruner == "median":
        return MedianPruner(n_startup_trials=plan.startup_trials)
    if plan.pruner == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=plan.epochs, reduction_factor=3)
    return NopPruner()


def _storage(plan: Plan) -> BaseStorage:
    if plan.storage == "journal":
        path = plan.folder / JOURNAL
        _drop_half_line(path)
        lock: Any = file_lock(plan.folder / "journal.lock")  # Optuna's own would stay for half a minute after a kill
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    try:
        return RDBStorage(plan.storage)
    except (ArgumentError, NoSuchModuleError, SQLAlchemyError, ImportError) as error:
        reason = " ".join(str(error).split())[:200].replace(plan.storage, "")
        raise AcinusError(
            f"tune.storage: {whereabouts(plan).strip()} cannot be opened ({reason}); give the URL of a database "
            "that is there, or journal"
        ) from error


def _drop_half_line(path: Path) -> None:
    """Cut off what a kill left of a record at the journal's end, before the next one is written behind it."""
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _trial_lock(study: Study, number: int) -> Path:
    return study.plan.folder / f"trial_{number:04d}.lock"


def distribution(space: Space) -> BaseDistribution:
    """Return the space as Optuna draws from it."""
    if isinstance(space, Choices):
        return CategoricalDistribution(space.choices)
    if space.whole:
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)


def inside(value: Value, space: Space) -> bool:
    """Return whether a value of the recipe is one that the space could give."""
    if isinstance(space, Choices):
        return any(value == choice and type(value) is type(choice) for choice in space.choices)
    return isinstance(value, int | float) and not isinstance(value, bool) and space.low <= value <= space.high


def readable(value: Value, space: Space) -> Value:
    """Return a drawn number with six digits, still within the space, for people read it in a recipe."""
    if isinstance(space, Choices) or not isinstance(value, float):
        return value
    return min(max(float(f"{value:.6g}"), space.low), space.high)
