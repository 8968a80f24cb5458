"""grade: slides, their features and amounts -> graders models/<recipe>.mil/, grades.parquet, attention.parquet.

Of task slide_labels: slides, their features and labels -> models/<recipe>.mil/, predictions.parquet, attention.parquet.
"""

import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acinus import records
from acinus.files import atomic_path, note_if_empty, read_json, sha256, write_json
from acinus.grading.rule import by_rule
from acinus.labels.places import Places
from acinus.params import SLIDE_LABELS
from acinus.scoring.burden import tumour_by_burden
from acinus.stage import Stage

if TYPE_CHECKING:  # a recipe that grades nothing never imports torch
    from acinus.embedding.feature_file import SlideFeatures
    from acinus.encoders.spec import EncoderSpec
    from acinus.grading.apply import Verdict
    from acinus.grading.baselines import Facts
    from acinus.grading.card import MilCard
    from acinus.grading.fit import Fitted, Known
    from acinus.grading.runs import Run, Subject
    from acinus.grading.study import Job, Learned
    from acinus.grading.targets import Target

CLASSES = {"isup": tuple(f"ISUP {grade}" for grade in range(6)), "tumor": ("normal", "tumor")}
Row = dict[str, Any]


def run(stage: Stage) -> None:
    """Learn grades or labels of whole slides, and give one to every slide that has a map, or tissue."""
    if stage.recipe.task == SLIDE_LABELS:
        _study(stage)
        return
    manifest = records.rows(records.read(records.MANIFEST, stage.paths.manifest))
    quantities = records.rows(records.read(records.QUANTITIES, stage.paths.quantities))
    amounts = {row["slide_id"]: row for row in quantities}
    rows = [row for row in manifest if row["status"] == "ok" and row["slide_id"] in amounts]
    target, why = stage.recipe.grade.target, ""
    grades: list[Row] = []
    patches: list[Row] = []
    with atomic_path(stage.paths.mil) as folder:
        folder.mkdir()
        if target == "none":
            why = "This recipe grades nothing (grade.target: none)."
        elif not any(row["split"] == "train" and _label(row, target) is not None for row in rows):
            why = f"No training slide has a label to learn from (grade.target: {target})."
        else:
            grades, patches = _grade(stage, rows, amounts, folder)
        note_if_empty(folder, why)
    records.write(records.GRADES, records.frame(records.GRADES, grades), stage.paths.grades)
    records.write(records.PREDICTIONS, records.frame(records.PREDICTIONS, []), stage.paths.predictions)
    records.write(records.ATTENTION, records.frame(records.ATTENTION, patches), stage.paths.attention)
    stage.log.log_artifact(stage.paths.mil, "mil")
    stage.log.log_metrics({"n_slides": len(grades), "n_patches": len(patches)})
    stage.say(why or f"{len(grades)} slides graded by {stage.recipe.grade.seeds} models")


def _label(row: Mapping[str, Any], target: str) -> int | None:
    """Return a slide's true class, or None where it is unknown."""
    if target == "isup":
        return None if row["isup"] is None else int(row["isup"])
    return None if row["slide_label"] is None else int(row["slide_label"] == "tumor")


def _grade(stage: Stage, rows: Sequence[Row], amounts: Mapping[str, Row], folder: Path) -> tuple[list[Row], list[Row]]:
    """Train into `folder` and return the rows of both tables."""
    import torch

    from acinus.embedding.folder import read_encoder
    from acinus.encoders.spec import ENCODER_FILE
    from acinus.grading.apply import judge, patch_rows
    from acinus.grading.card import save_graders
    from acinus.grading.fit import Known, learn
    from acinus.learning.device import reproducible

    settings, encoder = stage.recipe.grade, read_encoder(stage.paths.features)
    weights = stage.paths.features / ENCODER_FILE
    if weights.is_file():  # so that a grader can be carried elsewhere
        shutil.copyfile(weights, folder / ENCODER_FILE)
    bags = _bags(stage, rows)
    slides = [row for row in rows if row["slide_id"] in bags]
    labelled = [
        Known(row["slide_id"], row["split"], label)
        for row in slides
        if (label := _label(row, settings.target)) is not None
    ]
    seeds = [stage.seed("mil", number) for number in range(1, settings.seeds + 1)]
    features = {slide_id: bag.features for slide_id, bag in bags.items()}
    with reproducible(torch.device("cpu"), stage.project.compute.threads):  # so small that a GPU would only wait
        fitted = learn(features, labelled, settings, len(CLASSES[settings.target]), seeds)
        save_graders(folder, fitted, _card(stage, fitted, seeds, labelled, encoder))
        verdicts = {slide_id: judge([grader.model for grader in fitted], bag) for slide_id, bag in features.items()}
    grades = [_row(stage, row, amounts[row["slide_id"]], verdicts[row["slide_id"]]) for row in slides]
    patches = [
        {"slide_id": slide_id, **patch}
        for slide_id, bag in bags.items()
        for patch in patch_rows(bag.patches, verdicts[slide_id])
    ]
    return grades, patches


