"""What a run keeps, fetched back: for a comparison of runs, never for a stage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acinus.errors import AcinusError
from acinus.tracking.server import connect, one_line, quiet


def run_artifact(uri: str, root: Path, run_id: str, artifact: str, into: Path) -> Path:
    """Download a file of a run into the folder `into` and return where it lies.

    run_id: of a stage's run, or of a pipeline's, whose latest stage run (`report` first) with that file is taken.

    Raises:
        AcinusError: no server, no such run, or no such file in it; one line.
    """
    quiet()
    from mlflow.exceptions import MlflowException

    try:
        client = connect(uri, root)
        for one in _candidates(client, run_id):
            folder = artifact.rpartition("/")[0] or None
            if any(found.path == artifact for found in client.list_artifacts(one, folder)):
                into.mkdir(parents=True, exist_ok=True)
                return Path(client.download_artifacts(one, artifact, str(into)))
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
    below = client.search_runs(
        [run.info.experiment_id],
        filter_string=f"tags.`mlflow.parentRunId` = '{run_id}' and tags.`acinus.kind` = 'stage'",
        order_by=["attributes.start_time DESC"],
    )
    for one in sorted(below, key=lambda found: found.data.tags.get("acinus.stage") != "report"):
        yield one.info.run_id
