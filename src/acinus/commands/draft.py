"""The recipe that `acinus init` writes: a published one for these slides, or one made from what lies there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from acinus.cohorts import adapter, camelyon, panda, pannuke, rgb_mask
from acinus.cohorts import slides as own_family
from acinus.cohorts.adapter import Order, some
from acinus.cohorts.slides_table import NAME
from acinus.commands.own_labels import number
from acinus.commands.own_recipe import BASES, Seen, Task, own_recipe
from acinus.commands.own_slides import Look, look
from acinus.commands.own_splits import contradicted, planned
from acinus.commands.own_study import BASE as STUDY_BASE
from acinus.commands.own_study import FOLDS, own_study, todo_of
from acinus.commands.own_table import with_splits
from acinus.commands.own_targets import TargetSeen, targets_of
from acinus.commands.own_todo import (
    CONTRARY,
    NO_LABELS,
    NO_TARGET,
    ONLY_LABELS,
    no_labels,
    no_slides,
    odd_masks,
    refused,
    unplaced,
)
from acinus.errors import AcinusError
from acinus.params import Recipe, check_recipe
from acinus.params.base import SPLITS
from acinus.params.cohorts import SlidesRecipe
from acinus.params.strict_yaml import read_mapping
from acinus.preflight import PACKAGE
from acinus.seeds import derive
from acinus.templates.reading import published

TEST_FRACTION = 0.2
NOT_DRAWN = (
    "A draw by these fractions would leave a class out of train, val or test: column split of slides.csv says where "
    "each slide goes."
)
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
    those that were opened, if any were. todo: what a person has to do before all of it runs, a line each. stops:
    training would be refused before that is done.
    """

    document: dict[str, Any]
    origin: str
    notes: Mapping[str, str]
    faults: Sequence[str] = ()
    table: str | None = None
    n_slides: int | None = None
    todo: Sequence[str] = ()
    stops: bool = False

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


def own_draft(slides: Path, files: Iterable[str], task: Task | None, seed: int) -> Draft:
    """Return a recipe made from what lies in the folder of the slides; without a task: patches. seed: the project's.

    Raises:
        AcinusError: no slides, or neither an annotation nor a table of them.
    """
    sight = look(slides, files)
    seen, count = sight.seen, len(sight.seen.mpps)
    if not count:
        raise AcinusError(no_slides(slides, files, sight))
    targets = targets_of(sight.found.table, sight.found.joined) if task == "slides" else []
    if not (seen.classes or seen.values or seen.colours or seen.columns or targets):
        raise AcinusError(no_labels(slides, sight))
    if task == "slides" and not (seen.classes or seen.values or seen.colours):
        return _study_draft(slides, sight, targets)
    recipe, document, notes = _made(slides.name, seen, task or "patches")
    contrary = contradicted(sight.each, recipe)
    first = [*sight.first, *sight.unowned, *odd_masks(seen)]
    if contrary and seen.label:
        first.append(CONTRARY.format(column=seen.label.name, count=number(len(contrary), "slide"), some=some(contrary)))
        recipe, document, notes = _made(slides.name, _unlabelled(seen, sight), task or "patches")
    plan = planned(sight.each, recipe, derive(seed, "ingest"))
    table = sight.table
    if plan.splits and table is not None:
        table = with_splits(table, plan.splits)
        notes = {**notes, "cohort.test_fraction": NOT_DRAWN}
    annotated = bool(seen.classes or seen.values or seen.colours)
    todo = [*first, *refused(sight), *unplaced(sight, recipe), *(plan.lacks if annotated else ())]
    notes = _noted(document, notes, sight)
    if plan.splits and table is None:
        name = sight.found.table.name if sight.found.table else NAME
        todo.append(f"{name}: fill in its column split: a draw would leave a class out of train, val or test")
    if not annotated:
        todo.insert(0, ONLY_LABELS if seen.label else NO_LABELS.format(columns=", ".join(c.name for c in seen.columns)))
    stops = plan.stops or not annotated
    return Draft(document, f"made from {number(count, 'slide')}", notes, sight.faults, table, count, todo, stops)


def _noted(document: dict[str, Any], notes: Mapping[str, str], sight: Look) -> Mapping[str, str]:
    """Put what was seen of patients, of slides that cannot be used and of the table into section `cohort`."""
    if sight.patients:
        notes = {**notes, "cohort.split_by": f"{sight.patients}."}
    if sight.unread:
        document["cohort"]["exclude"] = dict(sight.unread)
        notes = {**notes, "cohort.exclude": "Cannot be used as they are; take them off here when they can."}
    if sight.taken:
        notes = {"cohort.table": f"Made from {sight.taken}.", **notes}
        document["cohort"] = {"root": "", "table": NAME, **document["cohort"]}
    return notes


