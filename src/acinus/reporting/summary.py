"""One row per recipe: what the summary page, reports/metrics.json and the console show."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from acinus.errors import AcinusError
from acinus.files import read_json
from acinus.reporting import wording
from acinus.reporting.figure_parts import Metrics


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


COLUMNS = ("slide_auc", "miou", "burden_mae", "qwk", "froc", "ece")
"""The figures that stand beside the main one on the summary page, a dash where a task has none."""

HEAD = ["recipe", "main figure, test split", "majority class", "colour only", "slides"]
"""The columns of the short table: one main figure per recipe, and what the baselines reach of the same."""


def main_of(row: SummaryRow) -> str:
    """Return the name of a row's main figure."""
    return wording.main_figure(row.family, row.task)


def words_of(row: SummaryRow) -> wording.Wording:
    """Return a row's main figure in words."""
    return wording.words(main_of(row), row.task, wording.classes_of(row.metrics))


def console_table(rows: list[SummaryRow]) -> str:
    """Return recipe, main figure with its interval, what the baselines reach, slides and split rule as plain text."""
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
        name, *cells = _line(recipe, metrics, wording.main_figure(family, task), task)
        lines.append([f"`{name}`", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(recipe: str, metrics: Metrics, main: str, task: str) -> list[str]:
    words = wording.words(main, task, wording.classes_of(metrics))
    kind = words.kind
    baselines = [wording.text(metrics.get(f"{main}.baseline_{name}"), kind) for name in ("majority", "colour")]
    count = wording.text(metrics.get("n_slides"), "count")
    return [recipe, f"{words.short} {_cell(metrics, main)}", *baselines, count]


def _cell(metrics: Metrics, name: str) -> str:
    value = wording.text(metrics.get(name), wording.HEADLINES[name].kind, wording.HEADLINES[name].signed)
    interval = wording.interval_text(metrics, name)
    if not interval:
        return value
    return f"{value} [{interval}]" + (f" ({wording.SEEN})" if metrics.get("n_patients_seen") else "")