def _bags(stage: Stage, rows: Sequence[Row]) -> dict[str, "SlideFeatures"]:
    """Return slide_id -> features of every slide with tissue."""
    from acinus.embedding.feature_file import read_features
    from acinus.embedding.folder import own_features

    bags: dict[str, SlideFeatures] = {}
    for slide_id in (row["slide_id"] for row in rows):
        if (path := own_features(stage.paths.features, slide_id, stage.recipe.index)) is not None:
            bags[slide_id] = read_features(path)
        else:
            stage.say(f"{slide_id}: no tissue to take a patch from, not graded")
    return bags


def _card(
    stage: Stage, fitted: Sequence["Fitted"], seeds: Sequence[int], labelled: Sequence["Known"], encoder: "EncoderSpec"
) -> "MilCard":
    from acinus.grading.card import MilCard, Trained
    from acinus.learning.card import WEIGHTS_FILE

    settings, embed, spec = stage.recipe.grade, stage.recipe.embed, fitted[0].model.spec
    return MilCard(
        version=version("acinus"),
        target="isup" if settings.target == "isup" else "tumor",
        classes=CLASSES[settings.target],
        loss=spec.loss,
        features=spec.features,
        hidden_units=spec.hidden_units,
        attention_units=spec.attention_units,
        dropout=spec.dropout,
        encoder=encoder,
        index=stage.recipe.index.model_dump(mode="json"),
        map_classes=tuple(stage.recipe.classes),
        positive=stage.recipe.positive_indices,
        top_patches=embed.top_patches,
        random_patches=embed.random_patches,
        min_distance=embed.min_distance,
        bag_seed=stage.seed("bag"),
        burden_percent=settings.burden_percent,
        models=tuple(
            Trained(seed=seed, epochs=grader.epochs, best_epoch=grader.best_epoch, val_loss=grader.val_loss)
            for seed, grader in zip(seeds, fitted, strict=True)
        ),
        slides={split: sum(slide.split == split for slide in labelled) for split in ("train", "val")},
        data_hashes={
            "manifest": sha256(stage.paths.manifest),
            "quantities": sha256(stage.paths.quantities),
            "model": sha256(stage.paths.model / WEIGHTS_FILE),
        },
    )


def _row(stage: Stage, row: Row, amounts: Row, verdict: "Verdict") -> Row:
    """Return one slide's row of records.GRADES."""
    settings = stage.recipe.grade
    areas = amounts["class_px"], amounts["burden_pred"]
    return {
        "slide_id": row["slide_id"],
        "split": row["split"],
        "target": settings.target,
        "true": _label(row, settings.target),
        "mil": verdict.grade,
        "mil_probs": list(verdict.probs),
        "mil_by_seed": list(verdict.by_seed),
        "mil_spread": verdict.spread,
        "confidence": verdict.confidence,
        "rule": by_rule(settings.target, stage.recipe.classes, *areas, settings.burden_percent),
        "rule_tumor": tumour_by_burden(amounts["burden_pred"], settings.burden_percent),
        "num_patches": len(verdict.attention),
    }


# ---------------------------------------------------------------- task slide_labels


