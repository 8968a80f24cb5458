"""`acinus compare`: two runs on the same test slides, each metric with interval and p value of the difference."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus import records, seeds
from acinus.charts.scatter import scatter_chart
from acinus.errors import AcinusError
from acinus.files import atomic_path, read_json
from acinus.metrics.compare import (
    Behind,
    Pair,
    by_slide,
    defined,
    differences,
    held_against,
    missing,
    paired,
    setup_of,
    why_not,
)
from acinus.metrics.metric import usable_slides
from acinus.metrics.patch_sets import of_other_patches
from acinus.metrics.per_slide import TABLE, read_table
from acinus.metrics.registry import METRICS
from acinus.metrics.setup import Tables
from acinus.params import load_project
from acinus.paths import Paths
from acinus.regions.operating_point import read_point
from acinus.tracking import run_artifact

NUMBERS = "metrics.json"
BEHIND = {
    "quantities": (records.QUANTITIES, "quantities.parquet"),
    "patch_scores": (records.SCORES, "patch_scores.parquet"),
    "regions": (records.REGIONS, "regions.parquet"),
    "class_scores": (records.CLASS_SCORES, "scores_test.parquet"),
    "grades": (records.GRADES, "grades.parquet"),
}
"""The tables that pooled metrics rest on, and their names below report/tables of a run."""
RESAMPLES = 2000
FEW = 10  # patients, below which a bootstrap interval is clearly too narrow
RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Side:
    """One of the two runs: per-slide table, metrics.json (empty without one), and the tables behind them or why not."""

    slides: pd.DataFrame
    told: dict[str, Any] = field(default_factory=dict)
    behind: Behind | None = None
    why: str = ""


def run(root: Path, first: str, second: str, out: Path | None, metric: str | None) -> str:
    """Compare the second run with the first, write table and pictures, and return the table as text.

    A run is the id of an MLflow run (a pipeline's or its report's), a recipe with a report, or the path of a
    report's folder or of a per_slide.csv. Only usable test slides of both count, and of them, metric by metric,
    those where it is defined in both. Pooled metrics (patch_auc, miou, froc and others) need the tables that the
    report was made from, which a run has and a project's reports/<recipe>/ has beside it; headlines left out are named.
    `metric` asks for one. Written to `out`, else to reports/compare/<first>-<second>/: metrics.csv,
    slides.csv, slides.png.

    Raises:
        AcinusError: a run that cannot be found, no slide in common, a slide labelled differently in the two
            runs, or a metric that cannot be compared.
    """
    project = load_project(root)
    a, b = (_side(root, project.tracking.uri, name) for name in (first, second))
    pair = paired(a.slides, b.slides, (a.behind, b.behind))
    left_out = missing(pair, (a.told, b.told), (a.why, b.why))
    if metric is not None and metric not in (both := defined(pair)):
        reason = left_out.get(metric) or why_not(pair, metric, (first, second))
        raise AcinusError(
            f"compare: {metric} cannot be compared ({reason}); ask for one that A ({first}) and B ({second}) both "
            f"have: {', '.join(both) or 'there is none'}"
        )
    seed = seeds.derive(project.seed, "compare")
    table = differences(pair, metric, RESAMPLES, seed)
    names = (_short(first), _short(second))
    folder = out or root / "reports" / "compare" / "-".join(names)
    _write(folder, pair, table, names)
    n_patients = pair.first["patient"].nunique()
    lines = [
        f"A {first}",
        f"B {second}",
        f"{len(pair.first)} test slides of {n_patients} patients in both"
        + _only("A", pair.only_first)
        + _only("B", pair.only_second),
        f"interval and p value: {RESAMPLES} resamples of whole patients, seed {seed}"
        + ("; of so few patients they promise too much" if n_patients < FEW else ""),
        "",
        _text(table),
        "",
        *_explained(table),
        *_narrowed(table, len(pair.first)),
        *of_other_patches(pair, set(table["metric"])),
        *([] if metric or not left_out else [f"not compared: {_listed(left_out)}"]),
        str(folder),
    ]
    return "\n".join(lines)


def _explained(table: pd.DataFrame) -> list[str]:
    """Return a line for each metric in the table that metrics.json does not have."""
    told = [
        (name, metric.about)
        for name, metric in METRICS.items()
        if not metric.reported and (table["metric"] + ".").str.startswith(f"{name}.").any()
    ]
    return [f"{name}, not in metrics.json: {about}" for name, about in told]


def _narrowed(table: pd.DataFrame, slides: int) -> list[str]:
    """Return a line where metrics rest on some of the slides only, so that a run's own value is another."""
    names = table.loc[table["n"] < slides, "metric"].tolist()
    return [f"only over the slides where both runs define it: {', '.join(names)}"] if names else []


