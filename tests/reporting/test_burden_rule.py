"""Tumour by predicted burden: the baseline of every recipe, against the cohort worked by hand."""

import pytest

from acinus.grading import rule
from acinus.reporting.burden_rule import tumour_by_burden
from acinus.reporting.setup import MetricSetup

CLASSES = ("normal", "tumor")


@pytest.mark.parametrize(
    ("burden", "percent", "expected"), [(0.49, 0.5, 0), (0.5, 0.5, 1), (80.0, 0.5, 1), (0.0, 0.0, 0), (None, 0.5, None)]
)
def test_the_report_calls_a_slide_as_the_grade_stage_does(burden, percent, expected) -> None:
    assert tumour_by_burden(burden, percent) == expected
    assert rule.tumour_by_burden(burden, percent) == expected


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
