"""Views of the tables: what a rule over rows becomes as a column."""

import numpy as np
import pandas as pd
import pytest

from acinus import records
from acinus.validation.tables import (
    candidate_table,
    class_shares,
    findings,
    manifest_view,
    patch_view,
    split_view,
    tissue_types,
)


def by_id(view: pd.DataFrame, column: str) -> dict[str, object]:
    return dict(zip(view["slide_id"], view[column], strict=True))


def test_only_usable_slides_are_looked_at(case) -> None:
    case = case.having("manifest", 0, status="bad", reason="no mpp").having("manifest", 1, status="excluded")
    assert len(manifest_view(case.manifest, case.places)) == 4


def test_an_absent_an_empty_and_a_folder_image_are_not_readable(case) -> None:
    (case.root / "train_normal.tif").unlink()
    (case.root / "train_tumor.tif").write_bytes(b"")
    (case.root / "val_tumor.tif").unlink()
    (case.root / "val_tumor.tif").mkdir()
    readable = by_id(manifest_view(case.manifest, case.places), "image_readable")
    assert [one for one, good in readable.items() if not good] == ["train_normal", "train_tumor", "val_tumor"]


def test_a_patient_in_two_splits_counts_two_for_each_of_the_slides(case) -> None:
    manifest = case.manifest.copy()
    manifest.loc[manifest["slide_id"].isin(["train_tumor", "val_tumor", "val_normal"]), "patient"] = "same"
    counts = by_id(manifest_view(manifest, case.places), "patient_splits")
    assert counts == {
        "train_tumor": 2,
        "val_tumor": 2,
        "val_normal": 2,
        "train_normal": 1,
        "test_normal": 1,
        "test_tumor": 1,
    }


def test_twins_name_each_other_and_a_bad_slide_is_nobodys_twin(case) -> None:
    manifest = case.manifest.copy()
    manifest.loc[manifest["slide_id"].isin(["train_tumor", "test_tumor", "val_normal"]), "fingerprint"] = "same"
    manifest.loc[manifest["slide_id"] == "val_normal", "status"] = "bad"
    twins = by_id(manifest_view(manifest, case.places), "same_content_as")
    assert {one: other for one, other in twins.items() if other} == {
        "train_tumor": "test_tumor",
        "test_tumor": "train_tumor",
    }


def test_a_tile_of_an_array_is_readable_with_its_file_and_a_derived_raster_with_its_own(case) -> None:
    (case.root / "images.npy").write_bytes(b"x")
    case.places.rasters.mkdir()
    (case.places.rasters / "train_normal.tif").write_bytes(b"x")
    changed = case.having("manifest", 0, image="images.npy#7").having("manifest", 1, image="gone.npy#7")
    changed = changed.having("manifest", 2, image="gone.png", derived=True)  # train_normal: the raster is there
    changed = changed.having("manifest", 3, derived=True)  # train_tumor: the image is there, the raster is not
    readable = by_id(manifest_view(changed.manifest, case.places), "image_readable")
    assert [one for one, good in readable.items() if not good] == ["test_tumor", "train_tumor"]


def test_findings_that_are_not_tolerated_stay_in_their_order(case) -> None:
    manifest = case.having("manifest", 0, findings="a;b;c").having("manifest", 1, findings="b").manifest
    left = by_id(manifest_view(manifest, case.places, ["b"]), "not_tolerated")
    assert {one: found for one, found in left.items() if found} == {"test_normal": "a;c"}
    assert set(by_id(manifest_view(manifest, case.places, ["a", "b", "c"]), "not_tolerated").values()) == {""}


def test_findings_list_their_usable_slides(case) -> None:
    assert findings(case.manifest) == {}
    changed = case.having("manifest", 5, findings="blank_mask;blank_slide").having(
        "manifest", 0, findings="blank_slide"
    )
    changed = changed.having("manifest", 3, findings="blank_mask", status="excluded")
    assert findings(changed.manifest) == {"blank_mask": ["val_tumor"], "blank_slide": ["test_normal", "val_tumor"]}
    assert list(findings(changed.manifest)) == ["blank_mask", "blank_slide"]


def test_class_shares_by_hand(case) -> None:
    """Train: two patches, known areas 1 and 0.5 (half of it ignored); val: nothing known; test: no patch."""
    index = case.index.iloc[[6, 9, 12]].reset_index(drop=True)  # two of train, one of val
    assert index["split"].tolist() == ["train", "train", "val"]
    fractions = np.array([(0.25, 0.75, 0.0), (0.125, 0.125, 0.25), (0.0, 0.0, 0.0)])
    manifest = case.having("manifest", 0, status="bad").manifest
    assert class_shares(index["split"], fractions, manifest, ["background", "benign", "cancer"]) == {
        "train": {
            "slides": 2,
            "patches": 2,
            "shares": {"background": 0.25, "benign": 0.875 / 1.5, "cancer": 0.25 / 1.5},
        },
        "val": {"slides": 2, "patches": 1, "shares": {"background": None, "benign": None, "cancer": None}},
        "test": {"slides": 1, "patches": 0, "shares": {"background": None, "benign": None, "cancer": None}},
    }


