"""The report of a recipe of task slide_labels: predictions and attention -> reports/<recipe>/."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from acinus import records
from acinus.charts.layers import png_size
from acinus.drawing.attention import AttentionJob, draw_attention
from acinus.drawing.slide import LAYERS
from acinus.files import atomic_path, note_if_empty, read_json, sha256, write_json, write_text
from acinus.labels.places import Places, mpp_of
from acinus.metrics.per_slide import with_labels, write_csv
from acinus.pages import contexts, plots, study_numbers, study_plots, summary
from acinus.pages.study import StudyPage, examples, study_page, study_slide_pages
from acinus.pages.study_table import Study, study_table
from acinus.pages.study_warnings import doubts
from acinus.pages.study_words import how, model_name
from acinus.params import Embed, section_hash
from acinus.project.lineage import git_commit
from acinus.stage import Stage

PICTURES, PAGES = 24, 200
"""Slides that get pictures, and that get a page and an attention map; of more, those that the recipe's page shows and
evenly chosen ones."""
FILES = ("metrics.json", "per_slide.csv", "attention.csv", "validation.json")
NOTHING = {
    "regions.csv": "region",
    "views.csv": "kind",
}
"""Tables of other tasks, empty here, and their first column."""
WIDE = 1.6
"""A chart wider than so many times its height takes a row of its own."""


def report(stage: Stage, embed: Embed) -> None:
    """Write all outputs of stage report. embed: the recipe's section."""
    folder, paths = stage.paths.reports, stage.paths
    study = _study(stage)
    table = study_table(study)
    measured = study_numbers.measured(study, table, stage.recipe.report.bootstrap, stage.seed("bootstrap"))
    labels = read_json(paths.slide_labels) if paths.slide_labels.is_file() else {}
    write_csv(with_labels(table, labels), folder / "per_slide.csv")
    write_json(folder / "metrics.json", measured.metrics)
    with atomic_path(folder / "plots") as target:
        target.mkdir()
        plots.write_plots(target, study_plots.study_plots(study))
    for name, column in NOTHING.items():
        write_text(folder / name, f"{column}\n")
    with atomic_path(folder / "views") as target:
        target.mkdir()
        note_if_empty(target, "Task slide_labels gives no mask to look at patch by patch; see the slides' pages.")
    page = _pictured(stage, _page(stage, embed, study, table, measured))
    write_text(folder / "index.html", study_page(page))
    row = summary.SummaryRow(
        recipe=stage.recipe_name,
        family=stage.recipe.family,
        task=stage.recipe.task,
        title=stage.recipe.title,
        metrics=measured.metrics,
        report=f"{stage.recipe_name}/index.html",
        split_rule=_split_rule(stage, study),
    )
    write_json(paths.summary_row, asdict(row))
    stage.log.log_metrics(measured.metrics)
    stage.log.share_metrics(measured.metrics)
    for name in ("metrics.json", "per_slide.csv", "attention.csv", "index.html", "pictures", "slides", "plots"):
        stage.log.log_artifact(folder / name, "report" if "." in name else f"report/{name}")
    stage.log.log_artifact(paths.predictions, "report/tables")  # so that what is behind the metrics can be found
    stage.say(summary.console_table([row]).splitlines()[-1])


def _study(stage: Stage) -> Study:
    predictions = records.read(records.PREDICTIONS, stage.paths.predictions)
    grade = stage.recipe.grade
    return Study(
        target=grade.target,
        kind=str(predictions["kind"].iloc[0]) if len(predictions) else grade.kind or "binary",
        given=tuple(grade.classes or ()),
        predictions=predictions,
        manifest=records.read(records.MANIFEST, stage.paths.manifest),
    )


def _split_rule(stage: Stage, study: Study) -> str:
    folds = stage.recipe.cohort.folds
    if folds is not None:
        return f"{folds.k} folds by {folds.by}" + (", sites whole" if folds.preserve_site else "")
    usable = study.manifest[study.manifest["status"] == "ok"]
    return ", ".join(sorted(set(usable["split_rule"])))


