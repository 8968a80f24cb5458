"""watch: a cohort outside DVC -> data/raw/<recipe>.json, on every `dvc repro`."""

from acinus.cohorts.inventory import inventory, with_table, write_inventory
from acinus.errors import RecipeError
from acinus.params import is_drawn
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Look at the cohort: one stat per file, a fingerprint only of what is new or touched."""
    if is_drawn(stage.recipe.cohort):
        raise RecipeError(
            f"params.yaml: raw_cohorts = {stage.recipe_name!r}: its cohort is drawn by the demo stage, which DVC "
            "watches already; take it out of raw_cohorts"
        )
    entries = inventory(stage.cohort_root, stage.paths.inventory_memory)
    entries = with_table(entries, stage.root, stage.recipe.cohort)
    write_inventory(entries, stage.paths.raw)
    stage.say(f"{len(entries)} files, {sum(entry.size for entry in entries) / 1e9:.2f} GB in {stage.cohort_root}")
    stage.log.log_metrics({"n_files": len(entries)})
