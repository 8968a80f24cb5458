"""One row per recipe: what the summary page, reports/metrics.json and the console show."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from acinus.errors import AcinusError
from acinus.files import read_json
from acinus.metrics.metric import Metric, Metrics
from acinus.metrics.registry import METRICS, classes_of, main_metric
from acinus.metrics.setup import SLIDES
from acinus.metrics.slides import study_metric
from acinus.pages import wording


@dataclass(frozen=True)
class SummaryRow:
    """What one recipe hands to the summary (reports/summary/<recipe>.json)."""

    recipe: str
    family: str
    task: str
    title: str
    metrics: Metrics
    report: str  # page of the recipe, relative to reports/
    split_rule: str = ""  # what decided the split, e.g. "official-1"; several joined by ", "


def read_row(path: Path) -> SummaryRow:
    """Read one reports/summary/<recipe>.json.

    Raises:
        AcinusError: missing, damaged, or not the fields of a SummaryRow.
    """
    data = read_json(path)
    names = [field.name for field in fields(SummaryRow)]
    if not isinstance(data, dict) or sorted(data) != sorted(names) or not isinstance(data["metrics"], dict):
        raise AcinusError(f"{path}: not a summary row (expected {', '.join(names)}); run the report stage again")
    return SummaryRow(**data)


HEAD = ["recipe", "main metric, unseen slides", "majority class", "colour only", "slides"]
"""The columns of the short table: one main metric per recipe, and what the baselines reach of the same."""


def main_of(family: str, task: str, metrics: Metrics) -> Metric:
    """Return a recipe's main metric in the words of its task."""
    if task == SLIDES:
        return METRICS[study_metric(metrics)]
    classes = classes_of(metrics)
    return METRICS[main_metric(family, task, classes)].worded(task, classes)


def console_table(rows: list[SummaryRow]) -> str:
    """Return recipe, main metric with its interval, what the baselines reach, slides and split rule as plain text."""
    lines = [[*HEAD, "split"]]
    lines += [[row.recipe, *_cells(row.family, row.task, row.metrics), row.split_rule] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown_table(rows: Mapping[str, Metrics], kinds: Mapping[str, tuple[str, str]]) -> str:
    """Return the console's table as the Markdown table of the README.

    `rows` is the content of reports/metrics.json, `kinds` gives every recipe's family and task.
    """
    lines = [HEAD, ["---"] * len(HEAD)]
    lines += [[f"`{recipe}`", *_cells(*kinds[recipe], metrics)] for recipe, metrics in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(family: str, task: str, metrics: Metrics) -> list[str]:
    """Return the cells of HEAD but the first."""
    main = main_of(family, task, metrics)

    def text(name: str) -> str:
        return wording.text(metrics.get(name), main.unit, main.signed)

    value = text(main.name)
    if None not in (metrics.get(f"{main.name}_ci_low"), metrics.get(f"{main.name}_ci_high")):
        value += f" [{text(f'{main.name}_ci_low')} to {text(f'{main.name}_ci_high')}]"
        value += f" ({wording.SEEN})" if metrics.get("n_patients_seen") else ""
    baselines = [text(f"{main.name}.baseline_{name}") for name in ("majority", "colour")]
    return [f"{main.short} {value}", *baselines, wording.text(metrics.get("n_slides"), "count")]
