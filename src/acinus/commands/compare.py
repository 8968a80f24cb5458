"""`acinus compare`: two runs on the same test slides, each metric with interval and p value of the difference."""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus import records, seeds
from acinus.charts.scatter import scatter_chart
from acinus.errors import AcinusError
from acinus.files import atomic_path, read_json
from acinus.metrics.compare import Pair, Run, by_slide, checked, differences, missing, of_other_patches, paired, why_not
from acinus.metrics.metric import usable_slides
from acinus.metrics.per_slide import TABLE, read_table
from acinus.metrics.registry import METRICS, use_plugins
from acinus.metrics.setup import SLIDES, MetricSetup, Tables
from acinus.params import load_project
from acinus.paths import Paths
from acinus.regions.operating_point import read_point
from acinus.tracking import run_artifact

NUMBERS = "metrics.json"
RESAMPLES = 2000
FEW = 10  # patients, below which a bootstrap interval is clearly too narrow
RUN_ID = re.compile(r"[0-9a-f]{32}")


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
    use_plugins()
    a, b = (_run(root, project.tracking.uri, name) for name in (first, second))
    pair = paired(a, b)
    left_out = missing(pair)
    if metric is not None and metric not in pair.defined:
        reason = left_out.get(metric) or why_not(pair, metric, (first, second))
        raise AcinusError(
            f"compare: {metric} cannot be compared ({reason}); ask for one that A ({first}) and B ({second}) both "
            f"have: {', '.join(pair.defined) or 'there is none'}"
        )
    seed = seeds.derive(project.seed, "compare")
    table = differences(pair, metric, RESAMPLES, seed)
    names = (_short(first), _short(second))
    folder = out or root / "reports" / "compare" / "-".join(names)
    _write(folder, pair, table, names)
    slides = pair.first.slides
    n_patients = slides["patient"].nunique()
    lines = [
        f"A {first}",
        f"B {second}",
        f"{len(slides)} test slides of {n_patients} patients in both"
        + _only("A", pair.only_first)
        + _only("B", pair.only_second),
        f"interval and p value: {RESAMPLES} resamples of whole patients, seed {seed}"
        + ("; of so few patients they promise too much" if n_patients < FEW else ""),
        "",
        _text(table),
        "",
        *_notes(pair, table),
        *([] if metric or not left_out else [f"not compared: {_listed(left_out)}"]),
        str(folder),
    ]
    return "\n".join(lines)


def _notes(pair: Pair, table: pd.DataFrame) -> list[str]:
    """Return what to know beside the table: of metrics not in metrics.json, on some slides only, of other patches."""
    partly = table.loc[table["n"] < len(pair.first.slides), "metric"].tolist()
    return [
        *(
            f"{name}, not in metrics.json: {metric.about}"
            for name, metric in METRICS.items()
            if not metric.reported and (table["metric"] + ".").str.startswith(f"{name}.").any()
        ),
        *([f"only over the slides where both runs define it: {', '.join(partly)}"] if partly else []),
        *of_other_patches(pair, set(table["metric"])),
    ]


