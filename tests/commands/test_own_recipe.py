"""The recipe that `init` makes from what it saw: classes, resolution, split, on hand-made sights."""

import json
from pathlib import Path

import pytest
from PIL import Image

from acinus.commands.own_labels import ClassSeen
from acinus.commands.own_recipe import BASES, Seen, Task, own_recipe
from acinus.commands.own_slides import look
from acinus.params import check_recipe
from acinus.params.cohorts import SlidesRecipe
from acinus.params.strict_yaml import read_mapping
from acinus.templates.reading import published


def made(seen: Seen, task: Task = "segmentation", weights: str = "imagenet") -> tuple[SlidesRecipe, dict[str, str]]:
    document, notes = own_recipe("Slides of x", seen, task, read_mapping(published()[BASES[task]]), weights)
    recipe = check_recipe("own", document)
    assert isinstance(recipe, SlidesRecipe)
    return recipe, notes


def seen(*names: str | None, mpps: tuple[float | None, ...] = (0.5,), slides: int = 9) -> Seen:
    return Seen(mpps, tuple(ClassSeen(name, 12, slides, 3.25) for name in names))


def test_each_class_is_mapped_to_itself_and_what_is_not_outlined_comes_first() -> None:
    recipe, notes = made(seen("Gland: atypical", "Tumor"))
    assert recipe.classes == ["normal", "Gland_atypical", "Tumor"]
    assert recipe.positive == ["Gland_atypical", "Tumor"]
    annotations = recipe.cohort.annotations
    assert annotations is not None
    assert annotations.classes == {"Gland: atypical": "Gland_atypical", "Tumor": "Tumor"}
    assert annotations.outside == "normal"
    assert notes["cohort.annotations.classes.Tumor"] == "12 outlines on 9 slides, 3.25 mm²."


def test_where_both_kinds_are_outlined_nothing_is_known_of_the_rest() -> None:
    recipe, _ = made(seen("Tumor", "Stroma", "Necrosis"))
    assert recipe.classes == ["Stroma", "Tumor", "Necrosis"]
    assert recipe.cohort.annotations is not None
    assert recipe.cohort.annotations.outside == "ignore"


def test_regions_and_what_a_tool_passes_over_are_no_classes_and_rare_ones_are_told() -> None:
    sight = Seen(
        (0.5,), (ClassSeen("Tumor", 3, 2, None), ClassSeen("Region*", 1, 1, 1.0), ClassSeen("Ignore*", 1, 1, 1.0))
    )
    recipe, notes = made(sight)
    assert recipe.cohort.annotations is not None
    assert recipe.cohort.annotations.classes == {"Tumor": "Tumor", "Region*": "region", "Ignore*": "ignore"}
    assert recipe.classes == ["normal", "Tumor"]
    assert notes["cohort.annotations.classes.Tumor"].startswith("3 outlines on 2 slides. Rare: ")


def test_outlines_without_a_class_are_one_if_there_are_no_others() -> None:
    alone, _ = made(seen(None))
    assert alone.classes == ["normal", "unclassified"]
    beside, _ = made(seen("Tumor", None))
    assert beside.classes == ["normal", "Tumor"]
    assert beside.cohort.annotations is not None
    assert beside.cohort.annotations.classes["unclassified"] == "ignore"


@pytest.mark.parametrize(
    ("mpps", "mpp"),
    [
        ((0.25, 0.23), 0.5),
        ((0.25, 0.5), 0.5),
        ((0.25, 0.50341), 0.5035),  # 0.5 would ask the slide for more than it has, 1.0 would throw away half
        ((0.2, 0.6), 1.0),
        ((1.0, None), 1.0),
        ((5.12345,), 5.1235),
    ],
)
def test_every_slide_has_the_resolution(mpps: tuple[float | None, ...], mpp: float) -> None:
    recipe, notes = made(seen("Tumor", mpps=mpps))
    assert recipe.index.mpp == mpp
    assert all(one <= mpp for one in mpps if one)
    assert ("cohort.mpp" in notes) == (None in mpps)


