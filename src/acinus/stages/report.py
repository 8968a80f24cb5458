"""report: all tables -> reports/<recipe>/ (metrics, tables, pictures, views, plots, pages) and its summary row."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from acinus import records
from acinus.charts.layers import png_size
from acinus.drawing.patches import PatchJob, draw_views, patch_results
from acinus.drawing.slide import LAYERS, SlideJob, draw_slide
from acinus.drawing.source import Source
from acinus.files import atomic_path, note_if_empty, read_json, sha256, write_json, write_text
from acinus.labels.labels import LabelRules
from acinus.labels.palette import class_colours, mask_colours
from acinus.labels.places import Places
from acinus.metrics import per_slide
from acinus.metrics.metric import Metrics
from acinus.metrics.registry import use_plugins
from acinus.metrics.report import recipe_metrics
from acinus.metrics.setup import SLIDES, MetricSetup, Tables
from acinus.pages import contexts, pages, plots, summary, views
from acinus.params import section_hash
from acinus.params.strict_yaml import read_mapping
from acinus.project.lineage import git_commit
from acinus.regions.operating_point import OperatingPoint, read_point
from acinus.stage import Stage

PICTURES, PAGES, VIEWED = 24, 200, 200
"""Slides that get pictures, that get a page, and among whose patches the views are chosen; more are thinned by Dice."""

FILES = ("metrics.json", "per_slide.csv", "regions.csv", "attention.csv", "views.csv", "index.html")
FOLDERS = ("pictures", "views", "slides", "plots")

WIDE = 1.6
"""A chart wider than so many times its height takes a row of its own."""

TUNE_PICTURES = {
    "history": ("Trials", "the objective of every trial, and the best so far"),
    "importances": ("Importance", "how much of the objective's variance each setting explains"),
    "slice": ("Settings", "the objective against each setting"),
    "parallel": ("Trials as lines", "the settings of every trial, coloured by its objective"),
}
"""Pictures that the tune stage leaves -> title, and what each shows."""

Rows = dict[str, dict[str, Any]]


def run(stage: Stage) -> None:
    """Score the test slides once and show everything."""
    use_plugins()
    if stage.recipe.task == SLIDES:
        from acinus.drawing import study

        study.report(stage, stage.recipe.embed)
        return
    point = read_point(stage.paths.operating_point).with_threshold(stage.recipe.quantify.threshold)
    tables, setup, folder = _tables(stage, point), _setup(stage), stage.paths.reports
    table = per_slide.per_slide(tables, setup)
    metrics = recipe_metrics(table, tables, setup, stage.recipe.report.bootstrap, stage.seed("bootstrap"))
    labels = read_json(stage.paths.slide_labels) if stage.paths.slide_labels.is_file() else {}
    per_slide.write_csv(per_slide.with_labels(table, labels), folder / "per_slide.csv")
    write_json(folder / "metrics.json", metrics)
    with atomic_path(folder / "plots") as target:
        target.mkdir()
        plots.write_plots(target, plots.plots(tables, table, setup))
    rows = {row["slide_id"]: row for row in records.rows(tables.manifest)}
    source = _source(stage, point)
    chosen = _views(stage, source, rows, table if setup.segments else table.iloc[:0])
    per_slide.write_csv(views.table(chosen), folder / "views.csv")
    page = _pictured(stage, source, rows, _page(stage, tables, table, metrics, chosen), tables)
    write_text(folder / "index.html", pages.recipe_page(page))
    row = summary.SummaryRow(
        recipe=stage.recipe_name,
        family=stage.recipe.family,
        task=stage.recipe.task,
        title=stage.recipe.title,
        metrics=metrics,
        report=f"{stage.recipe_name}/index.html",
        split_rule=", ".join(_split_rules(tables.manifest)),
    )
    write_json(stage.paths.summary_row, asdict(row))
    stage.log.log_metrics(metrics)
    stage.log.share_metrics(metrics)
    for name in FILES:
        stage.log.log_artifact(folder / name, "report")
    for name in FOLDERS:
        stage.log.log_artifact(folder / name, f"report/{name}")
    model = stage.paths.model
    behind = (stage.paths.quantities, stage.paths.region_table, stage.paths.grades)
    for path in (*behind, model / "patch_scores.parquet", model / "scores_test.parquet"):
        stage.log.log_artifact(path, "report/tables")  # so that `acinus compare` finds all behind the metrics
    stage.say(summary.console_table([row]).splitlines()[-1])


def _setup(stage: Stage) -> MetricSetup:
    return MetricSetup(
        task=stage.recipe.task,
        classes=tuple(stage.recipe.classes),
        slide_score=stage.recipe.report.slide_score,
        positive=tuple(stage.recipe.positive),
        grade=stage.recipe.grade.target,
        burden_percent=stage.recipe.grade.burden_percent,
    )


def _tables(stage: Stage, point: OperatingPoint) -> Tables:
    """Read what the report is reduced from."""
    paths, nothing = stage.paths, records.frame(records.CLASS_SCORES, [])
    by_colour = paths.model / "colour_test.parquet"
    return Tables(
        manifest=records.read(records.MANIFEST, paths.manifest),
        quantities=records.read(records.QUANTITIES, paths.quantities),
        patch_scores=records.read(records.SCORES, paths.model / "patch_scores.parquet"),
        regions=records.read(records.REGIONS, paths.region_table),
        class_scores=records.read(records.CLASS_SCORES, paths.model / "scores_test.parquet"),
        colour_scores=records.read(records.CLASS_SCORES, by_colour) if stage.recipe.many_labels else nothing,
        grades=records.read(records.GRADES, paths.grades),
        log=pd.read_csv(paths.model / "training_log.csv"),
        tuning=read_mapping(paths.tune / "best.yaml"),
        comparison=read_json(paths.tune / "comparison.json"),
        point=point.model_dump(mode="json"),
        calibration=read_json(paths.calibration),
        extraction=read_json(paths.extraction),
    )


def _split_rules(manifest: pd.DataFrame) -> list[str]:
    return sorted(set(manifest.loc[manifest["status"] == "ok", "split_rule"]))


def _source(stage: Stage, point: OperatingPoint) -> Source:
    return Source(
        paths=stage.paths,
        places=Places(stage.cohort_root, stage.paths.rasters),
        rules=LabelRules.of(stage.recipe.classes, stage.recipe.cohort),
        positive=stage.recipe.positive_indices,
        colours=class_colours(stage.recipe.classes, stage.recipe.cohort),
        point=point,
        index=stage.recipe.index,
        infer=stage.recipe.infer,
        picture_px=stage.recipe.report.picture_px,
    )


def _views(stage: Stage, source: Source, rows: Rows, table: pd.DataFrame) -> tuple[views.View, ...]:
    """Choose patches of the test slides by their Dice and write them as rows of pictures."""
    slides = views.choose_slides(table, VIEWED)
    places: dict[str, list[tuple[int, int, float]]] = {}
    if slides:  # a classifier's patches are not viewed: they may be millions
        sample = records.read(records.SAMPLE, stage.paths.sample, without=records.FRACTIONS)
        sample = sample.loc[sample["slide_id"].isin(slides), ["slide_id", "x0", "y0", "downsample"]]
        for slide_id, x0, y0, downsample in sample.itertuples(index=False, name=None):
            places.setdefault(slide_id, []).append((x0, y0, downsample))
    jobs = [PatchJob(source, rows[slide_id], tuple(places[slide_id])) for slide_id in slides if slide_id in places]
    results = [patch for of_slide in stage.map(patch_results, jobs) for patch in of_slide]
    chosen = views.choose(results, stage.recipe.report.views)
    with atomic_path(stage.paths.reports / "views") as folder:
        folder.mkdir()
        draw = []
        for slide_id in sorted({view.patch.slide_id for view in chosen}):
            of_slide = tuple(view for view in chosen if view.patch.slide_id == slide_id)
            scales = {(x0, y0): scale for x0, y0, scale in places[slide_id]}
            corners = [(view.patch.x0, view.patch.y0) for view in of_slide]
            at = tuple((*corner, scales[corner]) for corner in corners)
            draw.append(PatchJob(source, rows[slide_id], at, of_slide, folder))
        for _ in stage.map(draw_views, draw):
            pass
        note_if_empty(folder, "A patch classifier gives no mask to look at patch by patch; see the pictures.")
    return chosen


def _pictured(
    stage: Stage, source: Source, rows: Rows, page: contexts.RecipePage, tables: Tables
) -> contexts.RecipePage:
    """Draw charts and slides, write the slides' own pages and tables, and return the recipe's page with them."""
    folder, paged = stage.paths.reports, views.choose_slides(page.per_slide, PAGES)
    attention = records.read(records.ATTENTION, stage.paths.attention)
    regions = pages.shown_regions(tables.regions[tables.regions["slide_id"].isin(paged)])
    looked_at = pages.shown_attention(attention[attention["slide_id"].isin(paged)])
    per_slide.write_csv(regions, folder / "regions.csv")
    per_slide.write_csv(looked_at, folder / "attention.csv")
    patches: dict[str, list[dict[str, Any]]] = {}
    for row in records.rows(attention.sort_values("attention", ascending=False, kind="stable")):
        patches.setdefault(row["slide_id"], []).append(row)
    with atomic_path(folder / "pictures") as pictures, atomic_path(folder / "slides") as pages_folder:
        layers = pages_folder / LAYERS
        pictures.mkdir()
        layers.mkdir(parents=True)
        jobs = [
            SlideJob(source, rows[slide_id], tuple(patches.get(slide_id, ())), pictures, layers)
            for slide_id in views.choose_slides(page.per_slide, PICTURES)
        ]
        drawn = list(stage.map(draw_slide, jobs))
        seen = {view.slide_id: view for _, view in drawn}
        evidence = contexts.Evidence(
            views=tuple(seen.get(slide_id, contexts.SlideView(slide_id)) for slide_id in paged),
            regions=regions,
            attention=looked_at,
            n_attention={slide_id: len(most) for slide_id, most in patches.items()},
        )
        charts = _charts(stage, tables, page, pictures)
        whole = replace(page, pictures=tuple(picture for picture, _ in drawn), charts=charts, evidence=evidence)
        for slide_id, html in pages.slide_pages(whole):
            write_text(pages_folder / f"{slide_id}.html", html)
        note_if_empty(layers, "No test slide was scored, so there is nothing to draw.")
    return whole


def _charts(stage: Stage, tables: Tables, page: contexts.RecipePage, folder: Path) -> tuple[contexts.Chart, ...]:
    """Write the charts and the pictures of the search."""
    drawn = plots.draw(tables, page.per_slide, _setup(stage))
    for name, (title, alt) in TUNE_PICTURES.items():
        picture = stage.paths.tune / f"{name}.png"
        if picture.is_file():
            drawn[f"tune_{name}"] = plots.Drawing(picture.read_bytes(), title, alt, "tuning")
    charts = []
    for name, (png, title, alt, section) in drawn.items():
        (folder / f"{name}.png").write_bytes(png)
        width, height = png_size(png)
        charts.append(contexts.Chart(f"pictures/{name}.png", title, alt, section, width > WIDE * height))
    return tuple(charts)


def _page(
    stage: Stage, tables: Tables, table: pd.DataFrame, metrics: Metrics, chosen: tuple[views.View, ...]
) -> contexts.RecipePage:
    """Return the recipe's page without pictures."""
    index, colours = stage.recipe.index, class_colours(stage.recipe.classes, stage.recipe.cohort)
    where = f"level {index.level}" if index.mpp is None else f"{index.mpp:g} um/px"
    protocol = contexts.Protocol(
        threshold=tables.point["threshold"],
        slide_score=stage.recipe.report.slide_score,
        bootstrap=stage.recipe.report.bootstrap,
        seed=stage.seed("bootstrap"),
        patches=f"{index.patch_px} px at {where}",
        map_downsample=stage.recipe.infer.map_downsample,
        split_rules=tuple(_split_rules(tables.manifest)),
        positive=tuple(stage.recipe.positive),
    )
    return contexts.RecipePage(
        provenance=_provenance(stage),
        protocol=protocol,
        metrics=metrics,
        per_slide=table,
        files={name: name for name in (*FILES[:-1], "validation.json")},
        classes=tuple(contexts.ClassKey(name, colour) for name, colour in colours.items()),
        mask_colours=bool(mask_colours(stage.recipe.cohort)),
        views=chosen,
        validation=read_json(stage.paths.reports / "validation.json"),
        data_docs=_data_docs(stage.paths.reports),
        point=tables.point,
        tuning=tables.tuning,
        grade=stage.recipe.grade.target,
        extraction=tables.extraction,
    )