def _study(stage: Stage) -> None:
    """Learn a column of the cohort's table, by folds or by the splits, and predict every slide with tissue."""
    from acinus.grading import runs, study
    from acinus.grading.predictions import attention_of, rows_of
    from acinus.grading.stored import patch_rows
    from acinus.grading.targets import read_target
    from acinus.learning.device import best_alone
    from acinus.metrics.slide_figures import values_of_folds

    folds, paths = stage.recipe.cohort.folds, stage.paths
    rows = _with_features(stage)
    labels = read_json(paths.slide_labels) if paths.slide_labels.is_file() else {}
    target = read_target(stage.recipe.grade, rows, labels)
    subjects = [runs.subject(row, target) for row in rows]
    placed, notes = runs.draw(subjects, target, folds, stage.seed("folds")) if folds else (None, [])
    planned = runs.plan(subjects, placed)
    runs.check(planned, subjects, target)
    notes = [*target.notes, *notes]
    for note in notes:
        stage.say(note)
    facts = _facts(stage, rows)
    jobs = _study_jobs(stage, planned, subjects, target, facts)
    learned = list(stage.map(study.do, jobs, alone=best_alone(stage.project.compute.device)))
    _save_study(stage, learned, target, notes, facts)
    predictions = records.frame(records.PREDICTIONS, rows_of(learned, subjects, target, facts))
    records.write(records.PREDICTIONS, predictions, paths.predictions)
    patches = [
        row for one in subjects for row in patch_rows(paths.features, one.slide_id, attention_of(learned, one.slide_id))
    ]
    records.write(records.ATTENTION, records.frame(records.ATTENTION, patches), paths.attention)
    records.write(records.GRADES, records.frame(records.GRADES, []), paths.grades)
    stage.log.log_artifact(paths.mil, "mil")
    stage.log.log_metrics({"n_slides": len(subjects), "n_patches": len(patches), **values_of_folds(predictions)})
    models = sum(len(one.members) for one in learned)
    stage.say(f"{len(subjects)} slides predicted by {models} models in {len(learned)} runs")


def _with_features(stage: Stage) -> list[Row]:
    """Return the usable slides of the manifest that have features; the others are named."""
    from acinus.embedding.folder import own_features
    from acinus.encoders.spec import IMPORTED

    manifest = records.rows(records.read(records.MANIFEST, stage.paths.manifest))
    rows, imported = [], stage.recipe.embed.weights == IMPORTED
    why = "no features were imported of it" if imported else "no tissue to take a patch from"
    for row in (row for row in manifest if row["status"] == "ok"):
        if own_features(stage.paths.features, row["slide_id"], stage.recipe.index) is not None:
            rows.append(row)
        else:
            stage.say(f"{row['slide_id']}: {why}, not predicted")
    return rows


def _facts(stage: Stage, rows: Sequence[Row]) -> dict[str, "Facts"]:
    """Return what simpler models see of each slide."""
    from acinus.embedding.folder import feature_path
    from acinus.grading.stored import FactsJob, facts_of

    places = Places(stage.cohort_root, stage.paths.rasters)
    jobs = [
        FactsJob(
            slide_id=row["slide_id"],
            image=places.image(row),
            tissue=stage.paths.tissue / f"{row['slide_id']}.png",
            features=feature_path(stage.paths.features, row["slide_id"]),
        )
        for row in rows
    ]
    return {job.slide_id: facts for job, facts in zip(jobs, stage.map(facts_of, jobs), strict=True)}


def _study_jobs(
    stage: Stage, planned: Sequence["Run"], subjects: Sequence["Subject"], target: "Target", facts: dict[str, "Facts"]
) -> list["Job"]:
    from acinus.grading.stored import StoredFeatures
    from acinus.grading.study import Job

    by_id, settings = {one.slide_id: one for one in subjects}, stage.recipe.grade
    features = StoredFeatures(stage.paths.features, tuple(by_id))
    return [
        Job(
            run=run,
            subjects=by_id,
            target=target,
            settings=settings,
            features=features,
            facts=facts,
            seeds=tuple(stage.seed("mil", run.repeat, run.fold or 0, n) for n in range(1, settings.seeds + 1)),
            device=stage.project.compute.device,
            threads=stage.project.compute.threads,
        )
        for run in planned
    ]


def _save_study(
    stage: Stage, learned: Sequence["Learned"], target: "Target", notes: Sequence[str], facts: Mapping[str, "Facts"]
) -> None:
    """Write the models, their card, the stain of their slides, and the encoder's weights that lie by the features."""
    from acinus.embedding.folder import read_encoder
    from acinus.encoders.spec import ENCODER_FILE
    from acinus.grading.study_card import save_study
    from acinus.grading.study_stain import STAIN_FILE, study_stain

    with atomic_path(stage.paths.mil) as folder:
        folder.mkdir()
        weights = stage.paths.features / ENCODER_FILE
        if weights.is_file():
            shutil.copyfile(weights, folder / ENCODER_FILE)
        known = {"version": version("acinus"), "encoder": read_encoder(stage.paths.features), "notes": tuple(notes)}
        known |= {"index": stage.recipe.index.model_dump(mode="json")}
        save_study(folder, learned, target, **known, data_hashes={"manifest": sha256(stage.paths.manifest)})
        write_json(folder / STAIN_FILE, study_stain(one.colour for one in facts.values()))
