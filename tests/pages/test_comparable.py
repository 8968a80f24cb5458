"""Two runs are compared by the very figures of their reports: names, values, and what they are taken from."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from acinus import records
from acinus.commands import compare
from acinus.errors import AcinusError
from acinus.files import write_json
from acinus.metrics.compare import Run, differences, paired
from acinus.metrics.metric import usable_slides
from acinus.metrics.per_slide import write_csv
from acinus.metrics.registry import METRICS, headlines
from acinus.metrics.setup import MetricSetup
from acinus.paths import Paths
from acinus.regions.operating_point import OperatingPoint, write_point

CLASSES = ("other", "gland", "stroma")


def project(root: Path, name: str, cohort: Any) -> Path:
    """Lay out what the stages leave of a recipe, as far as a comparison reads it; returns the report's folder."""
    paths, given = Paths(root, name), cohort.tables
    records.write(records.QUANTITIES, given.quantities, paths.quantities)
    records.write(records.SCORES, given.patch_scores, paths.model / "patch_scores.parquet")
    records.write(records.REGIONS, given.regions, paths.region_table)
    records.write(records.CLASS_SCORES, given.class_scores, paths.model / "scores_test.parquet")
    records.write(records.GRADES, given.grades, paths.grades)
    write_point(
        paths.operating_point, OperatingPoint(temperature=given.scaling.temperature, bias=list(given.scaling.bias))
    )
    write_csv(cohort.per_slide, paths.reports / "per_slide.csv")
    write_json(paths.reports / "metrics.json", cohort.metrics)
    return paths.reports


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_bytes((Path(__file__).resolve().parents[2] / "params.yaml").read_bytes())
    return tmp_path


def lesioned(rows: SimpleNamespace) -> list[dict[str, Any]]:
    lesions = {"test_a": (2, 0), "test_b": (1, 1), "test_c": (0, 0)}
    return [
        one | dict(zip(("num_lesions", "num_itc"), lesions.get(one["slide_id"], (None, None)), strict=True))
        for one in rows.AMOUNTS
    ]


@pytest.fixture
def everything(build: Callable[..., Any], rows: SimpleNamespace) -> Callable[..., Any]:
    """The patch classifier's cohort with grades, lesions and class scores: every headline but those of px."""

    def make(**changes: Any) -> Any:
        mil = [1, 0, 1, 0, 1]
        grades = [
            rows.grade(name, true, given, target="tumor", mil_probs=[1 - prob, prob])
            for name, true, given, prob in zip(
                ("test_a", "test_b", "test_c", "test_d", "test_e"),
                (1, 1, 0, 0, None),
                mil,
                (0.8, 0.4, 0.6, 0.1, 0.9),
                strict=True,
            )
        ]
        regions = [
            rows.region("test_a", 1, 0.9, 1),
            rows.region("test_a", 2, 0.6, 0),
            rows.region("test_b", 1, 0.7, -1),
            rows.region("test_c", 1, 0.8, 0),
        ]
        scores = [
            rows.class_score(name, 10 * i, label, [1 - prob, prob])
            for name in ("test_a", "test_b", "test_d")
            for i, (label, prob) in enumerate([(1, 0.9), (0, 0.2), (1, 0.4)])
        ]
        setup = MetricSetup("patch_classification", ("normal", "tumor"), grade="tumor")
        given = {"amounts": lesioned(rows), "regions": regions, "class_scores": scores, "grades": grades}
        return build(**(given | {"setup": setup, "point": {"temperature": 1.5, "threshold": 0.5}} | changes))

    return make


def compared(root: Path, first: str, second: str, metric: str | None = None) -> tuple[str, pd.DataFrame]:
    text = compare.run(root, first, second, root / "out", metric)
    return text, pd.read_csv(root / "out" / "metrics.csv").set_index("metric")


def assert_as_reported(found: pd.DataFrame, metrics: dict[str, Any], task: str) -> None:
    """Every headline of the report is compared, and whatever has a name of metrics.json has its value."""
    had = {name for name in headlines(task) if name in metrics}
    assert had - set(found.index) == {name for name in had if metrics[name] is None}
    for name, value in found["a"].items():
        if name in metrics:
            assert value == pytest.approx(metrics[name], rel=1e-5), name
        else:
            assert not METRICS[name if name in METRICS else name.rpartition(".")[0]].reported, name


