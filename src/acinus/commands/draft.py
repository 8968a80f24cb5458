"""The recipe that `acinus init` writes: a published one for these slides, or one made from what lies there."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from acinus.cohorts import camelyon, panda, pannuke, rgb_mask
from acinus.cohorts import slides as own_family
from acinus.cohorts.adapter import Order
from acinus.commands.own_recipe import BASES, Task, own_recipe
from acinus.commands.own_slides import look, table_text
from acinus.errors import AcinusError, RecipeError
from acinus.params import Recipe, check_recipe
from acinus.params.strict_yaml import read_mapping
from acinus.preflight import PACKAGE
from acinus.templates.reading import published

TEST_FRACTION = 0.2
DEFAULT_TASKS: tuple[Task, ...] = ("patches", "segmentation")
SHOWN = 2
"""So many faults stand in one line."""
DISCOVER: dict[str, Any] = {
    "camelyon": camelyon.discover,
    "panda": panda.discover,
    "rgb_mask": rgb_mask.discover,
    "pannuke": pannuke.folds,
    "slides": lambda order: own_family.discover(order.root, order.files, order.cohort.table).match.slides,
}
"""What finds the slides of each family, from an `Order`, without opening them."""


@dataclass(frozen=True)
class Draft:
    """A recipe to be written.

    origin: what it was made from. notes: dotted key -> what to say of its value. faults: what was not understood of
    the slides, a line each. table: the text of a slides.csv to be filled in, where the recipe reads one. n_slides:
    those that were opened, if any were.
    """

    document: dict[str, Any]
    origin: str
    notes: Mapping[str, str]
    faults: Sequence[str] = ()
    table: str | None = None
    n_slides: int | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe as its family's model."""
        return check_recipe(self.origin, self.document)


def like_draft(like: str, task: Task | None) -> Draft:
    """Return a published recipe, or the first of its family that does the task; or the recipe in a file.

    Raises:
        AcinusError: no such recipe or family, or none that does the task; names those there are.
    """
    if Path(like).suffix in {".yaml", ".yml"}:
        document = read_mapping(Path(like))
        check_recipe(like, document)
        return _doing(task, {like: document}, like)
    recipes = {name: read_mapping(path) for name, path in published().items()}
    family = recipes[like]["family"] if like in recipes else like
    kin = {name: one for name, one in recipes.items() if one["family"] == family}
    alike = {name: one for name, one in kin.items() if _is_full(name) == _is_full(like)} or kin
    if not alike:
        families = ", ".join(sorted({one["family"] for one in recipes.values()}))
        raise AcinusError(
            f"--like {like}: no such recipe; published are {', '.join(recipes)}; or give a family ({families}) or the "
            "path of a recipe's .yaml file"
        )
    return _doing(task, ({like: recipes[like]} if like in recipes else {}) | alike, like)


def _is_full(name: str) -> bool:
    """Return whether a published recipe has the published size, rather than a laptop's."""
    return not name.startswith("demo-")


def _doing(task: Task | None, recipes: Mapping[str, dict[str, Any]], like: str) -> Draft:
    """Return the first recipe that does the task."""
    for name, document in recipes.items():
        if task is None or task in _tasks(document):
            return Draft(document, f"from {name}", {})
    done = "; ".join(f"{name}: {' and '.join(_tasks(document))}" for name, document in recipes.items())
    raise AcinusError(f"--task {task}: not done by --like {like} ({done}); give another of the two")


def _tasks(document: Mapping[str, Any]) -> list[Task]:
    """Return what a recipe does, in the words of --task."""
    tasks: list[Task] = ["segmentation" if document["task"] == "segmentation" else "patches"]
    return [*tasks, "slides"] if document["grade"].get("target", "none") != "none" else tasks


def own_draft(slides: Path, files: Iterable[str], task: Task | None) -> Draft:
    """Return a recipe made from what lies in the folder of the slides. Without a task: patches where a recipe can.

    Raises:
        AcinusError: no slides, or no outlines on them.
    """
    seen = look(slides, files)
    more = f"; and {len(seen.faults) - SHOWN} more" if len(seen.faults) > SHOWN else ""
    said, count = "; ".join(seen.faults[:SHOWN]) + more, len(seen.seen.mpps)
    if not count:
        raise AcinusError(f"{slides}: no slide that can be opened ({said or 'no file has the name of one'})")
    if not seen.seen.classes and not seen.seen.values:
        raise AcinusError(
            f"{slides}: no outlines and no masks for {count} slides ({said or 'no annotation file'}); put annotation "
            "files beside the slides, or start from a published recipe with --like"
        )
    weights = "package" if find_spec(PACKAGE) else "imagenet"
    for one in [task] if task else DEFAULT_TASKS:
        document, notes = own_recipe(
            f"Slides of {slides.name}", seen.seen, one, read_mapping(published()[BASES[one]]), weights
        )
        table = None if seen.found.table else table_text(seen)  # one beside the slides knows more
        draft = Draft(document, f"made from {count} slides", notes, seen.faults, table, count)
        with suppress(RecipeError):  # patches of several classes, say
            check_recipe(f"--task {one}", document)
            return draft
    check_recipe(f"--task {one}", document)
    return draft


def looked_at(draft: Draft, slides: Path, files: Mapping[str, str], seed: int) -> tuple[Draft, str]:
    """Return the draft with a test split, and how many slides of its family there are.

    Raises:
        AcinusError: none, or files that do not fit together.
    """
    recipe = draft.recipe
    cohort = recipe.cohort
    classes, positive = tuple(recipe.classes), tuple(recipe.positive)
    order = Order(slides, Path(), cohort, classes, positive, files, seed, map)
    rows = DISCOVER[recipe.family](order)
    if not rows:
        raise AcinusError(
            f"{slides}: no slide of family {recipe.family} among {len(files)} files; give another folder or "
            "another --like"
        )
    if recipe.family in ("pannuke", "slides"):  # folds test, and own recipes draw
        return draft, f"{draft.n_slides or len(rows)} {'folds' if recipe.family == 'pannuke' else 'slides'}"
    usable = [row for row in rows if row["status"] == "ok"]
    count = f"{len(rows)} slides" + (f", {len(rows) - len(usable)} of them not used" if len(usable) < len(rows) else "")
    if cohort.test_fraction or any(row["split"] == "test" for row in usable):
        return draft, count
    draft.document["cohort"]["test_fraction"] = TEST_FRACTION
    note = "Nothing names the slides of the test split, so it is drawn."
    return replace(draft, notes={**draft.notes, "cohort.test_fraction": note}), count
