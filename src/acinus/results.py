"""The table of results as `make demo` prints it."""

from pathlib import Path

from acinus.params import load_project
from acinus.reporting.summary import console_table, read_row


def show(root: Path) -> None:
    """Print the recipes' figures, then where the page and the tracking database are."""
    project = load_project(root)
    rows = [read_row(root / "reports" / "summary" / f"{name}.json") for name in project.recipes]
    print(console_table(rows))
    print(f"report:  {root / 'reports' / 'index.html'}")
    print(f"MLflow:  {project.tracking.uri}  (make ui)")
