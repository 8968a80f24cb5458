"""Patches of more than two classes: every figure against scikit-learn, on all slides and on resampled ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from acinus import records
from acinus.metrics.compare import Run
from acinus.metrics.metric import Case
from acinus.metrics.registry import METRICS, headlines, main_metric
from acinus.metrics.setup import MetricSetup
from acinus.pages import plots
from acinus.pages.summary import main_of

CLASSES = ("stroma", "gland", "lymph", "fat")
SETUP = MetricSetup("patch_classification", CLASSES, positive=("gland", "lymph"))
SLIDES = ("test_a", "test_b", "test_c")
OVER = ("auc_macro", "auc_weighted", "balanced_accuracy", "patch_accuracy", "f1_macro", "f1_weighted")


def scores(seed: int, sharp: float, classes: int = 4) -> pd.DataFrame:
    """CLASS_SCORES of 40 patches of each slide, uneven in their classes, with ties among the probabilities."""
    random, rows = np.random.default_rng(seed), []
    for number, slide_id in enumerate(SLIDES):
        share = np.array([5, 3, 2, 1])[:classes]
        labels = np.random.default_rng(number).choice(classes, size=40, p=share / share.sum())
        logits = random.normal(size=(40, 4)) + sharp * np.eye(4)[labels]
        probs = np.round(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 2)
        rows += [
            {"slide_id": slide_id, "x0": 10 * place, "y0": 0, "px": -1, "label": int(label), "probs": list(prob)}
            for place, (label, prob) in enumerate(zip(labels, probs, strict=True))
        ]
    return records.frame(records.CLASS_SCORES, rows)


def arrays(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return table["label"].to_numpy(), np.array(table["probs"].tolist())


def expected(labels: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    said, weights = probs.argmax(axis=1), np.bincount(labels, minlength=4)
    aucs = [reference.roc_auc_score(labels == label, probs[:, label]) for label in range(4)]  # rows need not sum to 1
    return {
        "auc_macro": np.mean(aucs),
        "auc_weighted": np.average(aucs, weights=weights),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, said),
        "patch_accuracy": reference.accuracy_score(labels, said),
        "f1_macro": reference.f1_score(labels, said, average="macro"),
        "f1_weighted": reference.f1_score(labels, said, average="weighted"),
    }


@pytest.fixture
def many(build: Callable[..., Any], rows: Any) -> Any:
    """A classifier of four classes: three slides of three patients, and what its colours alone say."""
    model, colour = scores(1, 1.5), scores(2, 0.3)
    _, probs = arrays(model)
    patch_scores = model[["slide_id", "x0", "y0", "label"]].assign(
        probs=np.minimum(probs[:, [1, 2]].sum(axis=1), 1.0), preds=probs.argmax(axis=1), colour_probs=0.5
    )
    amounts = [
        rows.amount(slide_id, (30, 40, 110), (4.0, 11.0), 0.7) | {"class_px": (400, 300, 200, 100)}
        for slide_id in SLIDES
    ]
    slides = [rows.slide(slide_id, None, f"p{number}") for number, slide_id in enumerate(SLIDES)]
    return build(
        slides, amounts, patch_scores.to_dict("records"), 200, SETUP, class_scores=model.to_dict("records"),
        colour_scores=colour,
    )  # fmt: skip


def test_every_figure_is_that_of_scikit_learn(many: Any) -> None:
    labels, probs = arrays(scores(1, 1.5))
    for name, value in expected(labels, probs).items():
        assert many.metrics[name] == pytest.approx(value, abs=1e-12), name
        assert many.metrics[f"{name}_ci_low"] <= value <= many.metrics[f"{name}_ci_high"]
    for name, value in expected(*arrays(scores(2, 0.3))).items():
        assert many.metrics[f"{name}.baseline_colour"] == pytest.approx(value, abs=1e-12), name
    first = np.zeros_like(probs)
    first[:, 0] = 1.0
    for name, value in expected(labels, first).items():
        assert many.metrics[f"{name}.baseline_majority"] == pytest.approx(value, abs=1e-12), name
    said, together = probs.argmax(axis=1), {"labels": range(4), "average": None, "zero_division": 0}
    figures = {
        "class_auc": [reference.roc_auc_score(labels == label, probs[:, label]) for label in range(4)],
        "class_recall": reference.recall_score(labels, said, **together),
        "class_precision": reference.precision_score(labels, said, **together),
        "class_f1": reference.f1_score(labels, said, **together),
    }
    for name, values in figures.items():
        assert [many.metrics[f"{name}.{one}"] for one in CLASSES] == pytest.approx(values, abs=1e-12), name
    matrix = [[many.metrics[f"patch_confusion.{true}.{given}"] for given in CLASSES] for true in CLASSES]
    assert matrix == reference.confusion_matrix(labels, said).tolist()
    assert many.metrics["n_patches"] == 120


def test_the_macro_auc_is_scikit_learns_one_vs_rest() -> None:
    """Where the rows of the probabilities sum to 1, as its own function wants them."""
    labels, probs = arrays(scores(1, 1.5))
    probs /= probs.sum(axis=1, keepdims=True)
    for average in ("macro", "weighted"):
        own = reference.roc_auc_score(labels, probs, multi_class="ovr", average=average)
        assert expected(labels, probs)[f"auc_{average}"] == pytest.approx(own, abs=1e-12)


@pytest.mark.parametrize("drawn", [[0, 0, 1], [2, 1, 2], [0, 1, 2, 2]])
def test_a_slide_drawn_twice_counts_twice(many: Any, drawn: list[int]) -> None:
    table = scores(1, 1.5)
    parts = pd.concat([table[table["slide_id"] == SLIDES[row]] for row in drawn])
    for name, value in expected(*arrays(parts)).items():
        assert many.measure(name).over(np.array(drawn)) == pytest.approx(value, abs=1e-12), name


def test_a_resample_without_a_class_has_no_macro_auc(many: Any) -> None:
    table = scores(1, 1.5)
    table.loc[table["slide_id"] != "test_c", "label"] = table["label"].where(table["label"] < 3, 0)
    assert (table["label"] == 3).any()
    case = Case(many.case.slides, SETUP, many.tables.__class__(**{**vars(many.tables), "class_scores": table}))
    measure = METRICS["auc_macro"].measures(case)["auc_macro"]
    assert measure.over(np.array([0, 1])) is None
    assert measure.over(np.array([0, 2])) is not None


def test_a_class_that_no_test_patch_has_is_undefined_and_left_out_of_the_mean(many: Any) -> None:
    table = scores(1, 1.5, classes=3)
    case = Case(many.case.slides, SETUP, many.tables.__class__(**{**vars(many.tables), "class_scores": table}))
    labels, probs = arrays(table)
    aucs = [reference.roc_auc_score(labels == label, probs[:, label]) for label in range(3)]
    rows = np.arange(3)
    assert METRICS["auc_macro"].measures(case)["auc_macro"].over(rows) == pytest.approx(np.mean(aucs), abs=1e-12)
    assert METRICS["class_auc"].measures(case)["class_auc.fat"].over(rows) is None
    assert METRICS["class_recall"].measures(case)["class_recall.fat"].over(rows) is None


def test_two_classes_have_none_of_it_and_more_have_no_patch_auc(many: Any, cohort: Any) -> None:
    of_many = {name for name, metric in METRICS.items() if metric.classes == "many"}
    assert len(of_many) == 11
    assert {name.partition(".")[0] for name in cohort.metrics} & of_many == set()
    assert "patch_auc" in cohort.metrics
    assert "patch_auc" not in many.metrics
    assert main_metric("camelyon", "patch_classification") == "patch_auc"
    assert main_of("rgb_mask", "patch_classification", many.metrics).name == "auc_macro"
    assert set(OVER) <= set(headlines("patch_classification", 4))
    assert not set(OVER) & set(headlines("patch_classification"))
    assert not set(OVER) & set(headlines("segmentation", 4))


def test_the_auc_within_a_slide_is_of_the_positive_classes(many: Any) -> None:
    table = scores(1, 1.5)
    for slide_id, patches in table.groupby("slide_id"):
        labels, probs = arrays(patches)
        value = reference.roc_auc_score(np.isin(labels, [1, 2]), np.minimum(probs[:, [1, 2]].sum(axis=1), 1.0))
        row = many.per_slide.set_index("slide_id").loc[slide_id]
        assert row["within_slide_auc"] == pytest.approx(value, abs=1e-12)
        assert row["n_patches"] == 40


def test_another_run_of_the_same_tables_is_compared_by_the_same_figures(many: Any) -> None:
    run = Run(many.case.slides, many.metrics, many.tables)
    assert run.setup.classes == CLASSES
    for name in (*OVER, "class_auc.gland"):
        assert run.measures[name].over(np.arange(3)) == pytest.approx(many.metrics[name], abs=1e-12), name


def test_the_page_draws_confusion_and_a_curve_per_class(many: Any) -> None:
    drawn = plots.draw(many.tables, many.per_slide, SETUP)
    assert {"confusion", "roc_classes"} <= set(drawn)
    assert "patches of each true class" in drawn["confusion"].alt
    positive = ", ".join(SETUP.classes[index] for index in SETUP.positive_indices)
    assert all(drawn[name].alt.endswith(f", {positive} against the rest") for name in ("roc", "roc_slides", "pr"))
    rows = plots.plots(many.tables, many.per_slide, SETUP)["confusion"]
    counts = np.array([[many.metrics[f"patch_confusion.{true}.{given}"] for given in CLASSES] for true in CLASSES])
    shown = pd.crosstab(rows["actual"], rows["predicted"]).reindex(index=CLASSES, columns=CLASSES, fill_value=0)
    assert np.abs(shown.to_numpy() - 100 * counts / counts.sum(axis=1, keepdims=True)).max() < 1
