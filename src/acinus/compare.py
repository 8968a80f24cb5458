"""`acinus compare`: two runs on the same test slides, each figure with interval and p value of the difference."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus import records, seeds
from acinus.errors import AcinusError, TableError
from acinus.files import atomic_path, read_json
from acinus.mapping.operating_point import read_point
from acinus.params import load_project
from acinus.paths import Paths
from acinus.reporting.comparable import EXPLAINED, Behind, held_against, setup_of
from acinus.reporting.patch_sets import of_other_patches
from acinus.reporting.setup import Tables
from acinus.reporting.side_by_side import (
    Pair,
    by_slide,
    defined,
    figures,
    missing,
    paired,
    scatter_figure,
    usable_test,
    why_not,
)
from acinus.reporting.tables import COLUMNS
from acinus.tracking import run_artifact

TABLE, METRICS = "per_slide.csv", "metrics.json"
BEHIND = {
    "quantities": (records.QUANTITIES, "quantities.parquet"),
    "patch_scores": (records.SCORES, "patch_scores.parquet"),
    "regions": (records.REGIONS, "regions.parquet"),
    "class_scores": (records.CLASS_SCORES, "scores_test.parquet"),
    "grades": (records.GRADES, "grades.parquet"),
}
"""The tables that pooled figures rest on, and their names below report/tables of a run."""
RESAMPLES = 2000
FEW = 10  # patients, below which a bootstrap interval is clearly too narrow
RUN_ID = re.compile(r"[0-9a-f]{32}")
NEEDED = ("slide_id", "split", "patient", "slide_label", "scored")


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
    report's folder or of a per_slide.csv. Only usable test slides of both count, and of them, figure by figure,
    those where it is defined in both. Pooled figures (patch_auc, miou, froc and others) need the tables that the
    report was made from, which a run has and a project's reports/<recipe>/ has beside it; headlines left out are named.
    `metric` asks for one figure. Written to `out`, else to reports/compare/<first>-<second>/: figures.csv,
    slides.csv, slides.png.

    Raises:
        AcinusError: a run that cannot be found, no slide in common, a slide labelled differently in the two
            runs, or a figure that cannot be compared.
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
    table = figures(pair, metric, RESAMPLES, seed)
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
        *of_other_patches(pair, set(table["figure"])),
        *([] if metric or not left_out else [f"not compared: {_listed(left_out)}"]),
        str(folder),
    ]
    return "\n".join(lines)


def _explained(table: pd.DataFrame) -> list[str]:
    """Return a line for each kind of figure in the table that metrics.json does not have."""
    names = table["figure"].tolist()
    chosen = [one for one in EXPLAINED if any(name == one or name.startswith(f"{one}.") for name in names)]
    return [f"{one}, not in metrics.json: {EXPLAINED[one]}" for one in chosen]


def _narrowed(table: pd.DataFrame, slides: int) -> list[str]:
    """Return a line where figures rest on some of the slides only, so that a run's own figure is another."""
    names = table.loc[table["n"] < slides, "figure"].tolist()
    return [f"only over the slides where both runs define it: {', '.join(names)}"] if names else []


def _listed(left_out: dict[str, str]) -> str:
    """Return figures with reasons on one line, those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())


def read_table(path: Path) -> pd.DataFrame:
    """Read a report's per_slide.csv.

    Raises:
        AcinusError: it is not there, or no such table.
    """
    texts: dict[Any, Any] = {name: "string" for name, kind in COLUMNS.items() if kind == "string"}
    try:
        table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""], encoding="utf-8")
    except FileNotFoundError as error:
        raise AcinusError(f"{path}: not found; run the report stage (dvc repro)") from error
    except (ValueError, pd.errors.ParserError) as error:  # not text, no columns, rows of different lengths
        raise TableError(f"{path}: not a per-slide table ({' '.join(str(error).split())[:120]})") from error
    missing = sorted(set(NEEDED) - set(table.columns))
    if missing:
        raise TableError(f"{path}: columns {', '.join(missing)} are missing; give the {TABLE} of a report")
    twice = table["slide_id"].duplicated()
    if twice.any():
        raise TableError(f"{path}: slide {table['slide_id'][int(twice.argmax())]} stands twice; run the report again")
    return table


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
            told = read_json(fetched(METRICS))
            places = {key: fetched(f"tables/{file}") for key, (_, file) in BEHIND.items()}
            return Side(
                slides, told, held_against(usable_test(slides), _tables(places, _point_told(told, slides)), told)
            )
        except AcinusError:  # a report by hand, or an older one
            return Side(slides, told, why="the run does not have the tables behind its report")


def _of_folder(path: Path) -> Side:
    """Return the run of a per_slide.csv: with the tables behind it where it lies in a project's reports/<recipe>/."""
    slides, folder = read_table(path), path.resolve().parent
    told = read_json(folder / METRICS) if (folder / METRICS).is_file() else {}
    paths = Paths(folder.parent.parent, folder.name)
    if folder != paths.reports or not paths.data.is_dir():
        return Side(slides, told, why="a report by itself; the tables behind it lie in the project that made it")
    if not told:
        return Side(slides, why=f"no {METRICS} beside its {TABLE} to hold the tables in data/ against")
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
        return Side(slides, told, held_against(usable_test(slides), _tables(places, chosen), told))
    except AcinusError as error:
        return Side(slides, told, why=str(error))


def _point_told(told: Mapping[str, Any], slides: pd.DataFrame) -> dict[str, Any]:
    """Return what metrics.json tells of the operating point: how probabilities are scaled."""
    if told.get("temperature") is None:
        return {}
    names = [f"bias.{name}" for name in setup_of(slides).classes]
    return {"temperature": told["temperature"], "bias": [told[name] for name in names if told.get(name) is not None]}


def _tables(places: Mapping[str, Path], point: Mapping[str, Any]) -> Tables:
    """Read what the pooled figures rest on, by the names of BEHIND; a table that is not there is empty.

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
            "figure": table["figure"],
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
    """Write the figures, the slides side by side and their picture; the same tables give the same bytes."""
    values = by_slide(pair)
    for name, one in (("figures.csv", table), ("slides.csv", values)):
        with atomic_path(folder / name) as part:
            one.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")
    with atomic_path(folder / "slides.png") as part:
        part.write_bytes(scatter_figure(values, names, len(setup_of(pair.first).classes)))
