"""The tables that DVC draws, against scikit-learn and against counts worked by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import auc, average_precision_score, confusion_matrix, roc_auc_score

from acinus.metrics.setup import MetricSetup
from acinus.pages import plots as plots_module
from acinus.pages.plots import COLUMNS, percent_rows, plots, write_plots

SETUP = MetricSetup("patch_classification", ("normal", "tumor"))
SEGMENTATION = MetricSetup("segmentation", ("other", "gland", "stroma"))


def of(cohort, setup=SETUP) -> dict[str, pd.DataFrame]:
    return plots(cohort.tables, cohort.per_slide, setup)


def test_every_file_is_always_there(build, cohort, tmp_path: Path) -> None:
    for number, one in enumerate((cohort, build(bootstrap=0, slides=[], amounts=[], scores=[]))):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_plots(folder, of(one))
        assert sorted(path.stem for path in folder.iterdir()) == sorted(COLUMNS)
        for path in folder.iterdir():
            assert path.read_text(encoding="utf-8").splitlines()[0].split(",") == list(COLUMNS[path.stem])
    assert (tmp_path / "1" / "roc.csv").read_text(encoding="utf-8").splitlines()[1:] == []


def test_the_same_tables_give_the_same_bytes(cohort, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_plots(tmp_path / name, of(cohort))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_curves_of_the_patches(cohort) -> None:
    found = of(cohort)
    assert auc(found["roc"]["fpr"], found["roc"]["tpr"]) == pytest.approx(cohort.metrics["patch_auc"])
    assert auc(found["roc_slides"]["fpr"], found["roc_slides"]["tpr"]) == pytest.approx(cohort.metrics["slide_auc"])
    assert np.isnan(found["roc"]["threshold"].iloc[0])  # nothing is called tumour
    known = cohort.scores[cohort.scores["label"] >= 0]
    steps = found["pr"].sort_values("recall", kind="stable")
    area = float((steps["recall"].diff().fillna(0) * steps["precision"]).sum())
    assert area == pytest.approx(average_precision_score(known["label"], known["probs"]))
    assert found["pr"]["recall"].is_monotonic_increasing


def test_curves_of_a_segmentation_are_of_drawn_px(segment, rows) -> None:
    """P(positive) is the sum over the positive classes; at another temperature the order stays."""
    given = [
        (1, [0.5, 0.3, 0.2]),
        (0, [0.6, 0.1, 0.3]),
        (2, [0.1, 0.1, 0.8]),
        (0, [0.7, 0.1, 0.2]),
        (0, [0.3, 0.3, 0.4]),
    ]
    scores = [rows.class_score("seg_a", 0, label, probs, px) for px, (label, probs) in enumerate(given)]
    cohort = segment(bootstrap=0, class_scores=scores)
    truth = [label > 0 for label, _ in given]
    found = of(cohort, SEGMENTATION)["roc"]
    assert auc(found["fpr"], found["tpr"]) == pytest.approx(roc_auc_score(truth, [1 - one[0] for _, one in given]))
    stroma = MetricSetup("segmentation", SEGMENTATION.classes, positive=("stroma",))
    found = of(cohort, stroma)["roc"]
    expected = roc_auc_score([label == 2 for label, _ in given], [one[2] for _, one in given])
    assert auc(found["fpr"], found["tpr"]) == pytest.approx(expected)


def test_confusion_rows_are_percent_of_the_true_class(cohort, segmentation) -> None:
    rows = percent_rows(np.array([[1, 2], [0, 0]]), ["a", "b"])
    assert rows.value_counts(["actual", "predicted"]).to_dict() == {("a", "a"): 33, ("a", "b"): 67}
    rows = percent_rows(np.array([[1, 1, 1], [0, 5, 0], [0, 0, 0]]), ["a", "b", "c"])
    counts = rows.value_counts(["actual", "predicted"]).to_dict()
    assert counts == {("a", "a"): 34, ("a", "b"): 33, ("a", "c"): 33, ("b", "b"): 100}
    found = of(segmentation, SEGMENTATION)["confusion"].value_counts(["actual", "predicted"])
    assert found["gland", "other"] == round(100 * 50 / 90)  # 50 of the 90 px of gland
    known = cohort.scores[cohort.scores["label"] >= 0]
    shares = 100 * confusion_matrix(known["label"], known["preds"], normalize="true")
    found = of(cohort)["confusion"].value_counts(["actual", "predicted"])
    assert found["tumor", "tumor"] == pytest.approx(shares[1, 1], abs=1)
    assert found["normal", "tumor"] == pytest.approx(shares[0, 1], abs=1)


def test_reliability_before_and_after(build, rows) -> None:
    scores = [rows.class_score("test_a", i, int(i > 0), [0.1, 0.9]) for i in range(4)]
    table = of(build(bootstrap=0, class_scores=scores, point={"temperature": 2.0, "threshold": 0.5}))["reliability"]
    before, after = (table[table[f"count_{when}"] > 0].iloc[0] for when in ("before", "after"))
    assert (before["confidence_before"], before["accuracy_before"]) == pytest.approx((0.9, 0.75))
    assert (after["confidence_after"], after["accuracy_after"]) == pytest.approx((0.75, 0.75))
    assert (table["count_before"].sum(), table["count_after"].sum(), len(table)) == (4, 4, 15)
    moved = {"temperature": 1.0, "bias": [np.log(3), 0.0], "threshold": 0.5}  # odds of 9 become 3
    table = of(build(bootstrap=0, class_scores=scores, point=moved))["reliability"]
    after = table[table["count_after"] > 0].iloc[0]
    assert (after["confidence_after"], after["accuracy_after"]) == pytest.approx((0.75, 0.75))


def test_burden_and_threshold_curves(build) -> None:
    curve = {"threshold": [0.4, 0.5], "dice_mean": [0.7, None], "pixel_f1": [0.8, 0.9], "slide_f1": [None, None]}
    found = of(build(bootstrap=0, calibration={"curve": curve}))
    assert found["threshold"]["pixel_f1"].tolist() == [0.8, 0.9]
    assert of(build(bootstrap=0, calibration={"curve": None}))["threshold"].empty
    burden = found["burden"].set_index("slide_id")
    assert burden.loc["test_b"].tolist() == [11.0, 4.0, 7.5, -7.0]
    assert "test_e" not in burden.index  # of unknown truth


def test_one_row_per_graded_slide(build, rows) -> None:
    grades = [rows.grade("test_b", 2, 3), rows.grade("test_a", 0, 1, 2), rows.grade("test_c", None, 1)]
    found = of(build(bootstrap=0, grades=grades), MetricSetup("patch_classification", SETUP.classes, grade="isup"))
    assert found["grade_confusion"]["slide_id"].tolist() == ["test_a", "test_b"]
    assert found["grade_confusion"]["predicted"].tolist() == [1, 3]
    assert found["grade_confusion"]["rule"].fillna(-1).tolist() == [2, -1]


def test_long_curves_are_thinned_and_keep_their_ends(build, rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots_module, "MOST_POINTS", 10)
    random = np.random.default_rng(0)
    scores = rows.patches("test_a", random.integers(0, 2, 300).tolist(), random.random(300).tolist())
    found = of(build(bootstrap=0, scores=scores))["roc"]
    assert len(found) == 10
    assert found.iloc[0][["fpr", "tpr"]].tolist() == [0, 0]
    assert found.iloc[-1][["fpr", "tpr"]].tolist() == [1, 1]
