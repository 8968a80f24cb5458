"""The splits that `init` gives cohorts of any size: all classes everywhere, or one line why not and what to do."""

from collections.abc import Sequence

import pytest

from acinus.annotations.outline import ClassCount
from acinus.cohorts import splits
from acinus.cohorts.slides_table import Entry
from acinus.commands.own_labels import ClassSeen
from acinus.commands.own_recipe import BASES, Seen, own_recipe
from acinus.commands.own_slides import SlideSeen
from acinus.commands.own_splits import Plan, planned
from acinus.params import check_recipe
from acinus.params.cohorts import SlidesRecipe
from acinus.params.strict_yaml import read_mapping
from acinus.templates.reading import published


def recipe_of(*names: str, task: str = "patches", patients: int = 9) -> SlidesRecipe:
    seen = Seen((0.5,), tuple(ClassSeen(name, 1, patients, 1.0) for name in names))
    document, _ = own_recipe("x", seen, task, read_mapping(published()[BASES[task]]), "imagenet")  # type: ignore[arg-type]
    recipe = check_recipe("x", document)
    assert isinstance(recipe, SlidesRecipe)
    return recipe


def slides_of(*each: tuple[str, Sequence[str]]) -> dict[str, SlideSeen]:
    """Slides s0, s1, ...: patient and classes of outlines."""
    return {
        f"s{number}": SlideSeen(
            f"s{number}.svs",
            Entry(0),
            patient,
            (0.5, 0.5),
            tuple(ClassCount(name, 1, 100.0, None) for name in names),
            "outlines" if names else "",
        )
        for number, (patient, names) in enumerate(each)
    }


@pytest.mark.parametrize("count", [3, 5, 9, 40])
def test_three_patients_are_enough_for_what_all_have(count: int) -> None:
    slides = slides_of(*((f"P{number}", ["Tumor"]) for number in range(count)))
    assert planned(slides, recipe_of("Tumor"), 1) == Plan({})


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_are_told_with_what_to_do(count: int) -> None:
    plan = planned(slides_of(*((f"P{n}", ["Tumor"]) for n in range(count))), recipe_of("Tumor"), 1)
    assert plan.stops
    (line,) = plan.lacks
    assert line.startswith(
        f"{count} patient{'s' * (count > 1)} with an annotation or label: train, val and test need one"
    )
    assert "split_by" not in line


def test_many_slides_of_two_patients_may_be_divided_by_slide() -> None:
    slides = slides_of(*((f"P{number // 4}", ["Tumor"]) for number in range(8)))
    (line,) = planned(slides, recipe_of("Tumor"), 1).lacks
    assert "or set cohort.split_by: slide to divide the 8 slides, with figures that say nothing of new patients" in line
    recipe = recipe_of("Tumor")
    by_slide = recipe.model_copy(update={"cohort": recipe.cohort.model_copy(update={"split_by": "slide"})})
    assert not planned(slides, by_slide, 1).lacks


@pytest.mark.parametrize("seed", range(5))
def test_where_the_draw_leaves_a_class_out_a_split_is_found_that_does_not(seed: int) -> None:
    """Necrosis is on slides of three patients of 20: hardly any draw puts one of them into each split."""
    rare = {3, 8, 17}
    slides = slides_of(*((f"P{n}", ["Tumor", "Necrosis"] if n in rare else ["Tumor"]) for n in range(20)))
    plan = planned(slides, recipe_of("Necrosis", "Tumor"), seed)
    assert not plan.lacks
    if plan.splits:
        assert {plan.splits[f"s{number}.svs"] for number in rare} == {"train", "val", "test"}
        assert set(plan.splits) == {one.path for one in slides.values()}
    else:
        members = [splits.Member(slide_id, one.patient, "tumor", None, "unknown") for slide_id, one in slides.items()]
        drawn = splits.assign(members, 0.2, seed, 0.2)
        assert {drawn[f"s{number}"] for number in rare} == {"train", "val", "test"}


def test_a_class_of_one_patient_stops_patches_and_not_a_segmentation() -> None:
    slides = slides_of(("P0", ["Tumor", "Necrosis"]), *((f"P{n}", ["Tumor"]) for n in range(1, 9)))
    plan = planned(slides, recipe_of("Necrosis", "Tumor"), 1)
    assert plan.stops
    assert plan.lacks[0].startswith("classes of fewer than 3 patients cannot be in train, val and test (Necrosis 1)")
    assert not planned(slides, recipe_of("Necrosis", "Tumor", task="segmentation"), 1).stops


def test_a_patient_in_two_splits_is_told() -> None:
    slides = slides_of(("P0", ["Tumor"]), ("P0", ["Tumor"]))
    slides["s0"] = SlideSeen("s0.svs", Entry(2, split="train"), "P0", classes=slides["s0"].classes, kind="outlines")
    plan = planned(slides, recipe_of("Tumor"), 1)
    assert plan.stops
    assert plan.lacks[0].startswith("patient P0: slide s0 is in train, slide s1 in no split yet")
