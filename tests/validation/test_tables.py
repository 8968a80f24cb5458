"""Views of the tables: what a rule over rows becomes as a column."""

import pandas as pd
import pytest

from acinus import records
from acinus.validation.tables import class_table, manifest_view, patch_view, split_view


def by_id(view: pd.DataFrame, column: str) -> dict[str, object]:
    return dict(zip(view["slide_id"], view[column], strict=True))


def test_only_usable_slides_are_looked_at(case) -> None:
    case = case.having("manifest", 0, status="bad", reason="no mpp").having("manifest", 1, status="excluded")
    assert len(manifest_view(case.manifest, case.root)) == 4


def test_an_absent_an_empty_and_a_folder_image_are_not_readable(case) -> None:
    (case.root / "train_normal.tif").unlink()
    (case.root / "train_tumor.tif").write_bytes(b"")
    (case.root / "val_tumor.tif").unlink()
    (case.root / "val_tumor.tif").mkdir()
    readable = by_id(manifest_view(case.manifest, case.root), "image_readable")
    assert [one for one, good in readable.items() if not good] == ["train_normal", "train_tumor", "val_tumor"]


def test_a_patient_in_two_splits_counts_two_for_each_of_the_slides(case) -> None:
    manifest = case.manifest.copy()
    manifest.loc[manifest["slide_id"].isin(["train_tumor", "val_tumor", "val_normal"]), "patient"] = "same"
    counts = by_id(manifest_view(manifest, case.root), "patient_splits")
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
    twins = by_id(manifest_view(manifest, case.root), "same_content_as")
    assert {one: other for one, other in twins.items() if other} == {
        "train_tumor": "test_tumor",
        "test_tumor": "train_tumor",
    }


@pytest.mark.parametrize(("slide_id", "safe"), [("a_1.b-c", True), ("../x", False), ("a..b", False), ("ä", False)])
def test_an_id_that_is_no_file_name_is_not_safe(case, slide_id: str, safe: bool) -> None:
    view = manifest_view(case.having("manifest", 0, slide_id=slide_id).manifest, case.root)
    assert view["id_safe"].tolist() == [safe] + [True] * 5


@pytest.mark.parametrize(
    ("x0", "y0", "inside"),
    [(0, 0, True), (999, 799, True), (1000, 0, False), (0, 800, False), (-1, 0, False), (0, -1, False)],
)
def test_a_patch_may_hang_over_the_border_but_must_start_inside(case, x0: int, y0: int, inside: bool) -> None:
    view = patch_view(case.having("index", 0, x0=x0, y0=y0).index, case.manifest)
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
    assert view[["slides", "normal", "tumor"]].to_dict("index") == {
        "train": {"slides": 2, "normal": 2, "tumor": 2},
        "val": {"slides": 2, "normal": 3, "tumor": 3},
        "test": {"slides": 1, "normal": 3, "tumor": 0},
    }
    assert view.loc["train", "normal_per_tumor"] == 1.0
    assert pd.isna(view.loc["test", "normal_per_tumor"])


def test_class_table_keeps_ignored_patches_apart(case) -> None:
    index = case.having("index", 0, label=records.IGNORE).index  # of test_normal
    assert class_table(index) == {
        "train": {"normal": 3, "tumor": 3, "ignore": 0},
        "val": {"normal": 3, "tumor": 3, "ignore": 0},
        "test": {"normal": 2, "tumor": 3, "ignore": 1},
    }
