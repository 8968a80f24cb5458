"""The MLflow server: a client of it, and what it costs when it is not there."""

import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acinus.errors import AcinusError
from acinus.paths import home
from acinus.tracking.moved import follow

_SQLITE = "sqlite:///"


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
    """Return a client; what the library warns about in its own database code is not for our users."""
    if _is_own(uri):
        follow(home(root) / uri.removeprefix(_SQLITE), home(root))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=_absolute(uri, root))


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
    """Return the figures that are numbers; None and NaN are undefined."""
    return {key: float(value) for key, value in metrics.items() if value is not None and math.isfinite(value)}


def log_batch(client: Any, run_id: str | None, known: Mapping[str, float], step: int) -> None:
    """Send figures in one call."""
    from mlflow.entities import Metric

    at = now()
    client.log_batch(run_id, [Metric(key, value, at, step) for key, value in known.items()])


def log_params(client: Any, run_id: str, params: Mapping[str, str]) -> None:
    """Send parameters in one call, cut where MLflow would refuse their length."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, value[:6000]) for key, value in params.items()])


def now() -> int:
    """Return the time as MLflow counts it, ms."""
    return int(time.time() * 1000)


def _absolute(uri: str, root: Path) -> str:
    """Anchor a relative SQLite path at the project, so that a stage run from another folder finds it."""
    return f"{_SQLITE}{home(root) / uri.removeprefix(_SQLITE)}" if _is_own(uri) else uri


def _is_own(uri: str) -> bool:
    """Return whether a tracking URI is a database of the project's own: SQLite, by a relative path."""
    return uri.startswith(_SQLITE) and not uri.startswith(f"{_SQLITE}/")
