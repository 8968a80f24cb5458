"""What MLflow remembers of a stage execution. The only package that imports mlflow.

Files are the truth: a tracking server that is down costs a warning and a local record, never the work
(unless `tracking.required`). Summaries, pictures and models go there, never stores.
"""

from acinus.tracking.runs import Child, Run, RunFacts, stage_run
from acinus.tracking.server import create_database, run_artifact

__all__ = ["Child", "Run", "RunFacts", "create_database", "run_artifact", "stage_run"]
