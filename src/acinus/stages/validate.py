"""validate: manifest, index and sample -> reports/<recipe>/validation.json and Data Docs; broken rules stop."""

from acinus import records
from acinus.errors import TableError
from acinus.files import atomic_path, read_json, write_json
from acinus.labels.places import Places
from acinus.params import SLIDE_LABELS
from acinus.patches.index_file import class_fractions
from acinus.stage import Stage
from acinus.validation.suites import all_suites, slide_label_suites
from acinus.validation.tables import (
    candidate_table,
    class_shares,
    findings,
    manifest_view,
    patch_view,
    split_view,
    tissue_types,
)
from acinus.validation.verdict import judge


def run(stage: Stage) -> None:
    """Hold the tables against their suites; the verdict is written whether it is good or bad."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    index = records.read(records.INDEX, stage.paths.index, without=records.FRACTIONS)
    sample = records.read(records.SAMPLE, stage.paths.sample, without=records.FRACTIONS)
    classes = stage.recipe.classes
    labels = classes if stage.recipe.many_labels else []
    places = Places(stage.cohort_root, stage.paths.rasters)
    frames = {
        "manifest": manifest_view(manifest, places, stage.recipe.validate_.tolerate),
        "index": patch_view(index, manifest),
        "sample": patch_view(sample, manifest),
        "splits": split_view(manifest, sample, labels),
    }
    cohort = stage.recipe.cohort
    split_by = "slide" if cohort.allow_shared_patients else cohort.split_by
    if stage.recipe.task == SLIDE_LABELS:
        suites = slide_label_suites(split_by, cohort.folds is not None)
    else:
        suites = all_suites(stage.recipe.sample, stage.recipe.validate_, split_by, stage.recipe.task, labels)
    with atomic_path(stage.paths.reports / "data_docs") as docs:
        verdict = judge(frames, suites, stage.recipe.validate_.rows_shown, docs)
    document = {
        **verdict.document,
        "split_by": cohort.split_by,
        "allow_shared_patients": cohort.allow_shared_patients,
        "split_rules": sorted(set(manifest.loc[manifest["status"] == "ok", "split_rule"])),
        "candidates": candidate_table(index, labels),
        "class_shares": class_shares(
            index["split"], class_fractions(stage.paths.index, len(classes)), manifest, classes
        ),
        "tissue_types": tissue_types(manifest),
        "findings": findings(manifest),
        # what ingest counted in every colour-coded mask: pixels exact, within tolerance, ignored
        "colours": {path.stem: read_json(path) for path in sorted(stage.paths.rasters.glob("*.json"))},
    }
    write_json(stage.paths.reports / "validation.json", document)
    stage.log.log_artifact(stage.paths.reports / "validation.json")
    checked = sum(len(suite.rules) for suite in suites)
    stage.log.log_metrics({"n_expectations": checked, "n_broken": len(verdict.failures)})
    if verdict.failures:
        by_table = "splits.csv" not in document["split_rules"]
        for line in verdict.failures:
            stage.say(line.replace("splits.csv", cohort.split_table) if by_table else line)
        raise TableError(
            f"validate: {len(verdict.failures)} of {checked} expectations broken (above); see "
            f"{(stage.paths.reports / 'validation.json').relative_to(stage.root)}"
        )
    stage.say(f"{checked} expectations hold")
