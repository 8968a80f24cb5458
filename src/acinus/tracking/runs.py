"""One run per stage execution, child of the pipeline's run, in the recipe's experiment; trials and models below it."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from acinus.errors import AcinusError
from acinus.files import write_json
from acinus.project.dvc_process import pipeline_key
from acinus.project.lineage import Input
from acinus.tracking import recorder
from acinus.tracking.open_runs import end_killed, remember
from acinus.tracking.server import ServerError, defined, now, one_line, unreachable

PARENT, NAME = "mlflow.parentRunId", "mlflow.runName"
STATUS = {"complete": "FINISHED", "pruned": "KILLED"}
"""State of a trial -> status of its run; any other state is FAILED."""

Metrics = Mapping[str, float | int | None]


@dataclass(frozen=True)
class RunFacts:
    """What identifies a stage execution: where it is recorded and what it ran on."""

    root: Path
    uri: str
    required: bool
    experiment: str
    stage: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    inputs: tuple[Input, ...]
    register: str | None = None  # the name under which a trained model is registered

    @property
    def note(self) -> Path:
        """The file that names the runs which this execution has open."""
        return self.root / ".acinus" / "running" / f"{self.experiment}-{self.stage}.json"


class Child:
    """The open record of one trial; safe to use with no server there."""

    def __init__(self, record: dict[str, Any], send: Callable[[Callable[[Any], None]], None]) -> None:
        """record: what is kept locally. send: makes a call to the server, if it is there."""
        self.run_id: str | None = None
        self._record, self._send = record, send

    def log_metrics(self, metrics: Metrics, step: int = 0) -> None:
        """Record metrics of one step (an epoch); an undefined metric (None) is left out."""
        values = defined(metrics)
        self._record["metrics"].append({"step": step, **values})
        if values and self.run_id:
            self._send(lambda server: server.log_metrics(self.run_id, values, step))

    def end(self, state: str) -> None:
        """Close the record as complete, pruned or fail; the first call decides."""
        if self._record["state"] is None:
            self._record["state"] = state
            if self.run_id:
                self._send(lambda server: server.set_tag(self.run_id, "acinus.trial_state", state))
                self._send(lambda server: server.end_run(self.run_id, STATUS.get(state, "FAILED")))


def _nothing() -> dict[str, Any]:
    return {"metrics": [], "shared": {}, "artifacts": [], "children": [], "models": [], "shared_params": {}}


@dataclass
class Run:
    """The open record of one stage execution. Every `log_*` is safe to call with no server there."""

    facts: RunFacts
    run_id: str | None = None
    parent_id: str | None = None
    _server: Any = None
    _experiment_id: str | None = None
    _open_children: list[str] = field(default_factory=list)
    _local: dict[str, Any] = field(default_factory=_nothing)

    def log_metrics(self, metrics: Metrics, step: int = 0) -> None:
        """Record metrics in one batch; an undefined metric (None) is left out."""
        values = defined(metrics)
        self._local["metrics"].append({"step": step, **values})
        if values:
            self._send(lambda server: server.log_metrics(self.run_id, values, step))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a small file or a folder of pictures to the run."""
        self._local["artifacts"].append(str(path))
        self._send(lambda server: server.log_artifact(self.run_id, str(path.resolve()), folder))

    def share_metrics(self, metrics: Metrics) -> None:
        """Put the final metrics on the pipeline's run as well, where runs are compared."""
        values = defined(metrics)
        self._local["shared"].update(values)
        if self.parent_id and values:
            self._send(lambda server: server.log_metrics(self.parent_id, values, 0))

    def share_params(self, params: Mapping[str, str]) -> None:
        """Put what was settled on the way (the best settings of a search) on this run and the pipeline's."""
        self._local["shared_params"].update(params)
        for run_id in (self.run_id, self.parent_id):
            if run_id and params:
                self._send(partial(_log_params, run_id=run_id, params=params))

    @contextmanager
    def child(self, name: str, params: Mapping[str, str]) -> Iterator[Child]:
        """Open a run below this one (a trial); it ends as `end` says, complete, or fail when the block raises."""
        record: dict[str, Any] = {"name": name, "params": dict(params), "metrics": [], "state": None}
        self._local["children"].append(record)
        child = Child(record, self._send)
        tags = {"acinus.kind": "trial", "acinus.stage": self.facts.stage, NAME: name, PARENT: str(self.run_id)}
        tags |= {key: self.facts.tags[key] for key in ("acinus.recipe",) if key in self.facts.tags}

        def begin(server: Any) -> None:
            run_id = server.create_run(str(self._experiment_id), tags)
            server.log_params(run_id, params)
            child.run_id = run_id
            self._open_children.append(run_id)
            self.remember()

        self._send(begin)
        try:
            yield child
            child.end("complete")
        finally:
            child.end("fail")
            if child.run_id in self._open_children:
                self._open_children.remove(child.run_id)
                self.remember()

    def log_model(self, folder: Path) -> None:
        """Record a trained model's folder as a model that MLflow can serve, and register it; see tracking.model.

        What fails costs a warning, never the work (unless `tracking.required`).
        """
        self._local["models"].append(str(folder))
        if self._server is None:
            return
        try:
            self._server.log_model(
                str(self.run_id), str(folder.resolve()), str(self._experiment_id), self.facts.register
            )
        except (ServerError, OSError) as error:
            line = f"tracking.uri = {self.facts.uri!r}: the model cannot be recorded ({one_line(error)})"
            if self.facts.required:
                raise AcinusError(f"params.yaml: {line}; mend the server, or set tracking.required: false") from error
            print(f"warning: {line}; its files are in {folder}", file=sys.stderr)

    def remember(self) -> None:
        """Note which runs are open, for the next execution to end if this one is killed."""
        remember(self.facts.note, [self.run_id, self.parent_id, *self._open_children])

    def _send(self, call: Callable[[Any], None]) -> None:
        """Make one call; when the server is gone, warn once and go on with the local record."""
        if self._server is None:
            return
        try:
            call(self._server)
        except (ServerError, OSError) as error:
            self._server = None
            unreachable(self.facts.uri, self.facts.required, error)


