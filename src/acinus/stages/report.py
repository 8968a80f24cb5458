"""report: all tables -> reports/<recipe>/ (metrics, table per slide, pictures, page) and its summary row."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus import records
from acinus.files import atomic_path, read_json, write_json, write_text
from acinus.lineage import git_commit
from acinus.mapping.map_tiff import read_map
from acinus.params import section_hash
from acinus.reporting import figures, pages, summary, tables
from acinus.reporting.metrics import Metrics, recipe_metrics
from acinus.slides.geometry import at_downsample
from acinus.slides.labels import LabelRow, open_labels
from acinus.slides.slide import Slide
from acinus.stage import Stage

TITLE = "Metastases in lymph nodes: patches classified, slides mapped"


def run(stage: Stage) -> None:
    """Score the test slides once and show everything."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    quantities = records.read(records.QUANTITIES, stage.paths.quantities)
    scores = records.read(records.SCORES, stage.paths.model / "patch_scores.parquet")
    settings, folder = stage.recipe.report, stage.paths.reports
    table = tables.per_slide(manifest, quantities, scores, settings.slide_score)
    metrics = recipe_metrics(table, scores, settings.bootstrap, stage.seed("bootstrap"))
    tables.write_csv(table, folder / "per_slide.csv")
    write_json(folder / "metrics.json", metrics)
    with atomic_path(folder / "pictures") as target:
        target.mkdir()
        mapped = manifest[manifest["slide_id"].isin(quantities["slide_id"])]
        pictures = tuple(_pictures(stage, row, target) for row in records.rows(mapped))
        charts = _charts(stage, table, scores, target)
    write_text(folder / "index.html", pages.recipe_page(_page(stage, table, metrics, pictures, charts)))
    row = summary.SummaryRow(
        stage.recipe_name, stage.recipe.family, stage.recipe.task, TITLE, metrics, f"{stage.recipe_name}/index.html"
    )
    write_json(stage.paths.summary_row, summary.row_json(row))
    stage.log.log_metrics(metrics)
    stage.log.share_metrics(metrics)
    for name in ("metrics.json", "per_slide.csv", "index.html"):
        stage.log.log_artifact(folder / name, "report")
    stage.log.log_artifact(folder / "pictures", "report/pictures")
    stage.say(summary.console_table([row]).splitlines()[-1])


def _pictures(stage: Stage, row: dict[str, Any], folder: Path) -> pages.Pictures:
    """Write the slide with its annotation, and with its heatmap."""
    slide_id = row["slide_id"]
    prob, geometry, _ = read_map(stage.paths.maps / f"{slide_id}.tif")
    with Slide(stage.cohort_root / row["image"], slide_id) as slide:
        downsample = max(1.0, max(slide.width, slide.height) / stage.recipe.report.picture_px)
        columns, rows = int(np.ceil(slide.width / downsample)), int(np.ceil(slide.height / downsample))
        thumbnail = slide.read(0, 0, columns, rows, at_downsample(slide.level_downsamples, downsample))
    truth = None
    if row["label_kind"] != "unknown":
        labels = open_labels(LabelRow.of(row), stage.cohort_root, stage.recipe.cohort)
        truth = labels.raster(columns, rows, downsample)
    frame = figures.Frame(downsample, geometry.downsample, (float(row["mpp_x"]), float(row["mpp_y"])))
    threshold = stage.recipe.quantify.threshold
    (folder / f"{slide_id}_slide.png").write_bytes(figures.annotated(thumbnail, truth, frame))
    (folder / f"{slide_id}_heatmap.png").write_bytes(figures.overlay(thumbnail, prob, truth, frame, threshold))
    return pages.Pictures(slide_id, f"pictures/{slide_id}_slide.png", f"pictures/{slide_id}_heatmap.png")


def _charts(stage: Stage, table: pd.DataFrame, scores: pd.DataFrame, folder: Path) -> tuple[pages.Chart, ...]:
    labelled = scores[scores["label"].isin([records.NORMAL, records.TUMOR])]
    scored = table[table["scored"] & (table["split"] == "test") & table["slide_label"].notna()]
    ranked = scored[scored["slide_score"].notna()]  # a slide without tissue has no score
    curves = {
        "patches": (labelled["probs"].to_numpy(), labelled["label"].to_numpy()),
        "slides": (
            ranked["slide_score"].to_numpy(dtype="float64"),
            (ranked["slide_label"] == "tumor").to_numpy(dtype="int64"),
        ),
    }
    log = pd.read_csv(stage.paths.model / "training_log.csv")
    burden = [scored[f"burden_{kind}"].to_numpy(dtype="float64", na_value=np.nan) for kind in ("pred", "true")]
    drawn = {
        "training": (figures.training_figure(log), "Training", "loss and accuracy per epoch, training and validation"),
        "roc": (figures.roc_figure(curves), "ROC", "ROC curves of the test patches and of the test slides"),
        "burden": (figures.burden_figure(*burden), "Burden", "predicted against annotated tumour burden per slide"),
    }
    for name, (png, _, _) in drawn.items():
        (folder / f"{name}.png").write_bytes(png)
    return tuple(pages.Chart(f"pictures/{name}.png", title, alt) for name, (_, title, alt) in drawn.items())


def _page(
    stage: Stage, table: pd.DataFrame, metrics: Metrics, pictures: tuple[pages.Pictures, ...], charts: Any
) -> pages.RecipePage:
    card, index = read_json(stage.paths.model / "card.json"), stage.recipe.index
    where = f"level {index.level}" if index.mpp is None else f"{index.mpp:g} um/px"
    until_model = (stage.recipe.cohort, index, stage.recipe.sample, stage.recipe.extract, stage.recipe.train)
    after_model = (stage.recipe.infer, stage.recipe.quantify, stage.recipe.report)
    provenance = pages.Provenance(
        recipe=stage.recipe_name,
        family=stage.recipe.family,
        task=stage.recipe.task,
        title=TITLE,
        commit=git_commit(stage.root),
        params_hash=section_hash(stage.recipe.classes, *until_model, *after_model, stage.project.seed)[:16],
        model=f"{card['architecture']}, weights from {card['weights']}, best of {card['epochs']} epochs",
        mlflow_run=read_json(stage.paths.model_run)["mlflow_run_id"],
    )
    protocol = pages.Protocol(
        threshold=stage.recipe.quantify.threshold,
        slide_score=stage.recipe.report.slide_score,
        bootstrap=stage.recipe.report.bootstrap,
        seed=stage.seed("bootstrap"),
        patches=f"{index.patch_px} px at {where}",
        map_downsample=stage.recipe.infer.map_downsample,
    )
    files = {"metrics.json": "metrics.json", "per_slide.csv": "per_slide.csv", "validation.json": "validation.json"}
    return pages.RecipePage(provenance, protocol, metrics, table, pictures, charts, files)
