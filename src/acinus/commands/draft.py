"""The recipe that `acinus init` writes: a published one for these slides, or one made from what lies there."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

from acinus.cohorts import adapter, camelyon, panda, pannuke, rgb_mask
from acinus.cohorts import slides as own_family
from acinus.cohorts.adapter import Order, some
from acinus.cohorts.matching import FLAT_SUFFIXES
from acinus.cohorts.slides_table import NAME
from acinus.commands.own_labels import MOST, WITHOUT_LABELS, number
from acinus.commands.own_recipe import BASES, Seen, Task, own_recipe
from acinus.commands.own_slides import Look, look
from acinus.commands.own_splits import contradicted, planned
from acinus.commands.own_table import with_splits
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
ONLY_LABELS = (
    "slide labels alone do not teach where tumour is: outline it on some of the slides (QuPath, ASAP, ImageScope or "
    "masks), then run acinus init again for a new project; until then slides can be checked and their tissue found"
)
NO_LABELS = (
    "no column of the table tells normal from tumour by itself ({columns}): say under cohort.label of the recipe what "
    "the texts of one mean; to train, outline classes on some of the slides"
)
CONTRARY = (
    "column {column} of the table calls {count} otherwise than their annotations do ({some}), so cohort.label is left "
    "null: correct the table or the annotations, or say which classes are positive"
)
MOST_TODO = 10
"""So many things that stage ingest would stop at are told, a line each."""
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
        raise AcinusError(_no_slides(slides, files, sight))
    if not (seen.classes or seen.values or seen.colours or seen.columns):
        raise AcinusError(_no_labels(slides, sight))
    recipe, document, notes = _made(slides.name, seen, task or "patches")
    contrary = contradicted(sight.each, recipe)
    first = [*sight.first, *sight.unowned, *_odd_masks(seen)]
    if contrary and seen.label:
        first.append(CONTRARY.format(column=seen.label.name, count=number(len(contrary), "slide"), some=some(contrary)))
        recipe, document, notes = _made(slides.name, _unlabelled(seen, sight), task or "patches")
    plan = planned(sight.each, recipe, derive(seed, "ingest"))
    table = sight.table
    if plan.splits and table is not None:
        table = with_splits(table, plan.splits)
        notes = {**notes, "cohort.test_fraction": NOT_DRAWN}
    annotated = bool(seen.classes or seen.values or seen.colours)
    refused = list(sight.refused[:MOST_TODO])
    if more := len(sight.refused) - len(refused):
        refused.append(f"and {more} more like these, which acinus look lists")
    todo = [*first, *refused, *_unplaced(sight, recipe), *(plan.lacks if annotated else ())]
    if sight.patients:
        notes = {**notes, "cohort.split_by": f"{sight.patients}."}
    if sight.unread:
        document["cohort"]["exclude"] = dict(sight.unread)
        notes = {**notes, "cohort.exclude": "Cannot be used as they are; take them off here when they can."}
    if plan.splits and table is None:
        name = sight.found.table.name if sight.found.table else NAME
        todo.append(f"{name}: fill in its column split: a draw would leave a class out of train, val or test")
    if sight.taken:
        notes = {"cohort.table": f"Made from {sight.taken}.", **notes}
        document["cohort"] = {"root": "", "table": NAME, **document["cohort"]}
    if not annotated:
        todo.insert(0, ONLY_LABELS if seen.label else NO_LABELS.format(columns=", ".join(c.name for c in seen.columns)))
    stops = plan.stops or not annotated
    return Draft(document, f"made from {number(count, 'slide')}", notes, sight.faults, table, count, todo, stops)


def _made(name: str, seen: Seen, task: Task) -> tuple[SlidesRecipe, dict[str, Any], Mapping[str, str]]:
    """Return a recipe of family slides, its document, and what to say of its values."""
    weights = "package" if find_spec(PACKAGE) else "imagenet"
    document, notes = own_recipe(f"Slides of {name}", seen, task, read_mapping(published()[BASES[task]]), weights)
    recipe = check_recipe(f"--task {task}", document)
    assert isinstance(recipe, SlidesRecipe), "own recipes are of family slides"
    return recipe, document, notes


def _unlabelled(seen: Seen, sight: Look) -> Seen:
    """Return what was seen without a column that says what slides are."""
    columns = [replace(one, values={}, why="not as the annotations have it") for one in seen.columns[:1]]
    bare = sum(one.usable and not one.classes for one in sight.each.values())
    return replace(seen, columns=(*columns, *(replace(one, values={}) for one in seen.columns[1:])), bare=bare)


def _odd_masks(seen: Seen) -> list[str]:
    """Return a line where masks have more values or colours than a person gives."""
    return [
        f"masks have {len(several)} {what}, of which the first {MOST} are classes: their borders are smoothed; export "
        f"the masks without smoothing (anti-aliasing, interpolation), or keep those that are meant in cohort.{key}"
        for several, what, key in (
            (seen.colours, "colours", "mask_colours"),
            (seen.values, "values", "mask_values"),
        )
        if len(several) > MOST
    ]


def _no_slides(slides: Path, files: Iterable[str], sight: Look) -> str:
    """Return that no slide can be opened, and what lies there instead."""
    lines = [*(one.unread for one in sight.each.values() if one.unread), *sight.unread.values()]
    if lines:
        more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        return f"{slides}: no slide that can be opened ({'; '.join(lines[:SHOWN])}{more})"
    kinds = Counter(PurePath(path).suffix.lower() or "without suffix" for path in files)
    there = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(SHOWN + 2)) or "it is empty"
    return f"{slides}: no file has the name of a slide ({there}); give the folder that holds the slides with --slides"


def _no_labels(slides: Path, sight: Look) -> str:
    """Return that nothing is known of the slides, and what was not understood."""
    lines = [*sight.first, *sight.refused, *sight.faults]
    said = f" ({'; '.join(lines[:SHOWN])}{f'; and {len(lines) - SHOWN} more' if len(lines) > SHOWN else ''})"
    return (
        f"{slides}: no outlines, no masks and no table with labels for {number(len(sight.seen.mpps), 'slide')}"
        f"{said if lines else ''}; {WITHOUT_LABELS}"
    )


def _unplaced(sight: Look, recipe: SlidesRecipe) -> list[str]:
    """Return that slides lack um per px, without which they cannot be used."""
    bare = [one.path for one in sight.each.values() if one.usable and one.mpp is None]
    bare = [path for path in bare if recipe.index.mpp is not None or not path.lower().endswith(FLAT_SUFFIXES)]
    if not bare:
        return []
    return [
        f"{number(len(bare), 'slide')} without µm per px ({some(bare)}): write it into column mpp of slides.csv, or "
        "one for all of them into cohort.mpp of the recipe (20x is about 0.5, 40x about 0.25)"
    ]


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