def _study_draft(slides: Path, sight: Look, targets: Sequence[TargetSeen]) -> Draft:
    """Return a recipe that learns a column of the table, of slides without an outline.

    Raises:
        AcinusError: no column that can be learned.
    """
    columns = sight.found.table.label_columns if sight.found.table else ()
    if not targets:
        raise AcinusError(NO_TARGET.format(slides=slides, columns=", ".join(columns) or "none"))
    count = len(sight.seen.mpps)
    usable = [one for one in sight.each.values() if one.usable]
    patients = {one.patient for one in usable if one.entry.labels.get(targets[0].column)}
    split = any(one.entry.split == "test" for one in usable)
    base = read_mapping(published()[STUDY_BASE])
    document, told = own_study(f"Slides of {slides.name}", sight.seen, targets, base, _weights(), split)
    notes = _noted(document, told, sight)
    recipe = check_recipe("--task slides", document)
    assert isinstance(recipe, SlidesRecipe), "own recipes are of family slides"
    todo = [
        *sight.first,
        *sight.unowned,
        *refused(sight),
        *unplaced(sight, recipe),
        *todo_of(targets[0], len(patients)),
    ]
    origin = f"made from {number(count, 'slide')}"
    stops = len(patients) < FOLDS or bool(targets[0].slips)
    return Draft(document, origin, notes, sight.faults, sight.table, count, todo, stops=stops)


def _made(name: str, seen: Seen, task: Task) -> tuple[SlidesRecipe, dict[str, Any], Mapping[str, str]]:
    """Return a recipe of family slides, its document, and what to say of its values."""
    base = read_mapping(published()[BASES[task]])
    document, notes = own_recipe(f"Slides of {name}", seen, task, base, _weights())
    recipe = check_recipe(f"--task {task}", document)
    assert isinstance(recipe, SlidesRecipe), "own recipes are of family slides"
    return recipe, document, notes


def _weights() -> str:
    """Return which weights this machine can have: those of a package, else timm's."""
    return "package" if find_spec(PACKAGE) else "imagenet"


def _unlabelled(seen: Seen, sight: Look) -> Seen:
    """Return what was seen without a column that says what slides are."""
    columns = [replace(one, values={}, why="not as the annotations have it") for one in seen.columns[:1]]
    bare = sum(one.usable and not one.classes for one in sight.each.values())
    return replace(seen, columns=(*columns, *(replace(one, values={}) for one in seen.columns[1:])), bare=bare)


def looked_at(draft: Draft, slides: Path, files: Mapping[str, str], seed: int) -> tuple[Draft, str]:
    """Return the draft with a test split, and how many slides of its family there are.

    Raises:
        AcinusError: none, or files that do not fit together.
    """
    recipe = draft.recipe
    cohort = recipe.cohort
    classes, positive = tuple(recipe.classes), tuple(recipe.positive)
    order = Order(slides, Path(), cohort, classes, positive, files, seed, map)
    try:
        rows = DISCOVER[recipe.family](order)
    except AcinusError as error:
        if draft.n_slides is not None:
            raise
        raise AcinusError(
            f"{error}. That is what a recipe {draft.origin} reads (family {recipe.family}); without --like the recipe "
            "is made from what lies there"
        ) from error
    if not rows:
        raise AcinusError(
            f"{slides}: no slide of family {recipe.family} among {len(files)} files; give another folder or "
            "another --like"
        )
    if recipe.family in ("pannuke", "slides"):  # folds test, and own recipes draw
        return draft, number(draft.n_slides or len(rows), "fold" if recipe.family == "pannuke" else "slide")
    usable = [row for row in rows if row["status"] == "ok"]
    count = f"{len(rows)} slides" + (f", {len(rows) - len(usable)} of them not used" if len(usable) < len(rows) else "")
    if not cohort.test_fraction and all(row["split"] != "test" for row in usable):
        draft.document["cohort"]["test_fraction"] = TEST_FRACTION
        note = "Nothing names the slides of the test split, so it is drawn."
        draft = replace(draft, notes={**draft.notes, "cohort.test_fraction": note})
    placed = adapter.with_splits(
        usable, draft.recipe.cohort, derive(seed, "ingest"), lambda row: row["slide_label"] or "any"
    )
    lacking = [split for split in SPLITS if all(row["split"] != split for row in placed)]
    patients = number(len({row["patient"] for row in usable}), "patient")
    lines = [f"{patients}: none is left for {' and '.join(lacking)}; each split needs one at least"] if lacking else []
    return replace(draft, todo=lines, stops=bool(lines)), count
