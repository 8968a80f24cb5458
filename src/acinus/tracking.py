"""What MLflow remembers of a stage execution. The only module that imports mlflow.

Files are the truth: a tracking server that is down costs a warning and a local record, never the work
(unless `tracking.required`). One run per stage execution, child of the pipeline's run, in the recipe's
experiment; summaries and pictures go there, never stores.
"""

import json
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acinus.dvc_process import pipeline_key
from acinus.errors import AcinusError
from acinus.files import write_json
from acinus.lineage import Input

PARENT, NAME = "mlflow.parentRunId", "mlflow.runName"


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


@dataclass
class Run:
    """The open record of one stage execution. Every `log_*` is safe to call with no server there."""

    facts: RunFacts
    run_id: str | None = None
    parent_id: str | None = None
    _client: Any = None
    _local: dict[str, Any] = field(default_factory=lambda: {"metrics": [], "shared": {}, "artifacts": []})

    def log_metrics(self, metrics: Mapping[str, float | int | None], step: int = 0) -> None:
        """Record figures in one batch; an undefined figure (None) is left out."""
        known = _defined(metrics)
        self._local["metrics"].append({"step": step, **known})
        if self._client is not None and known:
            self._send(lambda: self._log_batch(known, step))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a small file or a folder of pictures to the run."""
        self._local["artifacts"].append(str(path))
        if self._client is not None:
            send = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
            self._send(lambda: send(self.run_id, str(path), folder))

    def share_metrics(self, metrics: Mapping[str, float | int | None]) -> None:
        """Put the final figures on the pipeline's run as well, where runs are compared."""
        known = _defined(metrics)
        self._local["shared"].update(known)
        if self._client is not None and self.parent_id and known:
            self._send(lambda: self._log_batch(known, 0, self.parent_id))

    def _log_batch(self, known: Mapping[str, float], step: int, run_id: str | None = None) -> None:
        from mlflow.entities import Metric

        now = _now()
        self._client.log_batch(run_id or self.run_id, [Metric(k, v, now, step) for k, v in known.items()])

    def _send(self, call: Any) -> None:
        """Make one call; when the server is gone, warn once and go on with the local record."""
        from mlflow.exceptions import MlflowException

        try:
            call()
        except (MlflowException, OSError) as error:
            self._client = None
            _unreachable(self.facts, error)


def _defined(metrics: Mapping[str, float | int | None]) -> dict[str, float]:
    """Return the figures that are numbers; None and NaN are undefined."""
    return {key: float(value) for key, value in metrics.items() if value is not None and math.isfinite(value)}


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
        if run._client is not None:
            run._send(lambda: _close(run, status))
        if run._client is None:
            _write_local(run, status)


def _open(run: Run) -> None:
    """Create the run (and the pipeline's, when this is its first stage) with params, tags and inputs."""
    facts = run.facts
    _quiet()
    from mlflow.exceptions import MlflowException

    try:
        client = _connect(facts.uri, facts.root)
        _end_killed(client, facts)
        experiment = _experiment(client, facts)
        run.parent_id = _parent(client, experiment, facts)
        tags = {**facts.tags, NAME: facts.stage}
        above = run.parent_id or os.environ.get("MLFLOW_RUN_ID")  # by hand: the run of `mlflow run`, if any
        if above:
            tags[PARENT] = above
        run.run_id = client.create_run(experiment, tags=tags).info.run_id
        write_json(_open_memo(facts), [run.run_id, run.parent_id])
        _describe(client, run.run_id, facts)
        run._client = client
    except (MlflowException, OSError) as error:
        run.run_id = None
        _unreachable(facts, error)


def _close(run: Run, status: str) -> None:
    run._client.set_terminated(run.run_id, status)
    if run.parent_id:  # nobody tells the last stage that it is the last: each one closes, the next opens again
        run._client.set_terminated(run.parent_id, status)
    _open_memo(run.facts).unlink(missing_ok=True)


def _open_memo(facts: RunFacts) -> Path:
    """Return the file that names the runs which an execution of this stage has open."""
    return facts.root / ".acinus" / "open" / f"{facts.experiment}-{facts.stage}.json"


def _end_killed(client: Any, facts: RunFacts) -> None:
    """End as KILLED what an earlier execution of this stage left open: a stage runs once at a time, so it is gone."""
    from mlflow.exceptions import MlflowException

    memo = _open_memo(facts)
    if memo.exists():
        for run_id in json.loads(memo.read_text(encoding="utf-8")):
            with suppress(MlflowException):  # gone with a deleted database
                if run_id:
                    client.set_terminated(run_id, "KILLED")
        memo.unlink()


def _quiet() -> None:
    """Set what mlflow reads at import: no telemetry, few retries, no chatter of its database migrations."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # failures are our one warning, not its traceback


def _connect(uri: str, root: Path) -> Any:
    """Return a client; what the library warns about in its own database code is not for our users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=_absolute(uri, root))


