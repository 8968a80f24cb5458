"""validate: manifest, index and sample -> reports/<recipe>/validation.json and Data Docs; broken rules stop."""

from acinus import records
from acinus.errors import TableError
from acinus.files import atomic_path, write_json
from acinus.stage import Stage
from acinus.validation.suites import all_suites
from acinus.validation.tables import class_table, manifest_view, patch_view, split_view
from acinus.validation.verdict import judge


def run(stage: Stage) -> None:
    """Hold the tables against their suites; the verdict is written whether it is good or bad."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    index = records.read(records.INDEX, stage.paths.index)
    sample = records.read(records.SAMPLE, stage.paths.sample)
    frames = {
        "manifest": manifest_view(manifest, stage.cohort_root),
        "index": patch_view(index, manifest),
        "sample": patch_view(sample, manifest),
        "splits": split_view(manifest, sample),
    }
    suites = all_suites(stage.recipe.sample, stage.recipe.validate_, stage.recipe.cohort.split_by)
    with atomic_path(stage.paths.reports / "data_docs") as docs:
        verdict = judge(frames, suites, stage.recipe.validate_.rows_shown, docs)
    document = {**verdict.document, "candidates": class_table(index), "split_by": stage.recipe.cohort.split_by}
    write_json(stage.paths.reports / "validation.json", document)
    stage.log.log_artifact(stage.paths.reports / "validation.json")
    checked = sum(len(suite.rules) for suite in suites)
    stage.log.log_metrics({"n_expectations": checked, "n_broken": len(verdict.failures)})
    if verdict.failures:
        for line in verdict.failures:
            stage.say(line)
        raise TableError(
            f"validate: {len(verdict.failures)} of {checked} expectations broken (above); see "
            f"{(stage.paths.reports / 'validation.json').relative_to(stage.root)}"
        )
    stage.say(f"{checked} expectations hold")
