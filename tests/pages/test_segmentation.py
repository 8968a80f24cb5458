"""The figures of a segmentation against matrices worked by hand and against scikit-learn on the pixels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, recall_score

from acinus.errors import TableError
from acinus.metrics import per_slide
from acinus.metrics.overlap import summed_confusion
from acinus.metrics.registry import headlines, shown_in
from acinus.metrics.setup import MetricSetup

SETUP = MetricSetup("segmentation", ("other", "gland", "stroma"))
WHOLE = np.array([[280, 10, 10], [50, 30, 10], [0, 0, 10]])  # of the fixture, true x predicted


def pixels(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return true and predicted class of every px of a matrix."""
    rows, columns = np.indices(matrix.shape)
    return np.repeat(rows, matrix.ravel()), np.repeat(columns, matrix.ravel())


def test_dice_is_taken_slide_by_slide(segmentation) -> None:
    found, table = segmentation.metrics, segmentation.per_slide.set_index("slide_id")
    first = (60 / 80 + 20 / 30) / 2
    assert table.loc["seg_a", "dice"] == pytest.approx(first)
    assert table.loc[["seg_b", "seg_c"], "dice"].tolist() == [0.0, 0.0]
    assert table.loc[["seg_d", "seg_e"], "dice"].isna().all()  # nothing to find; no truth
    assert table.loc["seg_a", "iou"] == pytest.approx((30 / 50 + 10 / 20) / 2)
    assert found["dice_mean"] == pytest.approx(first / 3)
    assert found["dice_mean_tumor"] == pytest.approx(first / 2)  # seg_a and seg_b; seg_e is of unknown truth
    assert found["iou_mean"] == pytest.approx(0.55 / 3)
    # either of the two classes against other: 50 of 60 px found and 60 predicted; the other slides find nothing
    assert found["dice_pooled"] == pytest.approx(2 * 50 / ((60 + 0 + 10) + (50 + 50 + 0)))


def test_set_figures_against_scikit_learn(segmentation) -> None:
    true, predicted = pixels(WHOLE)
    found, every = segmentation.metrics, [0, 1, 2]
    assert found["miou"] == pytest.approx(jaccard_score(true, predicted, average="macro"))
    assert found["mdice"] == pytest.approx(f1_score(true, predicted, average="macro"))
    assert found["pixel_accuracy"] == pytest.approx(accuracy_score(true, predicted))
    for name, score in (("class_iou", jaccard_score), ("class_dice", f1_score), ("class_accuracy", recall_score)):
        values = [found[f"{name}.{one}"] for one in SETUP.classes]
        assert values == pytest.approx(score(true, predicted, labels=every, average=None)), name
    assert [found[f"class_share_true.{one}"] for one in SETUP.classes] == pytest.approx([300 / 400, 90 / 400, 10 / 400])
    assert [found[f"class_share_pred.{one}"] for one in SETUP.classes] == pytest.approx([330 / 400, 40 / 400, 30 / 400])
    np.testing.assert_array_equal(summed_confusion(segmentation.per_slide, segmentation.quantities, 3), WHOLE)


def test_counts(segmentation) -> None:
    found = {name: value for name, value in segmentation.metrics.items() if name.startswith("n_") and "." not in name}
    assert found.pop("n_resamples_undefined") >= 0
    assert found == {
        "n_slides": 5,
        "n_slides_excluded": 0,
        "n_slides_unlabelled": 1,
        "n_patients": 5,
        "n_patients_seen": 0,
        "n_truth": 4,
        "n_truth_px": 400,
        "n_slide_auc": 4,
        "n_dice": 3,
        "n_dice_tumor": 2,
        "n_dice_pooled": 4,
        "n_dice_undefined": 2,
        "n_burden": 4,
        "n_class_scores": 0,
        "n_tumor_rule": 4,
        "n_tumor_called": 3,
        "n_normal_called": 1,
        "n_normal_mapped": 1,
        "n_normal_clean": 0,
        "n_false_area_mm2": 1,
        "n_burden_annotation": 0,
        "n_tumour_outside": 0,
    }


def test_baselines_are_scored_as_the_model_is(segmentation) -> None:
    found = segmentation.metrics
    assert found["dice_mean.baseline_majority"] == 0.0  # it finds nothing where there is something
    assert found["pixel_accuracy.baseline_majority"] == pytest.approx(300 / 400)
    assert found["miou.baseline_majority"] == pytest.approx(300 / 400 / 3)
    first = (60 / 80 + 20 / 30) / 2  # the colour baseline does as the model does on seg_a, nothing elsewhere
    assert found["dice_mean.baseline_colour"] == pytest.approx(first / 2)  # seg_c, too, becomes undefined
    assert found["dice_mean_tumor.baseline_colour"] == pytest.approx(first / 2)
    true, predicted = pixels(np.array([[290, 10, 0], [50, 30, 10], [0, 0, 10]]))
    assert found["mdice.baseline_colour"] == pytest.approx(f1_score(true, predicted, average="macro"))


def test_groups_stand_beside_the_whole(segmentation) -> None:
    found = segmentation.metrics
    assert found["dice_mean_tumor.left"] == pytest.approx((60 / 80 + 20 / 30) / 2)
    assert found["dice_mean_tumor.right"] == 0.0
    assert (found["n_dice_tumor.left"], found["n_dice_tumor.right"]) == (1, 1)
    true, predicted = pixels(np.array([[90, 10, 0], [50, 30, 10], [0, 0, 10]]))
    assert found["miou.lung"] == pytest.approx(jaccard_score(true, predicted, average="macro"))
    assert (found["n_truth.lung"], found["n_truth.skin"]) == (2, 2)  # seg_e has no tissue type


