"""report: all tables -> reports/<recipe>/ (metrics, table per slide, pictures, views, page) and its summary row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus import records
from acinus.files import atomic_path, note_if_empty, read_json, write_json, write_text
from acinus.lineage import git_commit
from acinus.mapping.map_tiff import open_map
from acinus.mapping.quantify import positive_values, predicted_classes
from acinus.params import RgbMaskCohort, section_hash
from acinus.reporting import charts, figures, heatmaps, pages, summary, tables, views
from acinus.reporting.metrics import Metrics, recipe_metrics
from acinus.reporting.segmentation import summed_confusion
from acinus.reporting.setup import MetricSetup
from acinus.scoring.confusion import confusion, image_dice
from acinus.slides.geometry import at_downsample
from acinus.slides.labels import LabelRow, LabelRules, open_labels
from acinus.slides.open import open_slide
from acinus.slides.places import Places, mpp_of
from acinus.slides.tissue import load_tissue
from acinus.stage import Stage

PICTURES, VIEWED = 24, 200
"""Slides that get pictures, and slides among whose patches the views are chosen; more are thinned evenly by Dice."""

Row = dict[str, Any]
Crop = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Predicted classes, truth, and uint8 probability of the positive classes of one patch, on the map's grid."""


def run(stage: Stage) -> None:
    """Score the test slides once and show everything."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    quantities = records.read(records.QUANTITIES, stage.paths.quantities)
    scores = records.read(records.SCORES, stage.paths.model / "patch_scores.parquet")
    settings, folder = stage.recipe.report, stage.paths.reports
    setup = MetricSetup(stage.recipe.task, tuple(stage.recipe.classes), settings.slide_score)
    table = tables.per_slide(manifest, quantities, scores, setup)
    metrics = recipe_metrics(table, scores, quantities, setup, settings.bootstrap, stage.seed("bootstrap"))
    tables.write_csv(table, folder / "per_slide.csv")
    write_json(folder / "metrics.json", metrics)
    rows = {row["slide_id"]: row for row in records.rows(manifest)}
    with atomic_path(folder / "pictures") as target:
        target.mkdir()
        pictures = tuple(_pictures(stage, rows[one], target) for one in views.choose_slides(table, PICTURES))
        drawn = _charts(stage, table, scores, quantities, target)
    chosen = _views(stage, rows, table if setup.segments else table.iloc[:0])
    tables.write_csv(views.table(chosen), folder / "views.csv")
    page = _page(stage, manifest, table, metrics)
    write_text(folder / "index.html", pages.recipe_page(page(pictures=pictures, charts=drawn, views=chosen)))
    row = summary.SummaryRow(
        recipe=stage.recipe_name,
        family=stage.recipe.family,
        task=stage.recipe.task,
        title=stage.recipe.title,
        metrics=metrics,
        report=f"{stage.recipe_name}/index.html",
        split_rule=", ".join(_split_rules(manifest)),
    )
    write_json(stage.paths.summary_row, summary.row_json(row))
    stage.log.log_metrics(metrics)
    stage.log.share_metrics(metrics)
    for name in ("metrics.json", "per_slide.csv", "views.csv", "index.html"):
        stage.log.log_artifact(folder / name, "report")
    for name in ("pictures", "views"):
        stage.log.log_artifact(folder / name, f"report/{name}")
    stage.say(summary.console_table([row]).splitlines()[-1])


def _split_rules(manifest: pd.DataFrame) -> list[str]:
    return sorted(set(manifest.loc[manifest["status"] == "ok", "split_rule"]))


def _colours(stage: Stage) -> dict[str, figures.Colour]:
    """Return class -> RGB: the cohort's own colours where it has some."""
    cohort = stage.recipe.cohort
    if isinstance(cohort, RgbMaskCohort):
        return {name: (one[0], one[1], one[2]) for name, one in cohort.colours.items()}
    return figures.palette(stage.recipe.classes)


def _truth(stage: Stage, row: Row) -> Any:
    """Return the slide's labels, or None where nothing is known."""
    if row["label_kind"] == "unknown":
        return None
    path = Places(stage.cohort_root, stage.paths.rasters).label(row)
    return open_labels(LabelRow.of(row, path), LabelRules.of(stage.recipe.classes, stage.recipe.cohort))


def _positive(stage: Stage) -> tuple[int, ...]:
    return tuple(stage.recipe.classes.index(name) for name in stage.recipe.positive)


