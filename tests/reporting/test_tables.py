"""The per-slide table against the cohort worked by hand."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from acinus.errors import TableError
from acinus.reporting import tables
from acinus.reporting.setup import MetricSetup

SETUP = MetricSetup("patch_classification", ("normal", "tumor"))


def read_csv(path: Path) -> dict[str, dict[str, str]]:
    return {row["slide_id"]: row for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())}


def cell(table: pd.DataFrame, slide_id: str, column: str) -> object:
    value = table.set_index("slide_id").loc[slide_id, column]
    return None if pd.isna(value) else value


def test_every_slide_of_the_manifest_has_one_row(cohort) -> None:
    assert list(cohort.per_slide["slide_id"]) == sorted(cohort.manifest["slide_id"])
    assert list(cohort.per_slide.columns) == list(tables.COLUMNS)


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
    assert {flag for text in flags.values() for flag in text.split(";") if flag} <= set(tables.FLAGS)


def test_label_and_burden_that_disagree_are_flagged(build, rows) -> None:
    amount, slide = rows.amount, rows.slide
    built = build(
        slides=[slide("t1", "tumor", "p1"), slide("t2", "normal", "p2"), slide("t3", "tumor", "p3")],
        amounts=[amount("t1", (0, 0, 0), (0.0, 0.0), 0.1), amount("t2", (5, 9, 7), (0.9, 0.7), 0.9)],
        scores=[],
    )
    table = built.per_slide
    assert cell(table, "t1", "flags") == "dice_undefined;tumor_missed;tumor_unannotated"
    assert cell(table, "t2", "flags") == "annotation_on_normal;tumor_on_normal"
    assert cell(table, "t3", "flags") == "no_map"
    assert cell(table, "t3", "reason") == tables.FLAGS["no_map"]


def test_slide_score_is_the_asked_reduction(cohort) -> None:
    table = tables.per_slide(
        cohort.manifest, cohort.quantities, cohort.scores, MetricSetup("patch_classification", SETUP.classes, "max")
    )
    assert cell(cohort.per_slide, "test_d", "slide_score") == 0.1
    assert cell(table, "test_d", "slide_score") == 1.0


def test_a_slide_that_the_manifest_does_not_know_is_refused(cohort) -> None:
    with pytest.raises(TableError, match=r"quantities.*'test_a'.*ingest"):
        tables.per_slide(
            cohort.manifest[cohort.manifest["slide_id"] != "test_a"], cohort.quantities, cohort.scores, SETUP
        )


def test_csv_is_stable_and_reads_back(cohort, tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        tables.write_csv(cohort.per_slide, tmp_path / name)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert b"\r" not in (tmp_path / "one.csv").read_bytes()
    rows = read_csv(tmp_path / "one.csv")
    assert rows["test_a"]["iou"] == "0.666667"
    assert rows["test_d"]["dice"] == ""
    assert rows["test_c"]["dice"] == "0"
    assert rows["test_a"]["intersection_px"] == "80"


def test_csv_gives_a_spreadsheet_no_formula(cohort, tmp_path: Path) -> None:
    table = cohort.per_slide.assign(reason="=HYPERLINK(1)", patient="@x")
    tables.write_csv(table, tmp_path / "t.csv")
    row = read_csv(tmp_path / "t.csv")["test_b"]
    assert row["reason"] == "'=HYPERLINK(1)"
    assert row["patient"] == "'@x"
    assert row["burden_error"] == "-7"  # a number is no formula