def test_every_figure_of_a_patch_classifier_is_the_report_s(root: Path, everything: Callable[..., Any]) -> None:
    cohort = everything()
    project(root, "one", cohort)
    text, found = compared(root, "one", "one")
    assert_as_reported(found, cohort.metrics, "patch_classification")
    assert {"patch_auc", "froc", "grade_accuracy", "grade_auc", "ece", "brier", "slide_auc"} <= set(found.index)
    assert found.loc["patch_auc", "n"] == 3  # the slides with labelled patches
    assert found.loc["froc", "n"] == 3
    assert found.loc["ece", "n"] == 3
    assert "not compared" not in text
    assert text.count("lesions_hit_share, not in metrics.json: ") == 1
    assert "pixel_accuracy" not in text


@pytest.mark.parametrize("tracked", [False, True])
def test_probabilities_are_compared_with_their_offsets(
    root: Path, everything: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tracked: bool
) -> None:
    """Also where only metrics.json tells of them, as a tracked run's does."""
    cohort = everything(point={"temperature": 1.5, "bias": [0.75, -0.75], "threshold": 0.5})
    folder = project(root, "one", cohort)
    assert cohort.metrics["ece"] != pytest.approx(everything().metrics["ece"], rel=1e-3)
    places = Paths(root, "one")
    kept = {"quantities": places.quantities, "regions": places.region_table, "grades": places.grades}
    kept |= {"patch_scores": places.model / "patch_scores.parquet", "scores_test": places.model / "scores_test.parquet"}

    def artifact(uri: str, root: Path, run: str, file: str, scratch: Path) -> Path:
        name = Path(file)
        return kept[name.stem] if name.suffix == ".parquet" else folder / name.name

    monkeypatch.setattr(compare, "run_artifact", artifact)
    text, found = compared(root, "0" * 32 if tracked else "one", "one")
    assert found.loc["ece", "a"] == pytest.approx(cohort.metrics["ece"])
    assert found.loc["ece", "b"] == pytest.approx(cohort.metrics["ece"])
    assert "not compared" not in text


def test_every_figure_of_a_segmentation_is_the_report_s(root: Path, segment: Callable[..., Any]) -> None:
    cohort = segment()
    amounts = records.rows(cohort.quantities)
    for i, one in enumerate(amounts[:3]):
        one["pq_counts"] = [0.0] * 4 + [0.75 + i / 10, 1.0, float(i), 1.0] + [1.5, 2.0, 0.0, float(i)]
    cohort = segment(amounts=amounts)
    project(root, "one", cohort)
    text, found = compared(root, "one", "one")
    assert_as_reported(found, cohort.metrics, "segmentation")
    assert {"miou", "mdice", "pixel_accuracy", "pq", "class_dice.gland", "class_dice.other"} <= set(found.index)
    assert found.loc["class_dice.gland", "a"] == pytest.approx(60 / 130, rel=1e-5)  # 60/80 and 0/50 as one
    assert found.loc["per_slide.class_dice.gland", "a"] == pytest.approx((60 / 80 + 0) / 2)
    assert found.loc["miou", "n"] == 4
    assert found.loc["pq", "n"] == 3
    assert "per_slide.class_dice, not in metrics.json: " in text


def test_isup_grades_are_the_report_s(root: Path, segment: Callable[..., Any], rows: SimpleNamespace) -> None:
    grades = [
        rows.grade(f"seg_{one}", true, mil, 3)
        for one, true, mil in zip("abce", (3, 4, 0, 2), (3, 5, 0, 1), strict=True)
    ]
    cohort = segment(setup=MetricSetup("segmentation", CLASSES, grade="isup"), grades=grades)
    project(root, "one", cohort)
    _, found = compared(root, "one", "one")
    assert_as_reported(found, cohort.metrics, "segmentation")
    assert found.loc["grade_accuracy", "a"] == 0.5
    assert {"qwk", "qwk.rule"} <= set(found.index)