def _page(stage: Stage, embed: Embed, study: Study, table: pd.DataFrame, measured: study_numbers.Measured) -> StudyPage:
    """Return the page without pictures."""
    recipe, folder = stage.recipe, stage.paths.reports
    docs = sorted(folder.glob("data_docs/*/index.html"))
    return StudyPage(
        provenance=_provenance(stage, embed),
        study=study,
        how=how(study, embed, recipe.grade, recipe.cohort.folds),
        metrics=measured.metrics,
        main=measured.main,
        cards=measured.cards,
        table=table,
        folds=measured.folds,
        fold_metrics=measured.fold_metrics,
        doubts=tuple(doubts(study, measured.metrics, measured.main)),
        attention=records.frame(records.ATTENTION, []),
        bootstrap=recipe.report.bootstrap,
        seed=stage.seed("bootstrap"),
        files={name: name for name in FILES},
        validation=read_json(folder / "validation.json"),
        data_docs={page.parent.name: page.relative_to(folder).as_posix() for page in docs},
    )


def _provenance(stage: Stage, embed: Embed) -> contexts.Provenance:
    recipe, paths = stage.recipe, stage.paths
    sections = (recipe.cohort, recipe.index, embed, recipe.grade, recipe.report)
    read = {"manifest": paths.manifest, "predictions": paths.predictions, "attention": paths.attention}
    return contexts.Provenance(
        recipe=stage.recipe_name,
        family=recipe.family,
        task=recipe.task,
        title=recipe.title,
        commit=git_commit(stage.root),
        params_hash=section_hash(*sections, stage.project.seed)[:16],
        model=model_name(embed, recipe.grade),
        mlflow_run=None,  # stage grade writes none down
        inputs={name: sha256(path)[:12] for name, path in read.items()},
    )


def _pictured(stage: Stage, page: StudyPage) -> StudyPage:
    """Draw charts and slides, write the slides' own pages, maps and attention.csv; return the page with them."""
    folder, attention = stage.paths.reports, records.read(records.ATTENTION, stage.paths.attention)
    answered = page.table.loc[page.table["num_patches"].notna(), "slide_id"].tolist()
    shown = examples(page.table, page.study)
    paged = _thinned(answered, PAGES, shown)
    attention = attention[attention["slide_id"].isin(paged)]
    write_csv(attention, folder / "attention.csv")
    with atomic_path(folder / "pictures") as pictures, atomic_path(folder / "slides") as pages_folder:
        layers = pages_folder / LAYERS
        pictures.mkdir()
        layers.mkdir(parents=True)
        views = list(stage.map(draw_attention, _jobs(stage, paged, shown, attention, layers)))
        whole = replace(
            page,
            charts=_charts(page.study, pictures),
            slides=tuple(views),
            attention=attention,
        )
        for slide_id, html in study_slide_pages(whole):
            write_text(pages_folder / f"{slide_id}.html", html)
        note_if_empty(pictures, "No slide with a label was predicted, so there is nothing to draw.")
        note_if_empty(layers, "No slide was predicted, so there is nothing to draw.")
    return whole


def _thinned(slides: list[str], most: int, always: list[str]) -> list[str]:
    """Return at most so many slides in their order: those of `always`, and of the others evenly chosen ones."""
    if len(slides) <= most:
        return slides
    others = [slide for slide in slides if slide not in always]
    places = np.unique(np.linspace(0, len(others) - 1, most - len(always)).astype(np.int64)).tolist()
    kept = {*always, *(others[place] for place in places)}
    return [slide for slide in slides if slide in kept]


def _jobs(
    stage: Stage, paged: list[str], shown: list[str], attention: pd.DataFrame, folder: Path
) -> list[AttentionJob]:
    places, drawn = Places(stage.cohort_root, stage.paths.rasters), set(_thinned(paged, PICTURES, shown))
    rows = {row["slide_id"]: row for row in records.rows(records.read(records.MANIFEST, stage.paths.manifest))}
    ranked = attention.sort_values("attention", ascending=False, kind="stable")
    patches = {str(slide_id): tuple(records.rows(of_slide)) for slide_id, of_slide in ranked.groupby("slide_id")}
    return [
        AttentionJob(
            slide_id=slide_id,
            image=places.image(rows[slide_id]),
            mpp=mpp_of(rows[slide_id]),
            tissue=stage.paths.tissue / f"{slide_id}.png",
            attention=patches.get(slide_id, ()),
            folder=folder,
            at=LAYERS,
            picture_px=stage.recipe.report.picture_px,
            drawn=slide_id in drawn,
        )
        for slide_id in paged
    ]


def _charts(study: Study, folder: Path) -> tuple[contexts.Chart, ...]:
    charts = []
    for name, (png, title, alt, section) in study_plots.study_charts(study).items():
        (folder / f"{name}.png").write_bytes(png)
        width, height = png_size(png)
        charts.append(contexts.Chart(f"pictures/{name}.png", title, alt, section, width > WIDE * height))
    return tuple(charts)
