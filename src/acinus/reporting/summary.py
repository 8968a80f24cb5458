"""One row per recipe: what the summary page, reports/metrics.json and the console show."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from acinus.errors import AcinusError
from acinus.files import read_json
from acinus.reporting import wording
from acinus.reporting.metrics import Metrics


@dataclass(frozen=True)
class SummaryRow:
    """What one recipe hands to the summary (reports/summary/<recipe>.json)."""

    recipe: str
    family: str
    task: str
    title: str
    metrics: Metrics
    report: str  # page of the recipe, relative to reports/


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


CONSOLE = ("patch_auc", "slide_auc", "dice_mean_tumor", "burden_mae")
"""The figures that fit a terminal."""

COLUMNS = ("patch_auc", "within_slide_auc_mean", "slide_auc", "dice_mean_tumor", "dice_pooled", "burden_mae")
"""The figures that fit the summary page."""


def console_table(rows: list[SummaryRow]) -> str:
    """Return the headline figures of all recipes as plain text, with 95 % intervals where there are any."""
    names = [name for name in CONSOLE if any(name in row.metrics for row in rows)]
    lines = [["recipe", *(wording.HEADLINES[name].short for name in names), "slides"]]
    for row in rows:
        cells = [_cell(row.metrics, name) for name in names]
        lines.append([row.recipe, *cells, wording.text(row.metrics.get("n_slides"), "count")])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown_table(rows: dict[str, Metrics]) -> str:
    """Return the console's figures as the Markdown table of the README, from reports/metrics.json's content."""
    names = [name for name in CONSOLE if any(name in metrics for metrics in rows.values())]
    lines = [["recipe", *(wording.HEADLINES[name].label for name in names), "test slides"]]
    lines.append(["---"] * len(lines[0]))
    for recipe, metrics in rows.items():
        cells = [_cell(metrics, name) for name in names]
        lines.append([f"`{recipe}`", *cells, wording.text(metrics.get("n_slides"), "count")])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(metrics: Metrics, name: str) -> str:
    value = wording.text(metrics.get(name), wording.HEADLINES[name].kind, wording.HEADLINES[name].signed)
    interval = wording.interval_text(metrics, name)
    return f"{value} ({interval})" if interval else value
