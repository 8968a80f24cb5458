"""Runs below a stage's run: one per trial of a study."""

from collections.abc import Callable, Mapping
from typing import Any

from acinus.tracking.server import defined, log_batch, log_params

STATUS = {"complete": "FINISHED", "pruned": "KILLED"}
"""State of a trial -> status of its run; any other state is FAILED."""


class Child:
    """The open record of one trial; safe to use with no server there."""

    def __init__(self, record: dict[str, Any], send: Callable[[Callable[[Any], None]], None]) -> None:
        """record: what is kept locally. send: makes a call with the client, if the server is there."""
        self.run_id: str | None = None
        self._record, self._send = record, send

    def log_metrics(self, metrics: Mapping[str, float | int | None], step: int = 0) -> None:
        """Record figures of one step (an epoch); an undefined figure (None) is left out."""
        known = defined(metrics)
        self._record["metrics"].append({"step": step, **known})
        if known and self.run_id:
            self._send(lambda client: log_batch(client, self.run_id, known, step))

    def end(self, state: str) -> None:
        """Close the record as complete, pruned or fail; the first call decides."""
        if self._record["state"] is not None:
            return
        self._record["state"] = state
        if self.run_id:
            self._send(lambda client: self._close(client, state))

    def _close(self, client: Any, state: str) -> None:
        client.set_tag(self.run_id, "acinus.trial_state", state)
        client.set_terminated(self.run_id, STATUS.get(state, "FAILED"))


def create_child(client: Any, experiment: str, tags: Mapping[str, str], params: Mapping[str, str]) -> str:
    """Create the run of one trial and return its id."""
    run_id = str(client.create_run(experiment, tags=dict(tags)).info.run_id)
    log_params(client, run_id, params)
    return run_id