def test_one_provider_is_no_group(segment, segmentation) -> None:
    slides = segmentation.manifest.assign(provider="left", tissue_type="a").to_dict("records")
    names = [name for name in segment(slides=slides).metrics if name.startswith(("dice_mean_tumor.", "miou."))]
    assert all(".baseline_" in name for name in names)


def test_odd_names_of_groups_become_names_of_figures(segment, segmentation) -> None:
    manifest = segmentation.manifest
    manifest["provider"] = ["a b", "c(d)", "a b", "a b", "a b"]
    assert "dice_mean_tumor.c_d_" in segment(slides=manifest.to_dict("records")).metrics


def test_at_most_thirty_groups_the_largest(segment, rows) -> None:
    slides = [rows.slide(f"s{i:02}", "tumor", f"p{i}", tissue_type=f"t{i % 40:02}") for i in range(45)]
    nothing = rows.amount("", (None, None, None), (1.0, None), 0.5) | {"class_px": (990, 10, 0)}
    found = segment(slides=slides, amounts=[nothing | {"slide_id": f"s{i:02}"} for i in range(45)]).metrics
    names = [name for name in found if name.startswith("miou.t")]
    assert names == [f"miou.t{i:02}" for i in range(30)]
    assert found["miou.t00"] is found["miou"] is None


def test_intervals_are_of_patients(segment, segmentation) -> None:
    found = segment(bootstrap=100).metrics
    for name in ("miou", "mdice", "pixel_accuracy", "dice_mean", "dice_mean_tumor"):
        assert found[f"{name}_ci_low"] <= found[name] <= found[f"{name}_ci_high"], name
        assert found[f"{name}_ci_low"] < found[f"{name}_ci_high"], name
    one = segment(slides=segmentation.manifest.assign(patient="p").to_dict("records")).metrics
    assert one["miou"] == segmentation.metrics["miou"]
    assert one["miou_ci_low"] is None
    assert segment(bootstrap=100).metrics == found


def test_interval_of_a_sum_against_all_resamples(segment, segmentation) -> None:
    """seg_a and seg_d alone: accuracies 0.8 and 1, together 0.9; each resample has 100 px twice."""
    chosen = segmentation.manifest[segmentation.manifest["slide_id"].isin(["seg_a", "seg_d"])]
    amounts = segmentation.quantities[segmentation.quantities["slide_id"].isin(["seg_a", "seg_d"])]
    found = segment(slides=chosen.to_dict("records"), amounts=amounts.to_dict("records"), bootstrap=100).metrics
    assert found["pixel_accuracy"] == pytest.approx(0.9)
    assert (found["pixel_accuracy_ci_low"], found["pixel_accuracy_ci_high"]) == pytest.approx((0.8, 1.0))


def test_every_headline_of_the_task_is_there_and_none_of_the_other(segmentation) -> None:
    assert shown_in("card", segmentation.metrics, "segmentation") == [
        *("dice_mean_tumor", "dice_mean", "mdice", "miou", "pixel_accuracy", "dice_pooled", "iou_mean"),
        *("burden_mae", "burden_bias", "slide_auc", "slide_sensitivity", "slide_specificity"),
    ]
    assert {name for name in headlines("segmentation") if f"{name}_ci_low" in segmentation.metrics} >= {"ece", "brier"}
    assert "patch_auc" not in segmentation.metrics


def test_nothing_scored_gives_none_never_a_number(segment) -> None:
    found = segment(slides=[], amounts=[]).metrics
    names = [
        *shown_in("card", found, "segmentation"),
        "class_dice.gland",
        "miou.baseline_colour",
        "class_share_true.other",
    ]
    assert {name: found[name] for name in names} == dict.fromkeys(names)
    assert {type(value) for value in found.values()} <= {float, int, type(None)}


def test_the_table_has_the_classes_of_every_slide(segmentation) -> None:
    table = segmentation.per_slide.set_index("slide_id")
    assert list(segmentation.per_slide.columns) == list(per_slide.columns(SETUP))
    assert table.loc["seg_a", "class_dice.stroma"] == pytest.approx(20 / 30)
    assert pd.isna(table.loc["seg_b", "class_dice.stroma"])  # in neither truth nor prediction
    assert table.loc["seg_a", "pixel_accuracy"] == pytest.approx(0.8)
    shares = [f"class_share.{name}" for name in SETUP.classes]
    assert table.loc["seg_a", shares].tolist() == pytest.approx([0.4, 0.4, 0.2])
    assert table.loc["seg_e", shares].tolist() == pytest.approx([0.95, 0.05, 0.0])  # known without any truth
    assert table.loc["seg_a", ["provider", "tissue_type", "findings", "split_rule"]].tolist() == [
        "left",
        "lung",
        "blank_mask",
        "drawn",
    ]
    assert table["isup"].tolist()[:3] == [3, 4, 0]


def test_grades_that_disagree_with_the_burden_are_flagged(segmentation) -> None:
    flags = dict(zip(segmentation.per_slide["slide_id"], segmentation.per_slide["flags"], strict=True))
    assert "isup_without_burden" in flags["seg_b"]
    assert "isup_zero_with_burden" in flags["seg_c"]
    assert not {"isup_without_burden", "isup_zero_with_burden"} & set(
        (flags["seg_a"] + ";" + flags["seg_d"]).split(";")
    )


def test_amounts_of_other_classes_are_refused(segmentation) -> None:
    two = MetricSetup("segmentation", ("other", "gland"))
    with pytest.raises(TableError, match=r"class_px of seg_a has 3 counts, expected 2|confusion of seg_a has 9 counts"):
        per_slide.per_slide(segmentation.tables, two)
    with pytest.raises(TableError, match=r"confusion of seg_a has 9 counts, expected 4.*quantify"):
        summed_confusion(segmentation.per_slide, segmentation.quantities, 2)