def _absolute(uri: str, root: Path) -> str:
    """Anchor a relative SQLite path at the project, so that a stage run from another folder finds it."""
    prefix = "sqlite:///"
    if uri.startswith(prefix) and not uri.startswith(prefix + "/"):
        return f"{prefix}{_home(root) / uri.removeprefix(prefix)}"
    return uri


def _home(root: Path) -> Path:
    """Return the project itself for a copy that `dvc exp run --temp` or `--queue` works in and deletes."""
    return next((above.parent for above in root.parents if above.name == ".dvc"), root)


def _experiment(client: Any, facts: RunFacts) -> str:
    """Return the id of the recipe's experiment, made on first use."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(facts.experiment)
    if found is not None:
        return str(found.experiment_id)
    location = (
        (_home(facts.root) / "mlartifacts" / facts.experiment).as_uri() if facts.uri.startswith("sqlite:") else None
    )
    try:
        return str(client.create_experiment(facts.experiment, artifact_location=location))
    except MlflowException:  # another stage made it in the meantime
        found = client.get_experiment_by_name(facts.experiment)
        if found is None:
            raise
        return str(found.experiment_id)


def _parent(client: Any, experiment: str, facts: RunFacts) -> str | None:
    """Return the pipeline's run for this experiment: one per `dvc repro`, none for a stage run by hand.

    The pipeline is the dvc process above this one; its id and start time name a small file that the
    stages of one execution share.
    """
    from mlflow.entities import RunStatus
    from mlflow.exceptions import MlflowException

    pipeline = pipeline_key()
    if pipeline is None:
        return None
    memo = facts.root / ".acinus" / "pipelines" / f"{pipeline}-{facts.experiment}.json"
    if memo.exists():
        parent = str(json.loads(memo.read_text(encoding="utf-8"))["run_id"])
        with suppress(MlflowException):  # the run is gone when the database was deleted meanwhile: open a new one
            client.update_run(parent, status=RunStatus.to_string(RunStatus.RUNNING))
            return parent
    tags = {
        **{k: v for k, v in facts.tags.items() if k != "acinus.stage"},
        NAME: os.environ.get("DVC_EXP_NAME") or time.strftime("pipeline %Y-%m-%d %H:%M:%S"),
        "acinus.kind": "pipeline",
    }
    if os.environ.get("MLFLOW_RUN_ID"):  # started by `mlflow run`: that run is above ours
        tags[PARENT] = os.environ["MLFLOW_RUN_ID"]
    parent = str(client.create_run(experiment, tags=tags).info.run_id)
    _log_params(client, parent, facts)
    write_json(memo, {"run_id": parent})
    return parent


def _log_params(client: Any, run_id: str, facts: RunFacts) -> None:
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, value[:6000]) for key, value in facts.params.items()])


def _describe(client: Any, run_id: str, facts: RunFacts) -> None:
    """Log the parameters, and the data sets that the stage reads, each with DVC's digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    _log_params(client, run_id, facts)
    known = [one for one in facts.inputs if one.md5]
    client.log_inputs(
        run_id,
        [
            DatasetInput(
                Dataset(
                    name=one.path,
                    digest=str(one.md5)[:36],
                    source_type="local",
                    source=json.dumps({"uri": one.path, "dvc_md5": one.md5}),
                ),
                [InputTag("mlflow.data.context", facts.stage)],
            )
            for one in known
        ],
    )


def _unreachable(facts: RunFacts, error: BaseException) -> None:
    line = f"tracking.uri = {facts.uri!r}: MLflow cannot be reached ({' '.join(str(error).split())[:200]})"
    if facts.required:
        raise AcinusError(f"params.yaml: {line}; start the server, or set tracking.required: false") from error
    print(f"warning: {line}; this run is recorded under .acinus/tracking/", file=sys.stderr)


def _write_local(run: Run, status: str) -> None:
    facts = run.facts
    name = f"{facts.experiment}-{facts.stage}-{_now()}.json"
    record = {
        "experiment": facts.experiment,
        "stage": facts.stage,
        "status": status,
        "params": dict(facts.params),
        "tags": dict(facts.tags),
        "inputs": [{"path": one.path, "md5": one.md5} for one in facts.inputs],
        **run._local,
    }
    write_json(facts.root / ".acinus" / "tracking" / name, record)


def create_database(uri: str, root: Path) -> None:
    """Create the tracking database now (it takes seconds), so that no stage waits for it.

    A server that is down costs a warning here, as later.
    """
    _quiet()
    from mlflow.exceptions import MlflowException

    try:
        _connect(uri, root).search_experiments(max_results=1)
    except (MlflowException, OSError) as error:
        print(f"warning: tracking.uri = {uri!r}: MLflow cannot be reached ({type(error).__name__})", file=sys.stderr)


def _now() -> int:
    return int(time.time() * 1000)