def test_tissue_types_are_counted_per_split_over_usable_slides(case) -> None:
    assert tissue_types(case.manifest) == {"train": {"Breast": 1}, "val": {"Colon": 1}, "test": {"Breast": 1}}
    changed = case.having("manifest", 2, tissue_type="Bile-duct").having("manifest", 1, status="bad")
    found = tissue_types(changed.manifest)
    assert found == {"train": {"Bile-duct": 1, "Breast": 1}, "val": {"Colon": 1}}
    assert tissue_types(case.manifest.assign(tissue_type=pd.NA)) == {}


@pytest.mark.parametrize(("slide_id", "safe"), [("a_1.b-c", True), ("../x", False), ("a..b", False), ("ä", False)])
def test_an_id_that_is_no_file_name_is_not_safe(case, slide_id: str, safe: bool) -> None:
    view = manifest_view(case.having("manifest", 0, slide_id=slide_id).manifest, case.places)
    assert view["id_safe"].tolist() == [safe] + [True] * 5


@pytest.mark.parametrize(
    ("x0", "y0", "inside"),
    [
        (0, 0, True),
        (999, 799, True),
        (1000, 0, False),
        (0, 800, False),
        (-1, -1, True),
        (-199, -199, True),  # its last pixel is the slide's first: a window of 100 px of 2 level-0 px each
        (-200, 0, False),
        (0, -200, False),
        (-199, 800, False),
    ],
)
def test_a_patch_may_hang_over_any_border_but_must_touch_the_slide(case, x0: int, y0: int, inside: bool) -> None:
    view = patch_view(case.having("index", 0, x0=x0, y0=y0, downsample=2.0).index, case.manifest)
    assert view.loc[0, "inside_slide"] == inside
    assert view["inside_slide"][1:].all()


def test_a_patch_of_an_unknown_slide_is_neither_inside_nor_in_its_split(case) -> None:
    view = patch_view(case.having("sample", 0, slide_id="nobody").sample, case.manifest)
    assert view.loc[0, ["inside_slide", "in_split_of_slide"]].tolist() == [False, False]
    assert view.loc[1:, ["inside_slide", "in_split_of_slide"]].all().all()


def test_a_patch_of_a_slide_without_size_is_not_inside(case) -> None:
    manifest = case.manifest.copy()
    manifest.loc[manifest["slide_id"] == "test_normal", ["width", "height"]] = pd.NA
    view = patch_view(case.index, manifest)
    assert set(view.loc[~view["inside_slide"], "slide_id"]) == {"test_normal"}


def test_split_view_counts_slides_and_patches_by_hand(case) -> None:
    sample = case.sample[~((case.sample["split"] == "train") & (case.sample["x0"] == 0))]  # one less of each class
    sample = sample[sample["slide_id"] != "test_tumor"]
    manifest = case.having("manifest", 0, status="bad").manifest  # test_normal
    view = split_view(manifest, sample).set_index("split")
    assert view[["slides", "patches", "normal", "tumor"]].to_dict("index") == {
        "train": {"slides": 2, "patches": 4, "normal": 2, "tumor": 2},
        "val": {"slides": 2, "patches": 6, "normal": 3, "tumor": 3},
        "test": {"slides": 1, "patches": 3, "normal": 3, "tumor": 0},
    }
    assert view.loc["train", "normal_per_tumor"] == 1.0
    assert pd.isna(view.loc["test", "normal_per_tumor"])


def test_candidate_table_keeps_ignored_patches_apart(case) -> None:
    index = case.having("index", 0, label=records.IGNORE).index  # of test_normal
    assert candidate_table(index) == {
        "train": {"normal": 3, "tumor": 3, "ignore": 0},
        "val": {"normal": 3, "tumor": 3, "ignore": 0},
        "test": {"normal": 2, "tumor": 3, "ignore": 1},
    }


def test_tables_of_three_classes_by_hand(case) -> None:
    classes = ("stroma", "gland", "lymph")
    sample = case.sample.copy()
    sample["label"] = [0, 1, 2, 0, 0, 0, *[1] * (len(sample) - 6)]
    view = split_view(case.manifest, sample, classes).set_index("split")
    assert "normal" not in view.columns
    for split, rows in sample.groupby("split"):
        counts = [int((rows["label"] == label).sum()) for label in range(3)]
        assert view.loc[split, [f"patches.{name}" for name in classes]].tolist() == counts
        present = [count for count in counts if count]
        assert view.loc[split, "largest_per_rarest"] == max(present) / min(present)
    index = case.having("index", 0, label=2).having("index", 1, label=records.IGNORE).index
    found = candidate_table(index, classes)
    assert {name: sum(split[name] for split in found.values()) for name in (*classes, "ignore")} == {
        name: int((index["label"] == label).sum())
        for name, label in (*zip(classes, range(3), strict=True), ("ignore", -1))
    }
