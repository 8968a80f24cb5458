"""`acinus embed --import`: the features that TRIDENT, CLAM or STAMP made of a recipe's slides."""

from collections.abc import Callable
from pathlib import Path

from acinus import records
from acinus.embedding.imported import imported_folder, wanted_slides
from acinus.embedding.importing import import_features
from acinus.encoders.known import find
from acinus.encoders.spec import IMPORTED
from acinus.errors import AcinusError
from acinus.labels.places import Places
from acinus.params import cohort_root, load_recipe
from acinus.paths import Paths, home


def run(root: Path, recipe_name: str, source: Path, say: Callable[[str], None]) -> str:
    """Import the features of the recipe's slides from the folder `source` and return what to do next.

    Raises:
        AcinusError: the recipe does not ask for imported features; ingest has not run; files that do not fit.
    """
    recipe, paths = load_recipe(root, recipe_name), Paths(root, recipe_name)
    if recipe.embed.weights != IMPORTED:
        raise AcinusError(
            f"recipes/{recipe_name}.yaml: embed.weights = {recipe.embed.weights!r}; write {IMPORTED}, and in "
            "embed.encoder what made the features, so that the recipe says where they come from"
        )
    manifest = records.rows(records.read(records.MANIFEST, paths.manifest))
    rows = [row for row in manifest if row["status"] == "ok"]
    slides = wanted_slides(rows, Places(cohort_root(root, recipe_name, recipe.cohort), paths.rasters))
    known, target = find(recipe.embed.encoder), imported_folder(home(root), recipe_name)
    width = known.width if known is not None and recipe.embed.pooling is None else None
    done = import_features(source, slides, recipe.index, (recipe.embed.encoder, width), target, say)
    tools = ", ".join(sorted({slide.tool for slide in done}))
    return (
        f"{len(done)} of {len(slides)} slides imported, {sum(slide.num_patches for slide in done)} patches of "
        f"{done[0].width} features ({tools}); next: acinus dvc repro --force --single-item embed@{recipe_name}"
    )
