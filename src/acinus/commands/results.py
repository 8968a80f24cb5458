"""The table of results, as `acinus results` prints it."""

from pathlib import Path

from acinus.files import read_json
from acinus.metrics.registry import use_plugins
from acinus.pages.summary import console_table, markdown_table, read_row
from acinus.params import load_project, load_recipe
from acinus.project import startup


def markdown(root: Path) -> str:
    """Return the README's table of results, from the metrics that are in git."""
    metrics = read_json(root / "reports" / "metrics.json")
    recipes = {name: load_recipe(root, name) for name in metrics}
    return markdown_table(metrics, {name: (recipe.family, recipe.task) for name, recipe in recipes.items()})


def show(root: Path) -> None:
    """Print the recipes' metrics, then where the page and the tracking database are."""
    project = load_project(root)
    use_plugins()
    rows = [read_row(root / "reports" / "summary" / f"{name}.json") for name in project.recipes]
    print(console_table(rows))
    print(f"report:  {root / 'reports' / 'index.html'}")
    uri = project.tracking.uri
    print(f"MLflow:  {uri}" + (f"  (mlflow ui --backend-store-uri {uri})" if "sqlite:" in uri else ""))
    cpu_s, stages = startup.total(root, project.recipes)
    if stages:
        print(f"startup: {cpu_s:.0f} s of CPU before the work of {stages} stages began, as each was run last")