def test_pooled_figures_are_resampled_by_patient(root: Path, everything: Callable[..., Any]) -> None:
    first = everything()
    better = first.scores.copy()
    better["probs"] = np.where(better["label"] == 1, 0.95, 0.05)
    second = everything(scores=records.rows(better))
    project(root, "one", first)
    project(root, "two", second)
    _, found = compared(root, "one", "two", "patch_auc")
    labelled = first.scores[first.scores["label"] >= 0]
    owner = labelled["slide_id"].map({"test_a": "p1", "test_b": "p1", "test_c": "p2"})
    values = []
    for drawn in (("p1",), ("p1", "p2")):  # p2 alone has no positive patch
        part = labelled[owner.isin(drawn)]
        pairs = [(a, b) for a in part.loc[part["label"] == 1, "probs"] for b in part.loc[part["label"] == 0, "probs"]]
        values.append(1 - float(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])))
    assert found.loc["patch_auc", "difference"] == pytest.approx(values[1], rel=1e-5)
    assert tuple(found.loc["patch_auc", ["low", "high"]]) == pytest.approx((min(values), max(values)), rel=1e-5)
    assert 350 < found.loc["patch_auc", "n_undefined"] < 650  # a quarter of the resamples is p2 twice


def test_only_common_slides_are_pooled(root: Path, segment: Callable[..., Any]) -> None:
    cohort = segment()
    project(root, "one", cohort)
    fewer = project(root, "two", cohort) / "per_slide.csv"
    whole = pd.read_csv(fewer)
    whole[whole["slide_id"] != "seg_b"].to_csv(fewer, index=False)
    write_json(fewer.parent / "metrics.json", {"pixel_accuracy": 270 / 300 - 1e-9, "miou": 0.5})
    text, found = compared(root, "one", "two")
    assert found.loc["pixel_accuracy", "a"] == pytest.approx((80 + 90 + 100) / 300)
    assert "miou (B: " in text  # what does not agree with its report is not compared
    assert "by its tables, 0.5 in metrics.json" in text
    assert "miou" not in found.index


def test_tables_that_are_gone_or_damaged_cost_only_their_figures(root: Path, everything: Callable[..., Any]) -> None:
    for name in ("one", "two"):
        project(root, name, everything())
    (Paths(root, "two").model / "patch_scores.parquet").unlink()
    text, found = compared(root, "one", "two")
    assert "patch_auc" not in found.index
    assert {"froc", "dice_mean"} <= set(found.index)
    assert "not compared: patch_auc (B: undefined by its tables, 0.694444 in metrics.json)" in text  # 12.5 of 18 pairs
    Paths(root, "two").quantities.write_bytes(b"nothing")
    text, found = compared(root, "one", "two")
    assert "froc" not in found.index
    assert "dice_mean" in found.index
    assert "not a Parquet table" in text
    with pytest.raises(AcinusError, match=r"froc cannot be compared \(B: .*not a Parquet table") as caught:
        compared(root, "one", "two", "froc")
    assert "\n" not in str(caught.value)


def test_figures_of_other_classes_or_targets_are_not_one(root: Path, segment: Callable[..., Any]) -> None:
    project(root, "one", segment())
    project(root, "two", segment(setup=MetricSetup("segmentation", ("other", "vessel", "stroma"))))
    text, found = compared(root, "one", "two")
    assert not {"miou", "dice_mean", "mdice", "ece"} & set(found.index)
    assert {"dice_pooled", "burden_mae"} <= set(found.index)
    assert "segmentation of other, gland, stroma in A, segmentation of other, vessel, stroma in B" in text


def test_a_report_by_itself_says_what_it_lacks(root: Path, segment: Callable[..., Any], tmp_path: Path) -> None:
    folder = project(root, "one", segment())
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    for name in ("per_slide.csv", "metrics.json"):
        (alone / name).write_bytes((folder / name).read_bytes())
    text, found = compared(root, "one", str(alone))
    assert "dice_mean" in found.index
    assert "not compared: mdice, miou, pixel_accuracy (B: a report by itself; " in text
    (folder / "metrics.json").unlink()
    text, _ = compared(root, "one", "one")
    assert "not compared: mdice, miou, pixel_accuracy (A and B: no metrics.json beside its per_slide.csv" in text


def test_a_table_tells_its_setup(segmentation: Any, cohort: Any) -> None:
    run = Run(usable_slides(segmentation.per_slide))
    assert run.setup == MetricSetup("segmentation", CLASSES)
    assert Run(cohort.per_slide).setup == MetricSetup("patch_classification", ("normal", "tumor"))
    assert set(differences(paired(run, run), None, 5, seed=0)["metric"]) <= set(run.measures)