@pytest.mark.parametrize(
    ("task", "edges", "mpps", "patch_px"),
    [
        ("patches", (40_000, 30_000), (0.25, 0.25), 256),
        ("patches", (512, 512, 9000), (0.5, 0.5, 0.5), 128),
        ("patches", (300,), (None,), 64),
        ("patches", (2000,), (0.125,), 64),  # 500 px at 0.5 um/px
        ("segmentation", (512,), (0.5,), 512),
        ("segmentation", (500,), (0.5,), 256),
    ],
)
def test_patches_of_small_slides_are_small(
    task: Task, edges: tuple[int, ...], mpps: tuple[float | None, ...], patch_px: int
) -> None:
    recipe, notes = made(Seen(mpps, (ClassSeen("Tumor", 9, 9, 1.0),), edges=edges), task)
    assert (recipe.index.patch_px, recipe.index.stride_px) == (patch_px, patch_px)
    assert recipe.infer.stride_px <= patch_px // 2
    assert ("index.patch_px" in notes) == (patch_px != {"patches": 256, "segmentation": 512}[task])


def test_patches_of_three_classes_have_the_keys_of_many_classes() -> None:
    recipe, _ = made(seen("Necrosis", "Tumor"), "patches")
    assert recipe.many_labels
    assert (recipe.index.min_class_fraction, recipe.sample.max_class_ratio) == (0.5, 2.0)
    assert recipe.tune.objective == "auc_macro"


def test_a_rare_class_is_not_learned_beside_others_that_are_not() -> None:
    classes = (
        ClassSeen("Necrosis", 4, 2, 0.1),
        ClassSeen("Tumor", 9, 9, 1.0),
        ClassSeen("Duct", 9, 9, 1.0, patients=1),
    )
    recipe, notes = made(Seen((0.5,), classes))
    assert recipe.cohort.annotations is not None
    assert recipe.cohort.annotations.classes == {"Necrosis": "ignore", "Tumor": "Tumor", "Duct": "ignore"}
    assert recipe.classes == ["normal", "Tumor"]
    assert notes["cohort.annotations.classes.Duct"] == (
        "9 outlines on 9 slides, 1 mm². Rare: 1 patient cannot be in train, val and test, so it is not learned. "
        "To learn it: Duct."
    )


def test_colours_of_masks_are_classes_the_ground_first_and_smoothed_borders_left_out() -> None:
    named = [("#ffffff", 9000), ("#ff0000", 700), ("#0000ff", 50)]
    colours = [ClassSeen(name, 9, 9, None, px=px) for name, px in named]
    smoothed = [ClassSeen(f"#ff00{number:02x}", 1, 9, None, px=1) for number in range(1, 41)]
    recipe, notes = made(Seen((0.5,), (), colours=(*colours, *smoothed), legend={"#0000ff": "Duct"}))
    assert list(recipe.cohort.mask_colours)[:3] == ["normal", "colour_ff0000", "Duct"]
    assert recipe.cohort.mask_colours["Duct"] == [0, 0, 255]
    assert len(recipe.cohort.mask_colours) == len(recipe.classes) == 12
    assert notes["cohort.mask_colours.Duct"] == "50 px in masks of 9 slides."
    assert "and 25 more" in notes["cohort.mask_colours"]


@pytest.mark.parametrize(
    ("sight", "classes"),
    [
        (seen("Ignore*"), ["normal", "tumor"]),
        (seen("Normal"), ["other", "Normal"]),
        (seen("normal"), ["other", "normal"]),
        (Seen((0.5,), (), (ClassSeen("1", 9, 9, None, px=9),)), ["normal", "value_1"]),
        (Seen((0.5,), ()), ["normal", "tumor"]),
    ],
)
def test_a_recipe_has_two_classes_whatever_was_outlined(sight: Seen, classes: list[str]) -> None:
    assert made(sight)[0].classes == classes


def test_many_slides_without_an_annotation_do_not_stop_the_pipeline_and_are_told() -> None:
    """Regression: `dvc repro` of a new project stopped at validate where every second slide was not annotated."""
    classes = (ClassSeen("Tumor", 9, 4, 1.0),)
    few, notes = made(Seen((0.5,) * 20, classes, bare=2))
    assert (few.validate_.max_unlabelled, notes.get("validate.max_unlabelled")) == (0.1, None)
    many, notes = made(Seen((0.5,) * 8, classes, bare=4))
    assert many.validate_.max_unlabelled == 1.0
    assert notes["validate.max_unlabelled"].startswith("4 of 8 slides have neither annotation nor label: ")


def test_without_any_resolution_the_finest_level_is_taken() -> None:
    recipe, notes = made(seen("Tumor", mpps=(None, None)))
    assert (recipe.index.level, recipe.index.mpp) == (0, None)
    assert "No slide says" in notes["index.level"]


