"""Tumour by predicted burden: the baseline of every recipe, against the cohort worked by hand."""

import pytest

from acinus.metrics.setup import MetricSetup

CLASSES = ("normal", "tumor")


def test_every_recipe_has_its_accuracy(cohort) -> None:
    """Burdens 10, 4, 5, 0, 6 of tumour, tumour, normal, normal, tumour."""
    table = cohort.per_slide.set_index("slide_id")
    names = ["test_a", "test_b", "test_c", "test_d", "test_e"]
    assert table.loc[names, "tumor_rule"].tolist() == [1, 1, 1, 0, 1]
    assert table.loc[["test_bad", "train_a"], "tumor_rule"].isna().all()  # no map
    found = cohort.metrics
    assert (found["tumor_rule_accuracy"], found["n_tumor_rule"]) == (pytest.approx(4 / 5), 5)
    assert found["tumor_rule_burden_percent"] == 0.5
    assert found["tumor_rule_accuracy_ci_low"] < found["tumor_rule_accuracy"] <= found["tumor_rule_accuracy_ci_high"]
    assert "tumor_mil_accuracy" not in found


def test_the_recipe_says_from_which_burden_on(build) -> None:
    found = build(setup=MetricSetup("patch_classification", CLASSES, burden_percent=5.5))
    assert found.per_slide.set_index("slide_id").loc[
        ["test_a", "test_b", "test_c", "test_e"], "tumor_rule"
    ].tolist() == [
        *(1, 0),
        *(0, 1),
    ]
    assert found.metrics["tumor_rule_accuracy"] == pytest.approx(4 / 5)  # test_b is lost, test_c won
    assert found.metrics["tumor_rule_burden_percent"] == 5.5


def test_slides_of_training_have_an_answer_and_no_part(build, rows) -> None:
    found = build(amounts=[*rows.AMOUNTS, rows.amount("train_a", (9, 9, 9), (0.1, 0.9), 1.0)])
    row = found.per_slide.set_index("slide_id").loc["train_a"]
    assert (bool(row["mapped"]), bool(row["scored"]), row["tumor_rule"]) == (True, False, 0)
    assert found.metrics["n_tumor_rule"] == 5


def test_a_slide_without_tissue_has_no_answer(build, rows) -> None:
    amounts = [rows.amount("test_a", (0, 0, 9), (None, None), None) | {"tissue_px": 0}]
    found = build(amounts=amounts)
    assert found.per_slide["tumor_rule"].isna().all()
    assert (found.metrics["tumor_rule_accuracy"], found.metrics["n_tumor_rule"]) == (None, 0)


def test_isup_answers_the_same_question_beside_it(build, rows) -> None:
    setup = MetricSetup("patch_classification", CLASSES, grade="isup")
    grades = [rows.grade("test_a", 3, 2), rows.grade("test_b", 1, 0), rows.grade("test_d", 0, 0)]
    grades.append(rows.grade("test_bad", 1, 0))
    found = build(grades=grades, setup=setup).metrics
    assert (found["tumor_mil_accuracy"], found["n_tumor_mil"]) == (pytest.approx(2 / 3), 3)
    assert found["n_tumor_rule"] == 5


# ------------------------------------------------------------------ what is found on normal slides


def test_sensitivity_and_specificity_are_those_of_the_rule(cohort) -> None:
    """Tumour slides of 10, 4 and 6 % are all called; of the normal ones of 5 and 0 % one is."""
    found = cohort.metrics
    assert (found["slide_sensitivity"], found["n_tumor_called"]) == (1.0, 3)
    assert (found["slide_specificity"], found["n_normal_called"]) == (0.5, 2)
    assert (found["slide_specificity_ci_low"], found["slide_specificity_ci_high"]) == (0.0, 1.0)
    assert (found["slide_sensitivity_ci_low"], found["slide_sensitivity_ci_high"]) == (1.0, 1.0)


def test_the_false_area_is_what_normal_slides_have(cohort) -> None:
    """test_c has 5 % of its tissue, 0.25 mm2, test_d none though its row says 0.25 mm2 as all of them do."""
    table = cohort.per_slide.set_index("slide_id")
    assert table.loc[["test_c", "test_d"], "false_area_percent"].tolist() == [5.0, 0.0]
    assert table.loc[["test_a", "test_e", "test_bad"], "false_area_percent"].isna().all()
    assert table.loc["test_c", "false_area_mm2"] == 0.25
    assert table.loc[["test_a", "test_bad"], "false_area_mm2"].isna().all()
    found = cohort.metrics
    assert (found["false_area_share"], found["n_normal_mapped"], found["n_normal_clean"]) == (0.025, 2, 1)
    assert (found["false_area_mm2"], found["n_false_area_mm2"]) == (0.25, 2)
    assert found["false_area_share_ci_low"] < 0.025 < found["false_area_share_ci_high"]


def test_without_um_per_px_the_false_area_has_no_mm2_and_a_share_all_the_same(build, rows) -> None:
    amounts = [one | {"tumour_mm2": None} for one in rows.AMOUNTS]
    found = build(amounts=amounts).metrics
    assert (found["false_area_mm2"], found["n_false_area_mm2"]) == (None, 0)
    assert (found["false_area_share"], found["n_normal_mapped"]) == (0.025, 2)


def test_without_normal_slides_nothing_is_said_of_them(build, rows) -> None:
    slides = [rows.slide(f"test_{one}", "tumor", f"p{one}") for one in "ab"]
    found = build(slides=slides, amounts=rows.AMOUNTS[:2], scores=[]).metrics
    assert (found["slide_specificity"], found["false_area_share"], found["n_normal_clean"]) == (None, None, 0)
    assert found["slide_sensitivity"] == 1.0