def _log_params(server: Any, run_id: str, params: Mapping[str, str]) -> None:
    server.log_params(run_id, params)


@contextmanager
def stage_run(facts: RunFacts) -> Iterator[Run]:
    """Open the record of a stage execution; it ends FINISHED, or FAILED when the block raises."""
    run = Run(facts)
    _open(run)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    finally:
        run._send(lambda server: _close(server, run, status))
        if run._server is None:
            _write_local(run, status)


def _open(run: Run) -> None:
    """Create the run (and the pipeline's, when this is its first stage) with params, tags and inputs."""
    facts = run.facts
    try:
        server = recorder.connect(facts.uri, facts.root)
        end_killed(server, facts.note)
        run._experiment_id = server.experiment(facts.experiment)
        run.parent_id = _parent(server, run._experiment_id, facts)
        tags = {**facts.tags, NAME: facts.stage}
        above = run.parent_id or os.environ.get("MLFLOW_RUN_ID")  # by hand: the run of `mlflow run`, if any
        if above:
            tags[PARENT] = above
        run.run_id = server.create_run(run._experiment_id, tags)
        run.remember()
        server.log_params(run.run_id, facts.params)
        server.log_inputs(run.run_id, {data.path: data.md5 for data in facts.inputs if data.md5}, facts.stage)
        run._server = server
    except (ServerError, OSError) as error:
        run.run_id = None
        unreachable(facts.uri, facts.required, error)


def _close(server: Any, run: Run, status: str) -> None:
    server.end_run(run.run_id, status)
    if run.parent_id:  # nobody tells the last stage that it is the last: each one closes, the next opens again
        server.end_run(run.parent_id, status)
    run.facts.note.unlink(missing_ok=True)


def _parent(server: Any, experiment: str, facts: RunFacts) -> str | None:
    """Return the pipeline's run for this experiment: one per `dvc repro`, none for a stage run by hand.

    The pipeline is the dvc process above this one; its id and start time name a small file that the
    stages of one execution share.
    """
    pipeline = pipeline_key()
    if pipeline is None:
        return None
    memo = facts.root / ".acinus" / "pipelines" / f"{pipeline}-{facts.experiment}.json"
    if memo.exists():
        parent = str(json.loads(memo.read_text(encoding="utf-8"))["run_id"])
        with suppress(ServerError):  # the run is gone when the database was deleted meanwhile: open a new one
            server.reopen_run(parent)
            return parent
    tags = {
        **{key: value for key, value in facts.tags.items() if key != "acinus.stage"},
        NAME: os.environ.get("DVC_EXP_NAME") or time.strftime("pipeline %Y-%m-%d %H:%M:%S"),
        "acinus.kind": "pipeline",
    }
    if os.environ.get("MLFLOW_RUN_ID"):  # started by `mlflow run`: that run is above ours
        tags[PARENT] = os.environ["MLFLOW_RUN_ID"]
    parent = str(server.create_run(experiment, tags))
    server.log_params(parent, facts.params)
    write_json(memo, {"run_id": parent})
    return parent


def _write_local(run: Run, status: str) -> None:
    facts = run.facts
    record = {
        "experiment": facts.experiment,
        "stage": facts.stage,
        "status": status,
        "params": dict(facts.params),
        "tags": dict(facts.tags),
        "inputs": [{"path": data.path, "md5": data.md5} for data in facts.inputs],
        **run._local,
    }
    write_json(facts.root / ".acinus" / "tracking" / f"{facts.experiment}-{facts.stage}-{now()}.json", record)
