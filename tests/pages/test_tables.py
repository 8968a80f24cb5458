"""The per-slide table against the cohort worked by hand."""

import csv
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from acinus.errors import TableError
from acinus.metrics import per_slide
from acinus.metrics.flags import FLAGS
from acinus.metrics.setup import MetricSetup
from acinus.pages.columns import shown_columns

SETUP = MetricSetup("patch_classification", ("normal", "tumor"))


def read_csv(path: Path) -> dict[str, dict[str, str]]:
    return {row["slide_id"]: row for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())}


def cell(table: pd.DataFrame, slide_id: str, column: str) -> object:
    value = table.set_index("slide_id").loc[slide_id, column]
    return None if pd.isna(value) else value


def test_every_slide_of_the_manifest_has_one_row(cohort) -> None:
    assert list(cohort.per_slide["slide_id"]) == sorted(cohort.manifest["slide_id"])
    assert list(cohort.per_slide.columns) == list(per_slide.COLUMNS)


@pytest.mark.parametrize(
    ("slide_id", "dice", "iou", "auc", "error"),
    [
        ("test_a", 0.8, 80 / 120, 0.75, 0.0),
        ("test_b", 0.4, 30 / 120, 0.75, -7.0),
        ("test_c", 0.0, 0.0, None, 5.0),
        ("test_d", None, None, None, 0.0),
        ("test_e", None, None, None, None),
        ("test_bad", None, None, None, None),
        ("train_a", None, None, None, None),
    ],
)
def test_figures_of_a_slide(cohort, slide_id, dice, iou, auc, error) -> None:
    for column, expected in (("dice", dice), ("iou", iou), ("within_slide_auc", auc), ("burden_error", error)):
        found = cell(cohort.per_slide, slide_id, column)
        assert found == (None if expected is None else pytest.approx(expected)), column


def test_only_test_slides_with_a_map_are_scored(build, rows) -> None:
    table = build(amounts=[*rows.AMOUNTS, rows.amount("train_a", (9, 9, 9), (0.9, 0.9), 1.0)]).per_slide
    names = ["test_a", "test_b", "test_c", "test_d", "test_e"]
    assert table.loc[table["scored"], "slide_id"].tolist() == names
    assert table.loc[table["mapped"], "slide_id"].tolist() == [*names, "train_a"]
    assert cell(table, "train_a", "dice") == 1.0


def test_ignored_patches_are_not_counted(cohort) -> None:
    assert cell(cohort.per_slide, "test_b", "n_patches") == 3


def test_flags(cohort) -> None:
    flags = dict(zip(cohort.per_slide["slide_id"], cohort.per_slide["flags"], strict=True))
    assert flags == {
        "test_a": "",
        "test_b": "",
        "test_c": "tumor_on_normal",
        "test_d": "dice_undefined",
        "test_e": "no_mpp;truth_unknown",
        "test_bad": "",
        "train_a": "",
    }
    assert {flag for text in flags.values() for flag in text.split(";") if flag} <= set(FLAGS)


def test_label_and_burden_that_disagree_are_flagged(build, rows) -> None:
    amount, slide = rows.amount, rows.slide
    built = build(
        slides=[slide("t1", "tumor", "p1"), slide("t2", "normal", "p2"), slide("t3", "tumor", "p3")],
        amounts=[amount("t1", (0, 0, 0), (0.0, 0.0), 0.1), amount("t2", (5, 9, 7), (0.9, 0.7), 0.9)],
        scores=[],
    )
    table = built.per_slide
    assert cell(table, "t1", "flags") == "dice_undefined;empty_truth;tumor_missed;tumor_unannotated"
    assert cell(table, "t2", "flags") == "annotation_on_normal;tumor_on_normal"
    assert cell(table, "t3", "flags") == "no_map"
    assert cell(table, "t3", "reason") == FLAGS["no_map"]


def flagged(build, slide, amount=None, grade=None) -> str:
    setup = MetricSetup("patch_classification", SETUP.classes, grade=grade["target"] if grade else "none")
    amounts, grades = [amount] if amount else [], [grade] if grade else []
    given = {"slides": [slide], "amounts": amounts, "scores": [], "grades": grades}
    table = build(**given, setup=setup, bootstrap=0).per_slide
    return str(table["flags"].iloc[0])


def test_an_assumed_pixel_size_is_flagged(build, rows) -> None:
    for source, expected in (("override", "mpp_assumed"), ("tag", "")):
        found = rows.amount("a", (8, 9, 9), (0.9, 0.9), 0.9)
        assert flagged(build, rows.slide("a", None, "p", mpp_source=source), found) == expected


def test_nearly_blank_is_less_than_one_percent_of_the_slide(build, rows) -> None:
    """40 px of 16 x 16 level-0 px are 1.024 % of a slide of 1000 x 1000."""
    for tissue, expected in ((40, ""), (39, "nearly_blank"), (0, "no_tissue")):
        found = rows.amount("a", (1, 9, 9), (0.9, 0.9), 0.9) | {"tissue_px": tissue}
        assert flagged(build, rows.slide("a", None, "p"), found) == expected


