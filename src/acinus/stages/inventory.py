"""inventory: cohort root (drawn), or what `watch` saw (raw) -> data/<recipe>/inventory.json."""

from acinus.cohorts.inventory import inventory, read_inventory, write_inventory
from acinus.errors import RecipeError
from acinus.params import is_drawn
from acinus.stage import Stage


def run(stage: Stage) -> None:
    """Write what the cohort consists of; later stages depend on this file, not on the slides."""
    drawn = is_drawn(stage.recipe.cohort)
    watched = stage.recipe_name in stage.project.raw_cohorts and stage.paths.raw.exists()
    if not drawn and not watched:
        raise RecipeError(
            f"recipes/{stage.recipe_name}.yaml: cohort.root = {stage.recipe.cohort.root!r} lies outside DVC; "
            f"add {stage.recipe_name} to raw_cohorts in params.yaml, so that a change of its slides is noticed, "
            f"and run dvc repro (or acinus watch --recipe {stage.recipe_name}) first"
        )
    entries = inventory(stage.cohort_root, None) if drawn else read_inventory(stage.paths.raw)
    write_inventory(entries, stage.paths.inventory)
    stage.say(f"{len(entries)} files")
    stage.log.log_metrics({"n_files": len(entries)})