def _pictures(stage: Stage, row: Row, folder: Path) -> pages.Pictures:
    """Write the slide with its annotation, and with its heatmap or its predicted classes."""
    slide_id, places = row["slide_id"], Places(stage.cohort_root, stage.paths.rasters)
    with open_slide(places.image(row), slide_id) as slide:
        downsample = max(1.0, max(slide.width, slide.height) / stage.recipe.report.picture_px)
        columns, rows = int(np.ceil(slide.width / downsample)), int(np.ceil(slide.height / downsample))
        thumbnail = slide.read(0, 0, columns, rows, at_downsample(slide.level_downsamples, downsample))
        tissue = load_tissue(stage.paths.tissue / f"{slide_id}.png", slide.width, slide.height)
    labels = _truth(stage, row)
    truth = labels.raster(columns, rows, downsample) if labels else None
    with open_map(stage.paths.maps / f"{slide_id}.tif") as reader:
        prob = reader.sampled(columns, rows, downsample)
    frame = heatmaps.Frame(downsample, downsample, mpp_of(row))
    threshold, classes = stage.recipe.quantify.threshold, len(stage.recipe.classes)
    if classes > 2:
        predicted = predicted_classes(prob, tissue.raster(columns, rows, downsample), threshold, classes)
        png = figures.class_pair(thumbnail, predicted, truth, frame, _colours(stage))
        (folder / f"{slide_id}.png").write_bytes(png)
        return pages.Pictures(slide_id, f"pictures/{slide_id}.png")
    (folder / f"{slide_id}_slide.png").write_bytes(heatmaps.annotated(thumbnail, truth, frame))
    (folder / f"{slide_id}_heatmap.png").write_bytes(heatmaps.overlay(thumbnail, prob[0], truth, frame, threshold))
    return pages.Pictures(slide_id, f"pictures/{slide_id}_slide.png", f"pictures/{slide_id}_heatmap.png")


def _views(stage: Stage, rows: dict[str, Row], table: pd.DataFrame) -> tuple[views.View, ...]:
    """Choose patches of the test slides by their Dice and write them as rows of pictures."""
    sample = records.read(records.SAMPLE, stage.paths.sample)
    results = []
    for slide_id in views.choose_slides(table, VIEWED):
        own = sample[sample["slide_id"] == slide_id]
        places = list(own[["x0", "y0"]].itertuples(index=False, name=None))
        for (x0, y0), crop in zip(places, _crops(stage, rows[slide_id], own), strict=True):
            results.append(_result(stage, slide_id, (x0, y0), crop))
    chosen = views.choose([one for one in results if one is not None], stage.recipe.report.views)
    with atomic_path(stage.paths.reports / "views") as folder:
        folder.mkdir()
        for view in chosen:
            patch = view.patch
            own = sample[sample[["slide_id", "x0", "y0"]].eq([patch.slide_id, patch.x0, patch.y0]).all(axis=1)]
            ((predicted, truth, prob),) = _crops(stage, rows[patch.slide_id], own)
            image = _image(stage, rows[patch.slide_id], patch, float(own["downsample"].iloc[0]))
            (folder / view.file).write_bytes(figures.patch_view(image, predicted, truth, prob, _colours(stage)))
        note_if_empty(folder, "A patch classifier gives no mask to look at patch by patch; see the pictures.")
    return chosen


def _result(stage: Stage, slide_id: str, place: tuple[int, int], crop: Crop) -> views.PatchResult | None:
    """Return what the choice of views needs of a patch; nothing where its truth is not known."""
    predicted, truth, _ = crop
    matrix = confusion(truth, predicted, len(stage.recipe.classes))
    if not matrix.sum():
        return None
    return views.PatchResult(
        slide_id=slide_id,
        x0=int(place[0]),
        y0=int(place[1]),
        dice=image_dice(matrix),
        has_foreground=bool(matrix[1:].sum()),
        false_px=int(matrix[0, 1:].sum()),
    )


def _crops(stage: Stage, row: Row, patches: pd.DataFrame) -> Iterator[Crop]:
    """Yield the part of the slide's map, and of its truth on the map's grid, that lies under every patch."""
    labels, positive = _truth(stage, row), _positive(stage)
    with open_map(stage.paths.maps / f"{row['slide_id']}.tif") as reader:
        grid = reader.geometry
        tissue = load_tissue(stage.paths.tissue / f"{row['slide_id']}.png", grid.width, grid.height)
        for x0, y0, downsample in patches[["x0", "y0", "downsample"]].itertuples(index=False, name=None):
            edge = round(stage.recipe.index.patch_px * downsample / grid.downsample)
            left, top = (min(max(0, round(start / grid.downsample)), size - 1) for start, size in _axes(x0, y0, grid))
            columns, rows = min(edge, grid.columns - left), min(edge, grid.rows - top)
            prob = reader.window(top, left, rows, columns)
            inside = tissue.raster(grid.columns, rows, grid.downsample, top)[:, left : left + columns]
            beyond = ((0, edge - rows), (0, edge - columns))  # the patch is padded there, so the crop is too
            prob, inside = np.pad(prob, ((0, 0), *beyond)), np.pad(inside, beyond)
            predicted = predicted_classes(prob, inside, stage.recipe.quantify.threshold, len(stage.recipe.classes))
            start = (np.array([round(left * grid.downsample)]), np.array([round(top * grid.downsample)]))
            truth = np.full((edge, edge), heatmaps.TRUTH_IGNORE, dtype=np.uint8)
            if labels is not None:
                truth = next(labels.windows(*start, edge, grid.downsample))
            yield predicted, truth, positive_values(prob, positive)