def _data_docs(folder: Path) -> dict[str, str]:
    """Return table -> its page by Great Expectations, relative to the report's folder, where there is one."""
    return {
        page.parent.name: page.relative_to(folder).as_posix() for page in sorted(folder.glob("data_docs/*/index.html"))
    }


def _provenance(stage: Stage) -> contexts.Provenance:
    """Return what made the numbers."""
    card, paths = read_json(stage.paths.model / "card.json"), stage.paths
    until_model = (stage.recipe.cohort, stage.recipe.index, stage.recipe.sample, stage.recipe.extract)
    model = (stage.recipe.tune, stage.recipe.train, stage.recipe.calibrate)
    after_model = (stage.recipe.infer, stage.recipe.quantify, stage.recipe.grade, stage.recipe.report)
    run: dict[str, str | None] = read_json(paths.model_run)
    network = card["architecture"] + (f" on {card['encoder']}" if card["encoder"] else "")
    read = {
        "manifest": paths.manifest,
        "sample": paths.sample,
        "weights": paths.model / "model.safetensors",
        "operating point": paths.operating_point,
        "quantities": paths.quantities,
    }
    return contexts.Provenance(
        recipe=stage.recipe_name,
        family=stage.recipe.family,
        task=stage.recipe.task,
        title=stage.recipe.title,
        commit=git_commit(stage.root),
        params_hash=section_hash(stage.recipe.classes, *until_model, *model, *after_model, stage.project.seed)[:16],
        model=f"{network}, weights from {card['weights']}, best of {card['epochs']} epochs",
        mlflow_run=run["mlflow_run_id"],
        mlflow_parent=run.get("mlflow_parent_id"),
        inputs={name: sha256(path)[:12] for name, path in read.items()},
    )