def test_the_test_split_is_drawn_by_patient_and_weights_are_those_that_can_be_had() -> None:
    recipe, _ = made(seen("Tumor"), weights="package")
    assert (recipe.cohort.test_fraction, recipe.cohort.split_by) == (0.2, "patient")
    assert (recipe.train.weights, recipe.train.encoder) == ("package", "tf_efficientnet_lite0")
    assert made(seen("Tumor"))[0].train.weights == "imagenet"
    assert recipe.grade.target == "none"


def test_a_look_counts_classes_areas_and_patients_and_names_what_it_cannot_read(tmp_path: Path) -> None:
    for stem in ("TCGA-83-5908-01Z-00-DX1", "TCGA-83-5909-01Z-00-DX1", "scan 3"):
        Image.new("RGB", (1000, 800), (220, 180, 200)).save(
            tmp_path / f"{stem}.tif", resolution=10_000 / 0.5, tiled=True
        )
    square = [[0, 0], [200, 0], [200, 100], [0, 100], [0, 0]]

    def feature(name: str, kind: str = "annotation") -> dict:
        properties = {"objectType": kind, "classification": {"name": name}}
        return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [square]}, "properties": properties}

    (tmp_path / "TCGA-83-5908-01Z-00-DX1.geojson").write_text(json.dumps([feature("Tumor"), feature("Tumor")]))
    (tmp_path / "TCGA-83-5909-01Z-00-DX1.geojson").write_text(json.dumps([feature("Tumor"), feature("x", "detection")]))
    (tmp_path / "scan 3.geojson").write_text('{"type": "FeatureCollection", "feat')
    (tmp_path / "elsewhere.geojson").write_text(json.dumps([feature("Tumor")]))
    assert (look(tmp_path, [path.name for path in tmp_path.iterdir()]).table or "").splitlines() == [
        "slide,patient,split,site,mpp,annotation,exclude,reason",
        "TCGA-83-5908-01Z-00-DX1.tif,TCGA-83-5908,,,,TCGA-83-5908-01Z-00-DX1.geojson,,",
        "TCGA-83-5909-01Z-00-DX1.tif,TCGA-83-5909,,,,TCGA-83-5909-01Z-00-DX1.geojson,,",
        "scan 3.tif,,,,,scan 3.geojson,,",
    ]
    (tmp_path / "slides.csv").write_text(
        "slide;mpp\nTCGA-83-5908-01Z-00-DX1;0,25\nTCGA-83-5909-01Z-00-DX1;0,5\nscan 3;0,5\n"
    )
    sight = look(tmp_path, [path.name for path in tmp_path.iterdir()])
    assert sight.seen.mpps == [0.25, 0.5, 0.5]
    area = (2 * 20_000 * 0.25**2 + 20_000 * 0.5**2) / 1e6  # mm²
    assert sight.seen.classes == [ClassSeen("Tumor", 3, 2, pytest.approx(area), patients=2)]
    assert any(fault.startswith("scan 3.geojson: ") for fault in sight.refused)
    assert sight.seen.bare == 1
    assert list(sight.found.match.orphans) == ["elsewhere.geojson"]
    assert any(fault.startswith("elsewhere.geojson: an annotation without a slide: ") for fault in sight.refused)
    assert sight.table is None


def test_values_of_masks_are_classes_to_be_named(tmp_path: Path) -> None:
    Image.new("RGB", (1000, 800), (220, 180, 200)).save(tmp_path / "a.tif", tiled=True)
    mask = Image.new("L", (1000, 800))
    mask.paste(3, (0, 0, 400, 400))
    mask.paste(12, (500, 0, 600, 100))
    mask.save(tmp_path / "a_mask.png")
    sight = look(tmp_path, [path.name for path in tmp_path.iterdir()])
    assert [(one.name, one.slides) for one in sight.seen.values] == [("0", 1), ("3", 1), ("12", 1)]
    recipe, notes = made(sight.seen)
    assert recipe.cohort.mask_values == {0: "normal", 3: "value_3", 12: "value_12"}
    assert recipe.classes == ["normal", "value_3", "value_12"]
    assert recipe.cohort.annotations is None
    assert notes["cohort.mask_values.12"] == (
        "10,000 px in masks of 1 slide. Rare: 1 patient cannot be in train, val and test."
    )
