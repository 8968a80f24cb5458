"""The table of results as `make demo` prints it."""

from pathlib import Path

from acinus.files import read_json
from acinus.params import load_project
from acinus.reporting.summary import console_table, markdown_table, read_row


def markdown(root: Path) -> str:
    """Return the README's table of results, from the figures that are in git."""
    return markdown_table(read_json(root / "reports" / "metrics.json"))


def show(root: Path) -> None:
    """Print the recipes' figures, then where the page and the tracking database are."""
    project = load_project(root)
    rows = [read_row(root / "reports" / "summary" / f"{name}.json") for name in project.recipes]
    print(console_table(rows))
    print(f"report:  {root / 'reports' / 'index.html'}")
    print(f"MLflow:  {project.tracking.uri}  (make ui)")