def _listed(left_out: dict[str, str]) -> str:
    """Return metrics with reasons on one line, those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())


def _run(root: Path, uri: str, name: str) -> Run:
    """Return a run by whatever names it."""
    for place in (Path(name), root / "reports" / name):
        if place.exists():
            return _of_folder(place if place.is_file() else place / TABLE)
    if not RUN_ID.fullmatch(name):
        raise AcinusError(
            f"run {name!r}: no file or folder, no recipe with a report, and no id of an MLflow run (32 hex digits); "
            "give one of these"
        )
    with tempfile.TemporaryDirectory() as scratch:

        def fetched(file: str) -> Path:
            return run_artifact(uri, root, name, f"report/{file}", Path(scratch))

        alone = Run(usable_slides(read_table(fetched(TABLE))))
        try:
            alone = replace(alone, reported=read_json(fetched(NUMBERS)))
            paths, setup = Paths(root, name), alone.setup
            tables = _tables(lambda path: fetched(f"tables/{path.name}"), paths, _point_told(alone), setup)
            return checked(replace(alone, tables=tables))
        except AcinusError:  # a report by hand, or an older one
            return replace(alone, why="the run does not have the tables behind its report")


def _of_folder(path: Path) -> Run:
    """Return the run of a per_slide.csv: with the tables behind it where it lies in a project's reports/<recipe>/."""
    folder, slides = path.resolve().parent, usable_slides(read_table(path))
    reported = read_json(folder / NUMBERS) if (folder / NUMBERS).is_file() else {}
    alone, paths = Run(slides, reported), Paths(folder.parent.parent, folder.name)
    if folder != paths.reports or not paths.data.is_dir():
        return replace(alone, why="a report by itself; the tables behind it lie in the project that made it")
    if not reported:
        return replace(alone, why=f"no {NUMBERS} beside its {TABLE} to hold the tables in data/ against")
    try:
        point = paths.operating_point
        of_map = point.is_file() and alone.setup.task != SLIDES
        chosen = read_point(point).model_dump(mode="json") if of_map else {}
        return checked(replace(alone, tables=_tables(lambda table: table, paths, chosen, alone.setup)))
    except AcinusError as error:
        return replace(alone, why=str(error))


def _point_told(run: Run) -> dict[str, Any]:
    """Return what metrics.json tells of the operating point: how probabilities are scaled."""
    if run.reported.get("temperature") is None:
        return {}
    bias = [run.reported.get(f"bias.{name}") for name in run.setup.classes]
    return {"temperature": run.reported["temperature"], "bias": [offset for offset in bias if offset is not None]}


def _tables(place: Callable[[Path], Path], paths: Paths, point: Mapping[str, Any], setup: MetricSetup) -> Tables:
    """Read the tables that pooled metrics rest on, each from `place` of its path; one that is not there is empty.

    Raises:
        AcinusError: a table that does not keep its contract.
    """

    def read(table: records.Table, path: Path) -> pd.DataFrame:
        file = place(path)
        return records.read(table, file) if file.is_file() else records.frame(table, [])

    if setup.task == SLIDES:
        manifest, quantities, scores = (
            records.frame(table, []) for table in (records.MANIFEST, records.QUANTITIES, records.SCORES)
        )
        return Tables(manifest, quantities, scores, predictions=read(records.PREDICTIONS, paths.predictions))
    return Tables(
        manifest=records.frame(records.MANIFEST, []),
        quantities=read(records.QUANTITIES, paths.quantities),
        patch_scores=read(records.SCORES, paths.model / "patch_scores.parquet"),
        regions=read(records.REGIONS, paths.region_table),
        class_scores=read(records.CLASS_SCORES, paths.model / "scores_test.parquet"),
        grades=read(records.GRADES, paths.grades),
        point=point,
    )


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
            "A": [number(value) for value in table["a"]],
            "B": [number(value) for value in table["b"]],
            "B - A": [number(value, "+") for value in table["difference"]],
            "95 % interval": [
                "-" if np.isnan(low) else f"{number(low, '+')} to {number(high, '+')}"
                for low, high in zip(table["low"], table["high"], strict=True)
            ],
            "p": [number(value) for value in table["p_value"]],
            "slides": table["n"],
        }
    )
    return shown.to_string(index=False)


def _write(folder: Path, pair: Pair, table: pd.DataFrame, names: tuple[str, str]) -> None:
    """Write the metrics, the slides side by side and their picture; the same tables give the same bytes."""
    slides = by_slide(pair)
    for name, content in (("metrics.csv", table), ("slides.csv", slides)):
        with atomic_path(folder / name) as part:
            content.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")
    with atomic_path(folder / "slides.png") as part:
        part.write_bytes(scatter_chart(slides, names, len(pair.first.setup.classes)))
