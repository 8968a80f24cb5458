"""inventory: cohort root (drawn, or run by hand), or what `watch` saw (raw) -> data/<recipe>/inventory.json."""

from acinus.cohorts.inventory import Entry, inventory, read_inventory, with_table, write_inventory
from acinus.errors import RecipeError
from acinus.params import is_drawn
from acinus.project.dvc_process import dvc_above
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Write what the cohort consists of; later stages depend on this file, not on the slides."""
    entries = _entries(stage)
    write_inventory(entries, stage.paths.inventory)
    stage.say(f"{len(entries)} files")
    stage.log.log_metrics({"n_files": len(entries)})


def _entries(stage: Stage) -> list[Entry]:
    """Return the cohort's files: of one outside DVC as `watch` saw them, or as they are where none watches."""
    if is_drawn(stage.recipe.cohort):
        return inventory(stage.cohort_root, None)
    name = stage.recipe_name
    if name in stage.project.raw_cohorts:
        if not stage.paths.raw.exists():
            raise RecipeError(
                f"recipes/{name}.yaml: its cohort is in raw_cohorts of params.yaml and was not looked at yet; run "
                f"dvc repro, or acinus watch --recipe {name} first"
            )
        return read_inventory(stage.paths.raw)
    if dvc_above() is not None:
        raise RecipeError(
            f"recipes/{name}.yaml: cohort.root = {stage.recipe.cohort.root!r} lies outside DVC; "
            f"add {name} to raw_cohorts in params.yaml, so that a change of its slides is noticed"
        )
    stage.say(f"by hand: the files as they are now; {name} is not in raw_cohorts, so no dvc repro will see them change")
    return with_table(inventory(stage.cohort_root, stage.paths.inventory_memory), stage.root, stage.recipe.cohort)
