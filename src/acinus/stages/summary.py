"""summary: reports/summary/*.json -> reports/index.html, metrics.json and machine.json."""

from acinus.files import write_json, write_text
from acinus.metrics.registry import use_plugins
from acinus.pages.pages import summary_page
from acinus.pages.summary import console_table, read_row
from acinus.project.machine import describe
from acinus.stage import ProjectStage


def run(stage: ProjectStage) -> None:
    """Put the recipes of the run list side by side, and say what kind of machine made the figures."""
    use_plugins()
    reports = stage.root / "reports"
    rows = [read_row(reports / "summary" / f"{name}.json") for name in stage.project.recipes]
    write_text(reports / "index.html", summary_page(rows))
    write_json(reports / "metrics.json", {row.recipe: row.metrics for row in rows})
    write_json(reports / "machine.json", describe(stage.project.compute.threads))
    for row in rows:
        stage.log.log_metrics({f"{row.recipe}.{name}": value for name, value in row.metrics.items()})
    stage.log.log_artifact(reports / "index.html")
    print(console_table(rows))
