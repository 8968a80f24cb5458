"""The MLflow server: what a run keeps there, and what it costs when it is not there."""

import json
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from acinus.errors import AcinusError
from acinus.paths import home
from acinus.project.startup import without_collection
from acinus.tracking.model import save_pyfunc, send_model
from acinus.tracking.moved import ARTIFACTS, follow

_SQLITE = "sqlite:///"


class ServerError(Exception):
    """MLflow refuses a call, or cannot be reached."""


@contextmanager
def _told() -> Iterator[None]:
    """Raise what MLflow raises as a ServerError, which processes without MLflow know too."""
    with without_collection():
        from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise ServerError(str(error)) from error


class Server:
    """MLflow's client. Calls take and give plain values, so that another process can make them (recorder.py).

    Every call raises ServerError or OSError where the server is gone or refuses.
    """

    def __init__(self, uri: str, root: Path) -> None:
        """Connect; see `connect`."""
        quiet()
        self._uri, self._root = uri, root
        with _told():
            self._client = connect(uri, root)

    def connected(self) -> None:
        """Do nothing: whoever asks wants to know that it is there."""

    @_told()
    def experiment(self, name: str) -> str:
        """Return the id of an experiment, made on first use."""
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        location = (home(self._root) / ARTIFACTS / name).as_uri() if self._uri.startswith("sqlite:") else None
        try:
            return str(self._client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another stage made it in the meantime
            experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return str(experiment.experiment_id)

    @_told()
    def create_run(self, experiment: str, tags: Mapping[str, str]) -> str:
        """Open a run and return its id."""
        return str(self._client.create_run(experiment, tags=dict(tags)).info.run_id)

    @_told()
    def reopen_run(self, run_id: str) -> None:
        """Let a run that has ended run again."""
        self._client.update_run(run_id, status="RUNNING")

    @_told()
    def end_run(self, run_id: str, status: str) -> None:
        """End a run."""
        self._client.set_terminated(run_id, status)

    @_told()
    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Tag a run."""
        self._client.set_tag(run_id, key, value)

    @_told()
    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int) -> None:
        """Send metrics in one call."""
        from mlflow.entities import Metric

        at = now()
        self._client.log_batch(run_id, [Metric(key, value, at, step) for key, value in metrics.items()])

    @_told()
    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Send parameters in one call, cut where MLflow would refuse their length."""
        from mlflow.entities import Param

        self._client.log_batch(run_id, params=[Param(key, value[:6000]) for key, value in params.items()])

    @_told()
    def log_inputs(self, run_id: str, digests: Mapping[str, str], stage: str) -> None:
        """Name the data sets that a stage reads: path -> DVC's digest."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        context = [InputTag("mlflow.data.context", stage)]
        datasets = [
            Dataset(
                name=path,
                digest=md5[:36],
                source_type="local",
                source=json.dumps({"uri": path, "dvc_md5": md5}),
            )
            for path, md5 in digests.items()
        ]
        self._client.log_inputs(run_id, [DatasetInput(data, context) for data in datasets])

    @_told()
    def log_artifact(self, run_id: str, path: str, folder: str | None) -> None:
        """Copy a file, or what a folder holds, to a run."""
        log = self._client.log_artifacts if Path(path).is_dir() else self._client.log_artifact
        log(run_id, path, folder)

    @_told()
    def log_model(self, run_id: str, folder: str, experiment: str, register: str | None) -> None:
        """Record a trained model as one that MLflow can serve, and register it; see tracking.model."""
        with save_pyfunc(Path(folder), run_id) as saved:
            send_model(self._client, saved, experiment, run_id, register)


def quiet() -> None:
    """Set what mlflow reads at import: no telemetry, few retries, no chatter of its database migrations."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # failures are our one warning, not its traceback


def connect(uri: str, root: Path) -> Any:
    """Return a client; what the library warns about in its own database code is not for our users.

    A relative SQLite path is meant from the project, so that a stage run from another folder finds it.
    """
    if uri.startswith(_SQLITE) and not uri.startswith(f"{_SQLITE}/"):
        database = home(root) / uri.removeprefix(_SQLITE)
        follow(database, home(root))
        uri = f"{_SQLITE}{database}"
    with without_collection(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=uri)


def create_database(uri: str, root: Path) -> None:
    """Create the tracking database now (it takes seconds), so that no stage waits for it.

    A server that is down costs a warning here, as later.
    """
    quiet()
    from mlflow.exceptions import MlflowException

    try:
        connect(uri, root).search_experiments(max_results=1)
    except (MlflowException, OSError) as error:
        print(f"warning: tracking.uri = {uri!r}: MLflow cannot be reached ({type(error).__name__})", file=sys.stderr)


def run_artifact(uri: str, root: Path, run_id: str, artifact: str, into: Path) -> Path:
    """Download a file of a run into the folder `into` and return where it lies; for comparisons, never for a stage.

    run_id: of a stage's run, or of a pipeline's, whose latest stage run (`report` first) with that file is taken.

    Raises:
        AcinusError: no server, no such run, or no such file in it; one line.
    """
    quiet()
    from mlflow.exceptions import MlflowException

    try:
        client = connect(uri, root)
        for candidate in _candidates(client, run_id):
            folder = artifact.rpartition("/")[0] or None
            if any(kept.path == artifact for kept in client.list_artifacts(candidate, folder)):
                into.mkdir(parents=True, exist_ok=True)
                return Path(client.download_artifacts(candidate, artifact, str(into)))
    except (MlflowException, OSError) as error:
        raise AcinusError(
            f"run {run_id}: cannot be read from tracking.uri = {uri!r} ({one_line(error)}); check id and server"
        ) from error
    raise AcinusError(
        f"run {run_id}: neither it nor a stage below it has {artifact}; name a pipeline's run (or its stage report's) "
        "that has finished"
    )


def _candidates(client: Any, run_id: str) -> Iterator[str]:
    """Yield the run itself, then the stages below it: `report` before others, the latest first."""
    run = client.get_run(run_id)
    yield run_id
    stages = client.search_runs(
        [run.info.experiment_id],
        filter_string=f"tags.`mlflow.parentRunId` = '{run_id}' and tags.`acinus.kind` = 'stage'",
        order_by=["attributes.start_time DESC"],
    )
    for stage in sorted(stages, key=lambda below: below.data.tags.get("acinus.stage") != "report"):
        yield stage.info.run_id


def unreachable(uri: str, required: bool, error: BaseException) -> None:
    """Warn that the server is gone, or stop where it is required."""
    line = f"tracking.uri = {uri!r}: MLflow cannot be reached ({one_line(error)})"
    if required:
        raise AcinusError(f"params.yaml: {line}; start the server, or set tracking.required: false") from error
    print(f"warning: {line}; this run is recorded under .acinus/tracking/", file=sys.stderr)


def one_line(error: BaseException) -> str:
    """Return the beginning of an error's text on one line."""
    return " ".join(str(error).split())[:200]


def defined(metrics: Mapping[str, float | int | None]) -> dict[str, float]:
    """Return the metrics that are numbers; None and NaN are undefined."""
    return {key: float(value) for key, value in metrics.items() if value is not None and math.isfinite(value)}


def now() -> int:
    """Return the time as MLflow counts it, ms."""
    return int(time.time() * 1000)
