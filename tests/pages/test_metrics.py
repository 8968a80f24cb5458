"""The numbers of a recipe against tables worked by hand, and against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from acinus.metrics import report
from acinus.metrics.ranking import pairwise_auc
from acinus.metrics.setup import MetricSetup

SETUP = MetricSetup("patch_classification", ("normal", "tumor"))
HEADLINES = (
    *("patch_auc", "within_slide_auc_mean", "slide_auc", "dice_mean_tumor", "dice_mean", "dice_pooled", "iou_mean"),
    *("burden_mae", "burden_bias", "slide_sensitivity", "slide_specificity"),
)


def test_figures_worked_by_hand(cohort) -> None:
    found = cohort.metrics
    # positives 0.9 0.4 0.5 against negatives 0.6 0.1 0.5 0.2 0.7 0.05: 6 + 3 + 3.5 of 18 pairs
    assert found["patch_auc"] == pytest.approx(12.5 / 18)
    assert found["within_slide_auc_mean"] == pytest.approx(0.75)
    # slide scores: tumour 0.9 0.7 0.6, normal 0.8 0.1: 2 + 1 + 1 of 6 pairs
    assert found["slide_auc"] == pytest.approx(4 / 6)
    assert found["dice_mean"] == pytest.approx((0.8 + 0.4 + 0.0) / 3)
    assert found["dice_mean_tumor"] == pytest.approx(0.6)
    assert found["dice_pooled"] == pytest.approx(2 * 110 / (190 + 210))
    assert found["iou_mean"] == pytest.approx((80 / 120 + 30 / 120 + 0.0) / 3)
    assert found["burden_mae"] == pytest.approx((0 + 7 + 5 + 0) / 4)
    assert found["burden_bias"] == pytest.approx((0 - 7 + 5 + 0) / 4)


def test_patients_seen_in_training_are_counted(build, rows) -> None:
    more = [rows.slide("train_z", "tumor", "p1", split="train"), rows.slide("val_z", "tumor", "p2", split="val")]
    bad = rows.slide("train_y", "tumor", "p3", split="train", status="bad", reason="cut off")
    assert build([*rows.SLIDES, *more, bad]).metrics["n_patients_seen"] == 1


def test_slides_without_annotation_are_counted(build, rows) -> None:
    bare = [row | {"label_kind": "unknown"} if row["slide_id"] in ("test_e", "train_a") else row for row in rows.SLIDES]
    assert build(bare).metrics["n_slides_unlabelled"] == 1


def test_baselines_of_the_patches(cohort, build) -> None:
    # colour scores 0.6 0.5 0.6 of the positives against six times 0.5: 6 + 3 + 6 of 18 pairs
    assert cohort.metrics["patch_auc.baseline_colour"] == pytest.approx(15 / 18)
    assert cohort.metrics["patch_auc.baseline_majority"] == 0.5
    nothing = build(scores=[]).metrics
    assert nothing["patch_auc.baseline_colour"] is nothing["patch_auc.baseline_majority"] is None


def test_a_classifier_has_no_figures_of_a_segmentation(cohort) -> None:
    assert not {"miou", "mdice", "pixel_accuracy", "n_truth", "dice_mean.baseline_colour"} & set(cohort.metrics)


def test_counts(cohort) -> None:
    counts = {name: value for name, value in cohort.metrics.items() if name.startswith("n_")}
    assert counts.pop("n_resamples_undefined") >= 0
    assert counts == {
        "n_slides": 5,
        "n_slides_excluded": 1,
        "n_slides_unlabelled": 0,
        "n_patients": 4,
        "n_patients_seen": 0,
        "n_patches": 9,
        "n_within_slide_auc": 2,
        "n_slide_auc": 5,
        "n_dice": 3,
        "n_dice_tumor": 2,
        "n_dice_pooled": 4,
        "n_dice_undefined": 2,
        "n_burden": 4,
        "n_class_scores": 0,
        "n_tumor_rule": 5,
        "n_tumor_called": 3,
        "n_normal_called": 2,
        "n_normal_mapped": 2,
        "n_normal_clean": 1,
        "n_false_area_mm2": 2,
        "n_burden_annotation": 0,
        "n_tumour_outside": 0,
    }


def test_training_slides_count_nowhere(cohort, build, rows) -> None:
    amount, patches = rows.amount, rows.patches
    more = build(
        amounts=[*rows.AMOUNTS, amount("train_a", (9, 9, 9), (0.9, 0.9), 1.0)],
        scores=[*rows.PATCHES, *patches("train_a", [1, 0], [1.0, 0.0])],
    )
    assert more.metrics == cohort.metrics


def test_every_headline_has_an_interval_round_it(build) -> None:
    found = build(bootstrap=100).metrics
    for name in HEADLINES:
        assert found[f"{name}_ci_low"] <= found[name] <= found[f"{name}_ci_high"], name


def test_intervals_resample_patients_not_patches(build, rows) -> None:
    """One patient is one draw: with a single patient nothing varies, however many patches there are."""
    amount, patches, slide = rows.amount, rows.patches, rows.slide
    one = build(
        slides=[slide("a", "tumor", "p1"), slide("b", "normal", "p1")],
        amounts=[amount("a", (8, 10, 10), (1.0, 1.0), 0.9), amount("b", (0, 1, 0), (0.1, 0.0), 0.3)],
        scores=patches("a", [0, 1] * 50, list(np.linspace(0, 1, 100))),
    ).metrics
    assert one["patch_auc"] == pytest.approx(0.51)
    assert one["patch_auc_ci_low"] is None
    assert one["dice_mean_ci_high"] is None


def test_interval_of_a_mean_against_all_resamples(build, rows) -> None:
    """Two patients have four equally likely resamples: means 0.8, 0.6 (twice) and 0.4."""
    amount, slide = rows.amount, rows.slide
    found = build(
        slides=[slide("a", "tumor", "p1"), slide("b", "tumor", "p2")],
        amounts=[amount("a", (80, 100, 100), (1.0, 1.0), 0.9), amount("b", (30, 40, 110), (1.0, 1.0), 0.9)],
        scores=[],
        bootstrap=100,
    ).metrics
    assert (found["dice_mean_ci_low"], found["dice_mean_ci_high"]) == pytest.approx((0.4, 0.8))
    assert found["slide_auc"] is None
    assert found["slide_auc_ci_low"] is None
    assert found["n_resamples_undefined"] == 0  # not the 100 of a figure that is undefined to begin with


def test_resamples_without_a_class_are_counted(build, rows) -> None:
    """Of two patients, one with all tumour slides, half the resamples have one class only."""
    amount, slide = rows.amount, rows.slide
    found = build(
        slides=[slide("a", "tumor", "p1"), slide("b", "normal", "p2")],
        amounts=[amount("a", (8, 10, 10), (1.0, 1.0), 0.9), amount("b", (0, 0, 5), (0.0, 0.5), 0.3)],
        scores=[],
        bootstrap=100,
    ).metrics
    assert found["slide_auc"] == 1.0
    assert 35 < found["n_resamples_undefined"] < 65


def test_the_seed_decides_and_no_resamples_give_no_interval(build, cohort) -> None:
    assert build().metrics == cohort.metrics
    other = report.recipe_metrics(cohort.per_slide, cohort.tables, SETUP, bootstrap=50, seed=8)
    assert other != cohort.metrics
    none = report.recipe_metrics(cohort.per_slide, cohort.tables, SETUP, bootstrap=0, seed=7)
    assert [none[f"{name}_ci_low"] for name in HEADLINES] == [None] * len(HEADLINES)


def test_nothing_scored_gives_none_never_a_number(build) -> None:
    found = build(slides=[], amounts=[], scores=[]).metrics
    assert {name: found[name] for name in HEADLINES} == dict.fromkeys(HEADLINES)
    assert found["n_slides"] == 0


def test_values_are_plain_json(cohort) -> None:
    assert {type(value) for value in cohort.metrics.values()} <= {float, int, type(None)}


@pytest.mark.parametrize("seed", range(5))
def test_pairwise_auc_equals_sklearn_on_any_resample(seed: int) -> None:
    random = np.random.default_rng(seed)
    ids = [f"s{i}" for i in range(6)]
    table = pd.DataFrame(
        {
            "slide_id": random.choice(ids, 120),
            "probs": random.integers(0, 12, 120) / 12,  # many ties
            "label": random.integers(0, 2, 120),
        }
    )
    over = pairwise_auc(pd.Series(ids), table)
    for _ in range(5):
        rows = random.integers(0, 6, 6)
        drawn = pd.concat([table[table["slide_id"] == ids[row]] for row in rows])
        assert over(rows) == pytest.approx(roc_auc_score(drawn["label"], drawn["probs"]))
