"""grade: slides, their maps and amounts -> graders models/<recipe>.mil/, grades.parquet, attention.parquet."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acinus import records
from acinus.files import atomic_path, note_if_empty, sha256
from acinus.grading.rule import by_rule
from acinus.labels.places import Places, mean_mpp
from acinus.scoring.burden import tumour_by_burden
from acinus.stage import Stage

if TYPE_CHECKING:  # a recipe that grades nothing never imports torch
    from acinus.encoders.spec import EncoderSpec
    from acinus.grading.apply import BagJob, Encoded, Verdict
    from acinus.grading.card import MilCard
    from acinus.grading.fit import Fitted, Known

CLASSES = {"isup": tuple(f"ISUP {grade}" for grade in range(6)), "tumor": ("normal", "tumor")}
Row = dict[str, Any]


def run(stage: Stage) -> None:
    """Learn grades from the training slides and give one to every slide that has a map."""
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

    from acinus.encoders.loading import make_encoder, own_encoder
    from acinus.encoders.spec import OWN
    from acinus.grading.apply import judge, patch_rows
    from acinus.grading.card import save_graders
    from acinus.grading.fit import Known, learn
    from acinus.learning.device import reproducible

    settings, embed = stage.recipe.grade, stage.recipe.embed
    if embed.encoder == OWN:
        encoder = own_encoder(stage.paths.model)
    else:
        patch_px, seed = stage.recipe.index.patch_px, stage.seed("encoder")
        encoder = make_encoder(embed.encoder, embed.weights, patch_px, folder, seed)
    bags = _bags(stage, rows, encoder, folder)
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
        for patch in patch_rows(bag, verdicts[slide_id])
    ]
    return grades, patches


def _bags(stage: Stage, rows: Sequence[Row], encoder: "EncoderSpec", folder: Path) -> dict[str, "Encoded"]:
    """Return slide_id -> bag of every slide with tissue, encoded."""
    from acinus.grading.apply import encode
    from acinus.learning.device import best_alone

    jobs = _jobs(stage, rows, encoder, folder)
    bags: dict[str, Encoded] = {}
    for job, bag in zip(jobs, stage.map(encode, jobs, alone=best_alone(stage.project.compute.device)), strict=True):
        if bag is None:
            stage.say(f"{job.slide.slide_id}: no tissue to take a patch from, not graded")
        else:
            bags[job.slide.slide_id] = bag
    return bags


def _jobs(stage: Stage, rows: Sequence[Row], encoder: "EncoderSpec", folder: Path) -> list["BagJob"]:
    from acinus.grading.apply import BagJob, SlideToGrade
    from acinus.grading.bags import Choice

    places, settings = Places(stage.cohort_root, stage.paths.rasters), stage.recipe.embed
    positive = stage.recipe.positive_indices
    return [
        BagJob(
            slide=SlideToGrade(
                slide_id=row["slide_id"],
                image=places.image(row),
                mpp=mean_mpp(row),
                map=stage.paths.maps / f"{row['slide_id']}.tif",
                tissue=stage.paths.tissue / f"{row['slide_id']}.png",
            ),
            index=stage.recipe.index,
            choice=Choice(settings.top_patches, settings.random_patches, settings.min_distance, positive),
            bag_seed=stage.seed("bag"),
            encoder=encoder,
            model=stage.paths.model,
            grader=folder,
            device=stage.project.compute.device,
            threads=stage.project.compute.threads,
        )
        for row in rows
    ]


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
