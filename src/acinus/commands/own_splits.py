"""Whether a draw by patient gives train, val and test all classes; else a split that does, or why there is none."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from acinus.cohorts import splits
from acinus.cohorts.splits import UNKNOWN, Member
from acinus.commands.own_labels import IGNORE, REGION, number
from acinus.commands.own_slides import SlideSeen
from acinus.errors import AcinusError
from acinus.params.base import SPLITS
from acinus.params.cohorts import SlidesCohort, SlidesRecipe
from acinus.seeds import derive

TRIES = 300
"""So many draws are looked at for one that gives every class to every split."""
SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """splits: path of a slide -> train, val or test, where the recipe's own draw does not do; else empty.

    lacks: what no draw can give, and what to do about it, a line each. stops: training would be refused.
    """

    splits: Mapping[str, str]
    lacks: tuple[str, ...] = ()
    stops: bool = False


def planned(slides: Mapping[str, SlideSeen], recipe: SlidesRecipe, seed: int) -> Plan:
    """Return how the slides (by id) are best divided; seed: that of stage ingest."""
    cohort, by_patient = recipe.cohort, recipe.cohort.split_by == "patient"
    usable = {slide_id: one for slide_id, one in slides.items() if one.usable}
    has = {slide_id: _classes_of(one, recipe) for slide_id, one in usable.items()}
    members = [
        Member(
            slide_id,
            one.patient if by_patient else slide_id,
            _label(one, has[slide_id], recipe) or UNKNOWN,
            one.entry.split,
            one.entry.site or "unknown",
        )
        for slide_id, one in usable.items()
    ]
    try:
        drawn = _missing(members, has, recipe, seed)
    except AcinusError as error:  # a patient whose rows say different splits
        return Plan({}, (str(error),), stops=True)
    groups = {name: {one.group for one in members if name in has[one.slide_id]} for name in recipe.classes}
    if drawn and all(len(of_class) >= len(SPLITS) for of_class in groups.values()):
        for number_of_try in range(TRIES):
            other = derive(seed, "init", number_of_try)
            if not _missing(members, has, recipe, other):
                assigned = splits.assign(members, cohort.val_fraction, other, cohort.test_fraction)
                return Plan({usable[slide_id].path: split for slide_id, split in assigned.items()})
    return Plan({}, tuple(_lacks(drawn, groups, usable, has)), _stops(drawn, recipe)) if drawn else Plan({})


def contradicted(slides: Mapping[str, SlideSeen], recipe: SlidesRecipe) -> list[str]:
    """Return the paths of the slides that the table calls normal and the annotation tumour, or the other way round."""
    has = {one.path: (_stated(one, recipe.cohort), _classes_of(one, recipe)) for one in slides.values() if one.usable}
    return [path for path, (stated, names) in has.items() if stated and names and stated != _shown(names, recipe)]


def _missing(
    members: Sequence[Member], has: Mapping[str, Collection[str]], recipe: SlidesRecipe, seed: int
) -> dict[str, list[str]]:
    """Return split -> the classes that it lacks after a draw; splits that lack none are left out."""
    drawn = splits.assign(members, recipe.cohort.val_fraction, seed, recipe.cohort.test_fraction)
    missing = {}
    for split in SPLITS:
        there = {name for slide_id, where in drawn.items() if where == split for name in has[slide_id]}
        missing[split] = [name for name in recipe.classes if name not in there]
    return {split: names for split, names in missing.items() if names}


def _classes_of(one: SlideSeen, recipe: SlidesRecipe) -> frozenset[str]:
    """Return the classes that a slide has: those annotated and what is outside them, or the first one all over."""
    cohort: SlidesCohort = recipe.cohort
    names = {count.class_name or "unclassified" for count in one.classes}
    if not names:
        label = _stated(one, cohort)
        return frozenset(recipe.classes[:1] if label == "normal" else ())
    if one.kind == "outlines" and cohort.annotations:
        meant = {cohort.annotations.classes.get(name, IGNORE) for name in names} | {cohort.annotations.outside}
    elif one.kind == "values":
        meant = {cohort.mask_values.get(int(name), IGNORE) for name in names}
    else:
        colours = {"#{:02x}{:02x}{:02x}".format(*rgb): name for name, rgb in cohort.mask_colours.items()}
        meant = {colours.get(name, IGNORE) for name in names}
    return frozenset(meant - {IGNORE, REGION})


def _stated(one: SlideSeen, cohort: SlidesCohort) -> str | None:
    """Return what the table says of a slide: normal, tumor or None."""
    meaning = cohort.label.values.get(one.entry.labels.get(cohort.label.column, "")) if cohort.label else None
    return None if meaning == "unknown" else meaning


def _label(one: SlideSeen, has: Collection[str], recipe: SlidesRecipe) -> str | None:
    """Return what ingest will call a slide: the table's word, else what its annotation shows."""
    return _stated(one, recipe.cohort) or _shown(has, recipe)


def _shown(has: Collection[str], recipe: SlidesRecipe) -> str | None:
    """Return what the classes of a slide say of it: normal, tumor or None."""
    return "tumor" if set(has) & set(recipe.positive) else "normal" if has else None


def _stops(missing: Mapping[str, Sequence[str]], recipe: SlidesRecipe) -> bool:
    """Return whether validate would stop: patches need every class everywhere, a segmentation some in train and val."""
    if recipe.task == "patch_classification":
        return True
    return any(set(recipe.positive) <= set(missing.get(split, ())) for split in SPLITS)


def _lacks(
    missing: Mapping[str, Sequence[str]],
    groups: Mapping[str, Collection[str]],
    usable: Mapping[str, SlideSeen],
    has: Mapping[str, Collection[str]],
) -> list[str]:
    """Return why not every split can have every class, and what to do."""
    known = [usable[slide_id] for slide_id, names in has.items() if names]
    patients = {one.patient for one in known}
    if len(patients) < len(SPLITS):
        line = (
            f"{number(len(patients), 'patient')} with an annotation or label: train, val and test need one each at "
            "least; annotate slides of more patients"
        )
        if len(known) >= len(SPLITS):
            line += (
                f", or set cohort.split_by: slide to divide the {len(known)} slides, with figures that say nothing of "
                "new patients"
            )
        return [line]
    few = {name: len(of_class) for name, of_class in groups.items() if len(of_class) < len(SPLITS)}
    if few:
        counts = ", ".join(f"{name} {count}" for name, count in few.items())
        return [
            f"classes of fewer than {len(SPLITS)} patients cannot be in train, val and test ({counts}); annotate them "
            "on slides of more patients, or map them to another class or ignore in the recipe"
        ]
    lacking = "; ".join(f"{split}: {', '.join(names)}" for split, names in missing.items())
    return [f"no draw gives every class to every split ({lacking}); fill in column split of slides.csv"]