def _axes(x0: int, y0: int, grid: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    return (x0, grid.columns), (y0, grid.rows)


def _image(stage: Stage, row: Row, patch: views.PatchResult, downsample: float) -> np.ndarray:
    with open_slide(Places(stage.cohort_root, stage.paths.rasters).image(row), row["slide_id"]) as slide:
        edge, at = stage.recipe.index.patch_px, at_downsample(slide.level_downsamples, downsample)
        return slide.read(patch.x0, patch.y0, edge, edge, at)


def _charts(
    stage: Stage, table: pd.DataFrame, scores: pd.DataFrame, quantities: pd.DataFrame, folder: Path
) -> tuple[pages.Chart, ...]:
    log = pd.read_csv(stage.paths.model / "training_log.csv")
    drawn = {
        "training": (charts.training_figure(log), "Training", "loss and accuracy per epoch, training and validation")
    }
    if stage.recipe.task == "segmentation":
        matrix = summed_confusion(table, quantities, len(stage.recipe.classes))
        png = charts.confusion_figure(matrix, stage.recipe.classes)
        drawn["confusion"] = (png, "Confusion", "which class the pixels of each true class were given, in percent")
    else:
        png = charts.roc_figure(_curves(table, scores))
        drawn["roc"] = (png, "ROC", "ROC curves of the test patches and of the test slides")
        labelled = scores[scores["label"].isin([records.NORMAL, records.TUMOR])]
        groups = labelled.groupby("slide_id", sort=True)
        own = {str(name): (one["probs"].to_numpy(), one["label"].to_numpy(dtype="int64")) for name, one in groups}
        about = "ROC curve and AUC of the patches of each test slide that has both classes"
        drawn["roc_slides"] = (charts.slide_roc_figure(own), "ROC within slides", about)
    scored = table[table["scored"] & (table["split"] == "test")]
    burden = [scored[f"burden_{kind}"].to_numpy(dtype="float64", na_value=np.nan) for kind in ("pred", "true")]
    about = "predicted against annotated tumour burden per slide"
    drawn["burden"] = (charts.burden_figure(*burden), "Burden", about)
    for name, (png, _, _) in drawn.items():
        (folder / f"{name}.png").write_bytes(png)
    return tuple(pages.Chart(f"pictures/{name}.png", title, alt) for name, (_, title, alt) in drawn.items())


def _curves(table: pd.DataFrame, scores: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return scores and labels of the test patches, and of the test slides that have a label and a score."""
    labelled = scores[scores["label"].isin([records.NORMAL, records.TUMOR])]
    scored = table[table["scored"] & (table["split"] == "test") & table["slide_label"].notna()]
    ranked = scored[scored["slide_score"].notna()]  # a slide without tissue has no score
    tumour = (ranked["slide_label"] == "tumor").to_numpy(dtype="int64")
    return {
        "patches": (labelled["probs"].to_numpy(), labelled["label"].to_numpy()),
        "slides": (ranked["slide_score"].to_numpy(dtype="float64"), tumour),
    }


def _page(stage: Stage, manifest: pd.DataFrame, table: pd.DataFrame, metrics: Metrics) -> Any:
    """Return a function that makes the page of pictures, charts and views."""
    card, index = read_json(stage.paths.model / "card.json"), stage.recipe.index
    where = f"level {index.level}" if index.mpp is None else f"{index.mpp:g} um/px"
    until_model = (stage.recipe.cohort, index, stage.recipe.sample, stage.recipe.extract, stage.recipe.train)
    after_model = (stage.recipe.infer, stage.recipe.quantify, stage.recipe.report)
    network = card["architecture"] + (f" on {card['encoder']}" if card["encoder"] else "")
    provenance = pages.Provenance(
        recipe=stage.recipe_name,
        family=stage.recipe.family,
        task=stage.recipe.task,
        title=stage.recipe.title,
        commit=git_commit(stage.root),
        params_hash=section_hash(stage.recipe.classes, *until_model, *after_model, stage.project.seed)[:16],
        model=f"{network}, weights from {card['weights']}, best of {card['epochs']} epochs",
        mlflow_run=read_json(stage.paths.model_run)["mlflow_run_id"],
    )
    protocol = pages.Protocol(
        threshold=stage.recipe.quantify.threshold,
        slide_score=stage.recipe.report.slide_score,
        bootstrap=stage.recipe.report.bootstrap,
        seed=stage.seed("bootstrap"),
        patches=f"{index.patch_px} px at {where}",
        map_downsample=stage.recipe.infer.map_downsample,
        split_rules=tuple(_split_rules(manifest)),
        positive=tuple(stage.recipe.positive),
    )
    files = ("metrics.json", "per_slide.csv", "views.csv", "validation.json")

    def page(**shown: Any) -> pages.RecipePage:
        return pages.RecipePage(
            provenance=provenance,
            protocol=protocol,
            metrics=metrics,
            per_slide=table,
            files={name: name for name in files},
            classes=tuple(pages.ClassKey(name, colour) for name, colour in _colours(stage).items()),
            validation=read_json(stage.paths.reports / "validation.json"),
            **shown,
        )

    return page