def test_an_empty_truth_is_flagged_but_on_normal_slides(build, rows) -> None:
    for label, expected in ((None, "empty_truth"), ("normal", "tumor_on_normal")):
        found = rows.amount("a", (0, 9, 0), (0.9, 0.0), 0.9)
        assert flagged(build, rows.slide("a", label, "p"), found) == expected


@pytest.mark.parametrize(
    ("true", "mil", "burden_px", "expected"),
    [
        (3, 4, 9, ""),
        (3, 5, 9, "grade_mismatch"),
        (2, 0, 0, "grade_mismatch"),
        (1, 0, 9, "mil_zero_with_burden"),
        (None, 1, 0, "mil_without_burden"),
        (0, 0, 0, ""),
    ],
)
def test_grades_that_disagree_are_flagged(build, rows, true, mil, burden_px, expected) -> None:
    found = rows.amount("a", (burden_px, burden_px, 9), (0.9, 0.9), 0.9)
    assert flagged(build, rows.slide("a", None, "p"), found, rows.grade("a", true, mil)) == expected


def test_a_wrong_tumour_slide_is_a_mismatch(build, rows) -> None:
    found = rows.amount("a", (9, 9, 9), (0.9, 0.9), 0.9)
    given = {"target": "tumor", "mil_probs": [0.4, 0.6], "mil_by_seed": [1]}
    assert flagged(build, rows.slide("a", "tumor", "p"), found, rows.grade("a", 0, 1, **given)) == "grade_mismatch"
    assert flagged(build, rows.slide("a", "tumor", "p"), found, rows.grade("a", 1, 1, **given)) == ""


def test_grades_stand_beside_the_slide(build, rows) -> None:
    setup = MetricSetup("patch_classification", SETUP.classes, grade="isup")
    table = build(grades=[rows.grade("test_a", 2, 3, 1), rows.grade("test_bad", 1, 1)], setup=setup).per_slide
    names = ["isup_true", "isup_mil", "isup_rule", "mil_confidence", "mil_spread"]
    assert [cell(table, "test_a", name) for name in names] == [2, 3, 1, 0.75, 0.25]
    assert [cell(table, "test_bad", name) for name in names] == [None] * 5  # not a slide that can be used
    assert [cell(table, "test_b", name) for name in names] == [None] * 5
    assert list(table.columns) == list(per_slide.columns(setup))


def test_the_page_shows_the_columns_that_have_something_to_say(build, cohort, rows) -> None:
    setup = MetricSetup("patch_classification", SETUP.classes, grade="isup")
    amounts = [one | {"num_lesions": 1, "num_itc": 0} for one in rows.AMOUNTS]
    graded = build(amounts=amounts, grades=[rows.grade("test_a", 2, 3)], setup=setup).per_slide
    keys = [one.key for one in shown_columns(graded[graded["scored"]], setup, "tumour")]
    assert {"isup_true", "isup_mil", "mil_confidence", "num_lesions", "lesions_hit", "num_regions"} <= set(keys)
    assert not {"isup", "isup_rule"} & set(keys)  # the rule graded nothing
    assert set(keys) <= set(graded.columns)
    plain = [one.key for one in shown_columns(cohort.per_slide[cohort.per_slide["scored"]], SETUP, "tumour")]
    assert not {"isup_true", "num_lesions", "lesions_hit"} & set(plain)


def test_slide_score_is_the_asked_reduction(cohort) -> None:
    table = per_slide.per_slide(cohort.tables, MetricSetup("patch_classification", SETUP.classes, "max"))
    assert cell(cohort.per_slide, "test_d", "slide_score") == 0.1
    assert cell(table, "test_d", "slide_score") == 1.0


def test_a_slide_that_the_manifest_does_not_know_is_refused(cohort) -> None:
    with pytest.raises(TableError, match=r"quantities.*'test_a'.*ingest"):
        per_slide.per_slide(
            replace(cohort.tables, manifest=cohort.manifest[cohort.manifest["slide_id"] != "test_a"]), SETUP
        )


def test_csv_is_stable_and_reads_back(cohort, tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        per_slide.write_csv(cohort.per_slide, tmp_path / name)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert b"\r" not in (tmp_path / "one.csv").read_bytes()
    rows = read_csv(tmp_path / "one.csv")
    assert rows["test_a"]["iou"] == "0.666667"
    assert rows["test_d"]["dice"] == ""
    assert rows["test_c"]["dice"] == "0"
    assert rows["test_a"]["intersection_px"] == "80"


def test_csv_gives_a_spreadsheet_no_formula(cohort, tmp_path: Path) -> None:
    table = cohort.per_slide.assign(reason="=HYPERLINK(1)", patient="@x")
    per_slide.write_csv(table, tmp_path / "t.csv")
    row = read_csv(tmp_path / "t.csv")["test_b"]
    assert row["reason"] == "'=HYPERLINK(1)"
    assert row["patient"] == "'@x"
    assert row["burden_error"] == "-7"  # a number is no formula