def _listed(left_out: dict[str, str]) -> str:
    """Return metrics with reasons on one line, those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())


def _side(root: Path, uri: str, name: str) -> Side:
    """Return a run by whatever names it."""
    for place in (Path(name), root / "reports" / name):
        if place.is_file():
            return _of_folder(place)
        if place.is_dir():
            return _of_folder(place / TABLE)
    if not RUN_ID.fullmatch(name):
        raise AcinusError(
            f"run {name!r}: no file or folder, no recipe with a report, and no id of an MLflow run (32 hex digits); "
            "give one of these"
        )
    with tempfile.TemporaryDirectory() as scratch:

        def fetched(file: str) -> Path:
            return run_artifact(uri, root, name, f"report/{file}", Path(scratch))

        slides, told = read_table(fetched(TABLE)), dict[str, Any]()
        try:
            told = read_json(fetched(NUMBERS))
            places = {key: fetched(f"tables/{file}") for key, (_, file) in BEHIND.items()}
            return Side(
                slides, told, held_against(usable_slides(slides), _tables(places, _point_told(told, slides)), told)
            )
        except AcinusError:  # a report by hand, or an older one
            return Side(slides, told, why="the run does not have the tables behind its report")


def _of_folder(path: Path) -> Side:
    """Return the run of a per_slide.csv: with the tables behind it where it lies in a project's reports/<recipe>/."""
    slides, folder = read_table(path), path.resolve().parent
    told = read_json(folder / NUMBERS) if (folder / NUMBERS).is_file() else {}
    paths = Paths(folder.parent.parent, folder.name)
    if folder != paths.reports or not paths.data.is_dir():
        return Side(slides, told, why="a report by itself; the tables behind it lie in the project that made it")
    if not told:
        return Side(slides, why=f"no {NUMBERS} beside its {TABLE} to hold the tables in data/ against")
    places = {
        "quantities": paths.quantities,
        "patch_scores": paths.model / "patch_scores.parquet",
        "regions": paths.region_table,
        "class_scores": paths.model / "scores_test.parquet",
        "grades": paths.grades,
    }
    try:
        point = paths.operating_point
        chosen = read_point(point).model_dump(mode="json") if point.is_file() else {}
        return Side(slides, told, held_against(usable_slides(slides), _tables(places, chosen), told))
    except AcinusError as error:
        return Side(slides, told, why=str(error))


def _point_told(told: Mapping[str, Any], slides: pd.DataFrame) -> dict[str, Any]:
    """Return what metrics.json tells of the operating point: how probabilities are scaled."""
    if told.get("temperature") is None:
        return {}
    names = [f"bias.{name}" for name in setup_of(slides).classes]
    return {"temperature": told["temperature"], "bias": [told[name] for name in names if told.get(name) is not None]}


def _tables(places: Mapping[str, Path], point: Mapping[str, Any]) -> Tables:
    """Read what the pooled metrics rest on, by the names of BEHIND; a table that is not there is empty.

    Raises:
        AcinusError: a table that does not keep its contract.
    """
    found: dict[str, Any] = {
        key: records.read(table, places[key]) if places[key].is_file() else records.frame(table, [])
        for key, (table, _) in BEHIND.items()
    }
    return Tables(records.frame(records.MANIFEST, []), **found, point=point)


def _short(name: str) -> str:
    """Return a run's name as part of a folder's name."""
    if RUN_ID.fullmatch(name):
        return name[:8]
    path = Path(name).resolve()
    return path.parent.name if path.suffix == ".csv" else path.name


def _only(letter: str, ids: Sequence[str]) -> str:
    if not ids:
        return ""
    return f"; {len(ids)} only in {letter} ({', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''}), left out"


def _text(table: pd.DataFrame) -> str:
    """Return the table for a terminal."""

    def number(value: float, sign: str = "") -> str:
        return "-" if np.isnan(value) else f"{value:{sign}.4f}"

    shown = pd.DataFrame(
        {
            "metric": table["metric"],
            "A": [number(one) for one in table["a"]],
            "B": [number(one) for one in table["b"]],
            "B - A": [number(one, "+") for one in table["difference"]],
            "95 % interval": [
                "-" if np.isnan(low) else f"{number(low, '+')} to {number(high, '+')}"
                for low, high in zip(table["low"], table["high"], strict=True)
            ],
            "p": [number(one) for one in table["p_value"]],
            "slides": table["n"],
        }
    )
    return shown.to_string(index=False)


def _write(folder: Path, pair: Pair, table: pd.DataFrame, names: tuple[str, str]) -> None:
    """Write the metrics, the slides side by side and their picture; the same tables give the same bytes."""
    values = by_slide(pair)
    for name, one in (("metrics.csv", table), ("slides.csv", values)):
        with atomic_path(folder / name) as part:
            one.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")
    with atomic_path(folder / "slides.png") as part:
        part.write_bytes(scatter_chart(values, names, len(setup_of(pair.first).classes)))
