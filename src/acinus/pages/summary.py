"""One row per recipe: what the summary page, reports/metrics.json and the console show."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from acinus.errors import AcinusError
from acinus.files import read_json
from acinus.metrics.metric import Metric, Metrics
from acinus.metrics.registry import METRICS, classes_of, main_metric
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


def row_json(row: SummaryRow) -> dict[str, Any]:
    """Return a row as plain JSON values."""
    return asdict(row)


def read_row(path: Path) -> SummaryRow:
    """Read one reports/summary/<recipe>.json.

    Raises:
        AcinusError: missing, damaged, or not the fields of a SummaryRow.
    """
    data = read_json(path)
    wanted = [one.name for one in fields(SummaryRow)]
    if not isinstance(data, dict) or sorted(data) != sorted(wanted) or not isinstance(data["metrics"], dict):
        raise AcinusError(f"{path}: not a summary row (expected {', '.join(wanted)}); run the report stage again")
    return SummaryRow(**data)


def summary_metrics(rows: list[SummaryRow]) -> dict[str, Metrics]:
    """Return reports/metrics.json: {recipe: flat metrics}."""
    return {row.recipe: dict(row.metrics) for row in rows}


HEAD = ["recipe", "main metric, test split", "majority class", "colour only", "slides"]
"""The columns of the short table: one main metric per recipe, and what the baselines reach of the same."""


def main_of(row: SummaryRow) -> str:
    """Return the name of a row's main metric."""
    return main_metric(row.family, row.task)


def words_of(row: SummaryRow) -> Metric:
    """Return a row's main metric in the words of its task."""
    return METRICS[main_of(row)].worded(row.task, classes_of(row.metrics))


def console_table(rows: list[SummaryRow]) -> str:
    """Return recipe, main metric with its interval, what the baselines reach, slides and split rule as plain text."""
    told = [(_line(row.recipe, row.metrics, main_of(row), row.task), row.split_rule) for row in rows]
    lines = [[*HEAD, "split"], *([*cells, split] for cells, split in told)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown_table(rows: Mapping[str, Metrics], known: Mapping[str, tuple[str, str]]) -> str:
    """Return the console's table as the Markdown table of the README.

    `rows` is the content of reports/metrics.json, `known` gives every recipe's family and task.
    """
    lines = [HEAD, ["---"] * len(HEAD)]
    for recipe, metrics in rows.items():
        family, task = known[recipe]
        name, *cells = _line(recipe, metrics, main_metric(family, task), task)
        lines.append([f"`{name}`", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(recipe: str, metrics: Metrics, main: str, task: str) -> list[str]:
    words = METRICS[main].worded(task, classes_of(metrics))
    baselines = [wording.text(metrics.get(f"{main}.baseline_{name}"), words.unit) for name in ("majority", "colour")]
    count = wording.text(metrics.get("n_slides"), "count")
    return [recipe, f"{words.short} {_cell(metrics, main)}", *baselines, count]


def _cell(metrics: Metrics, name: str) -> str:
    value = wording.text(metrics.get(name), METRICS[name].unit, METRICS[name].signed)
    interval = wording.interval_text(metrics, name)
    if not interval:
        return value
    return f"{value} [{interval}]" + (f" ({wording.SEEN})" if metrics.get("n_patients_seen") else "")
