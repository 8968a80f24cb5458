"""For every rule one table that breaks it and no other rule; the sentence says where, which row and what to do."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from acinus import params
from acinus.validation.suites import all_suites
from acinus.validation.tables import patch_view, split_view
from acinus.validation.verdict import judge


@dataclass(frozen=True)
class Broken:
    """One changed row (the tables are sorted: row 0 is of test_normal, row 17 of val_tumor) and what is said."""

    table: str
    row: int
    values: dict[str, Any]
    said: tuple[str, ...]


ROWS = [
    Broken("manifest", 0, {"slide_id": "../x"}, ("manifest, id_safe", "slide_id=../x", "rename the slide")),
    Broken("manifest", 0, {"image": "gone.tif"}, ("manifest, image_readable", "slide_id=test_normal", "readable")),
    Broken("manifest", 1, {"mpp_x": 20.5}, ("manifest, mpp_x", "mpp_x=20.5", "slide_id=test_tumor", "cohort.mpp")),
    Broken("manifest", 1, {"mpp_y": 0.049}, ("manifest, mpp_y", "mpp_y=0.049", "slide_id=test_tumor", "cohort.mpp")),
    Broken("manifest", 2, {"split": "dev"}, ("manifest, split", "split=dev", "train_normal", "splits.csv")),
    Broken("manifest", 2, {"slide_label": "cat"}, ("manifest, slide_label", "slide_label=cat", "reference.csv")),
    Broken(
        "manifest",
        2,
        {"findings": "blank_slide;mask_missing"},
        (
            "manifest, not_tolerated",
            "not_tolerated=blank_slide;mask_missing, slide_id=train_normal",
            "validate.tolerate",
        ),
    ),
    Broken("manifest", 3, {"isup": 6}, ("manifest, isup", "isup=6, slide_id=train_tumor", "an ISUP grade is 0 to 5")),
    Broken("manifest", 3, {"isup": -1}, ("manifest, isup", "isup=-1, slide_id=train_tumor", "cohort's table")),
    Broken("manifest", 2, {"label_kind": "psd"}, ("manifest, label_kind", "label_kind=psd", "report this")),
    Broken(
        "manifest",
        0,
        {"patient": "patient_0_tumor"},
        ("manifest, patient_splits", "slide_id=test_normal, split=test, patient=patient_0_tumor", "splits.csv"),
    ),
    Broken(
        "manifest",
        0,
        {"fingerprint": "print of train_tumor"},
        ("manifest, same_content_as", "same_content_as=train_tumor, slide_id=test_normal", "cohort.exclude"),
    ),
    Broken("index", 0, {"x0": 100}, ("index, ['slide_id', 'x0', 'y0']", "slide_id=test_normal, x0=100, y0=0", "twice")),
    Broken("index", 3, {"tissue_fraction": 1.01}, ("index, tissue_fraction", "tissue_fraction=1.01", "test_tumor")),
    Broken("index", 3, {"tumour_fraction": -0.1}, ("index, tumour_fraction", "tumour_fraction=-0.1", "outside [0, 1]")),
    Broken("index", 3, {"label": 2}, ("index, label", "label=2", "test_tumor", "index.tumor_min_fraction")),
    Broken("index", 3, {"x0": 1000}, ("index, inside_slide", "x0=1000", "run index again")),
    Broken("index", 3, {"split": "val"}, ("index, in_split_of_slide", "slide_id=test_tumor", "run index again")),
    Broken("sample", 3, {"label": -1}, ("sample, label", "label=-1", "test_tumor", "the declared set")),
    Broken("sample", 17, {"x0": -100}, ("sample, inside_slide", "slide_id=val_tumor, x0=-100", "run index again")),
    Broken("sample", 17, {"split": "train"}, ("sample, in_split_of_slide", "slide_id=val_tumor", "run index again")),
]


def test_a_good_cohort_breaks_nothing(case, tmp_path) -> None:
    verdict = case.judge(tmp_path / "docs")
    assert verdict.failures == ()
    assert verdict.document["success"] is True
    assert {name: table["rows"] for name, table in verdict.document["tables"].items()} == {
        "manifest": 6,
        "index": 18,
        "sample": 18,
        "splits": 3,
    }


@pytest.mark.parametrize("broken", ROWS, ids=lambda one: f"{one.table}-{next(iter(one.values))}={one.values}")
def test_one_wrong_value_breaks_one_rule(case, tmp_path, broken: Broken) -> None:
    verdict = case.having(broken.table, broken.row, **broken.values).judge(tmp_path / "docs", broken.table)
    assert len(verdict.failures) == 1, verdict.failures
    for part in broken.said:
        assert part in verdict.failures[0]
    assert "\n" not in verdict.failures[0]


def test_the_same_id_twice_is_said_with_both_rows(case, tmp_path) -> None:
    frames = case.frames()
    frames["manifest"].loc[0, "slide_id"] = "test_tumor"
    verdict = _judge_frames(case, frames, tmp_path, "manifest")
    (sentence,) = verdict.failures
    assert sentence.startswith("table manifest, slide_id: ExpectColumnValuesToBeUnique broken by slide_id=test_tumor")
    assert sentence.endswith("rename one of the slides")


def test_a_patch_without_slide_is_said(case, tmp_path) -> None:
    frames = case.frames()
    frames["index"].loc[4, "slide_id"] = None
    verdict = _judge_frames(case, frames, tmp_path, "index")
    assert [one for one in verdict.failures if one.startswith("table index, slide_id:") and "run ingest again" in one]


@pytest.mark.parametrize(
    ("table", "remedy"), [("manifest", "cohort.root"), ("index", "min_tissue_fraction"), ("sample", "no patch")]
)
def test_an_empty_table_is_one_sentence(case, tmp_path, table: str, remedy: str) -> None:
    verdict = replace(case, **{table: getattr(case, table).iloc[:0]}).judge(tmp_path / "docs", table)
    assert len(verdict.failures) == 1
    assert f"table {table}, rows" in verdict.failures[0]
    assert remedy in verdict.failures[0]


@pytest.mark.parametrize(("label", "column"), [(0, "normal"), (1, "tumor")])
def test_a_split_with_one_class_only_is_refused_by_name(case, tmp_path, label: int, column: str) -> None:
    gone = (case.sample["split"] == "test") & (case.sample["label"] == label)
    verdict = replace(case, sample=case.sample[~gone]).judge(tmp_path / "docs", "splits")
    (sentence,) = verdict.failures  # test is no balanced split: the ratio is not held against it
    assert f"table splits, {column}:" in sentence
    assert f"{column}=0, split=test" in sentence
    assert "both classes are needed" in sentence


@pytest.mark.parametrize(
    ("labels", "broken"), [((None, None), True), (("tumor", None), True), (("tumor", "normal"), False)]
)
def test_slides_of_which_nothing_is_known_are_refused_by_split(case, tmp_path, labels, broken: bool) -> None:
    """CAMELYON test slides without XML and reference.csv: they turned unknown, and figures were of the others."""
    manifest = case.manifest.copy()
    test = manifest["split"] == "test"
    manifest.loc[test, "label_kind"] = "unknown"
    manifest.loc[test, "slide_label"] = list(labels)
    failures = replace(case, manifest=manifest).judge(tmp_path / "docs", "splits").failures
    assert bool(failures) == broken
    for sentence in failures:
        assert f"unlabelled_share={labels.count(None) / 2:.1f}, split=test" in sentence
        assert "add their annotations or reference.csv" in sentence
        assert "validate.max_unlabelled" in sentence


def test_a_split_without_slides_is_refused_by_name(case, tmp_path) -> None:
    manifest = case.manifest.copy()
    manifest.loc[manifest["split"] == "val", "status"] = "bad"
    (sentence,) = replace(case, manifest=manifest).judge(tmp_path / "docs", "splits").failures
    assert "slides=0, split=val" in sentence
    assert "cohort.val_fraction" in sentence


def test_a_segmentation_needs_patches_in_every_split_but_both_kinds_only_where_it_balances_them(case, tmp_path) -> None:
    one_kind = replace(case, sample=case.sample[(case.sample["split"] != "test") | (case.sample["label"] == 0)])
    segmentation = replace(one_kind, task="segmentation", settings=params.Sample(balance=["train", "val"]))
    assert segmentation.judge(tmp_path / "a", "splits").failures == ()
    balanced = replace(segmentation, settings=params.Sample(balance=["val", "test"]))
    (sentence,) = balanced.judge(tmp_path / "b", "splits").failures  # the ratio is not there to be held against it
    assert "table splits, tumor:" in sentence
    assert "tumor=0, split=test" in sentence
    assert "no patch with a positive class" in sentence
    empty = replace(segmentation, sample=case.sample[case.sample["split"] != "test"])
    (sentence,) = empty.judge(tmp_path / "c", "splits").failures
    assert "table splits, patches:" in sentence
    assert "patches=0, split=test" in sentence


def test_tolerated_findings_stop_nothing_and_the_others_of_the_same_slide_do(case, tmp_path) -> None:
    found = case.having("manifest", 0, findings="blank_mask;blank_slide").having("manifest", 1, findings="blank_mask")
    assert len(found.judge(tmp_path / "a", "manifest").failures) == 1
    (sentence,) = replace(found, tolerate=("blank_mask",)).judge(tmp_path / "b", "manifest").failures
    assert "broken by not_tolerated=blank_slide, slide_id=test_normal," in sentence
    assert "test_tumor" not in sentence
    both = replace(found, tolerate=("blank_slide", "blank_mask", "never seen"))
    assert both.judge(tmp_path / "c", "manifest").failures == ()


@pytest.mark.parametrize("isup", [0, 5, None])
def test_every_isup_grade_and_none_is_allowed(case, tmp_path, isup) -> None:
    assert case.having("manifest", 1, isup=isup).judge(tmp_path / "docs", "manifest").failures == ()


@pytest.mark.parametrize(("asked", "balance", "broken"), [(1.0, ["train", "val"], 0), (1.4, ["train", "val"], 2)])
def test_balance_is_held_against_what_the_recipe_asks(case, tmp_path, asked, balance, broken) -> None:
    settings = params.Sample(normal_per_tumor=asked, balance=balance)
    verdict = replace(case, settings=settings).judge(tmp_path / "docs", "splits")
    assert sum(one["broken_rows"] for one in verdict.document["tables"]["splits"]["expectations"]) == broken
    if broken:
        assert "normal_per_tumor=1.0, split=train; normal_per_tumor=1.0, split=val" in verdict.failures[0]
        assert "sample.normal_per_tumor" in verdict.failures[0]


def test_an_unbalanced_split_that_was_not_asked_to_be_balanced_passes(case, tmp_path) -> None:
    sample = case.sample[~((case.sample["split"] == "train") & (case.sample["label"] == 0) & (case.sample["x0"] > 0))]
    unbalanced = replace(case, sample=sample)  # train: 1 normal, 3 tumour
    assert "split=train" in unbalanced.judge(tmp_path / "docs", "splits").failures[0]
    asked = replace(unbalanced, settings=params.Sample(balance=["val"]))
    assert asked.judge(tmp_path / "docs", "splits").failures == ()
    never = replace(unbalanced, settings=params.Sample(balance=[]))
    assert never.judge(tmp_path / "docs", "splits").failures == ()


def _judge_frames(case, frames, tmp_path, table):
    from acinus.validation.verdict import judge

    return judge(frames, tuple(one for one in case.suites() if one.table == table), 5, tmp_path / "docs")


def test_a_recipe_that_splits_by_slide_may_tear_a_patient_apart(case, tmp_path) -> None:
    torn = case.having("manifest", 5, patient="patient_0_tumor")
    assert torn.judge(tmp_path / "a", "manifest").failures
    assert not replace(torn, split_by="slide").judge(tmp_path / "b", "manifest").failures


@pytest.mark.parametrize(
    ("labels", "broken"),
    [
        ([0, 1, 2] * 6, []),
        ([0, 1, 1] * 6, [("patches.lymph", 3)]),
        ([0, 0, 0, 0, 1, 2] * 3, [("largest_per_rarest", 2)]),  # the test split is not balanced
    ],
)
def test_every_class_is_needed_in_every_split_and_none_too_often(case, tmp_path, labels, broken) -> None:
    classes = ("stroma", "gland", "lymph")
    sample = case.sample.sort_values("split", kind="stable").reset_index(drop=True)
    assert (len(sample), sample["split"].value_counts().unique().tolist()) == (18, [6])
    sample["label"] = labels
    suites = all_suites(
        params.Sample(max_class_ratio=2.0), params.Validate(), "patient", "patch_classification", classes
    )
    frames = {**case.frames(), "sample": patch_view(sample, case.manifest)}
    frames["splits"] = split_view(case.manifest, sample, classes)
    suites = tuple(suite for suite in suites if suite.table in ("sample", "splits"))
    verdict = judge(frames, suites, 5, tmp_path)
    found = {table: one["expectations"] for table, one in verdict.document["tables"].items()}
    assert [
        (line["arguments"]["column"], line["broken_rows"]) for line in found["splits"] if not line["success"]
    ] == broken
    assert all(line["success"] for line in found["sample"])
