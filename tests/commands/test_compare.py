"""`acinus compare`: the differences of two small reports by hand, and what is said of slides that only one has."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from acinus import records
from acinus.charts.scatter import scatter_chart
from acinus.commands import compare
from acinus.errors import AcinusError
from acinus.files import write_json
from acinus.metrics.compare import Pair, Run, by_slide, differences, of_other_patches
from acinus.metrics.compare import paired as runs_paired
from acinus.metrics.metric import usable_slides
from acinus.metrics.per_slide import read_table
from acinus.metrics.setup import Tables
from acinus.tracking import RunFacts, create_database, stage_run

ROOT = Path(__file__).resolve().parents[2]


def row(slide_id: str, label: str, **values: Any) -> dict[str, Any]:
    given = {"slide_id": slide_id, "split": "test", "patient": f"patient of {slide_id}", "slide_label": label}
    return given | {"status": "ok", "scored": True} | values


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    texts = dict.fromkeys(("slide_id", "split", "patient", "slide_label"), "string")
    return pd.DataFrame(list(rows)).astype(texts)


def paired(
    first: pd.DataFrame, second: pd.DataFrame, tables: tuple[Tables | None, Tables | None] = (None, None)
) -> Pair:
    return runs_paired(*(Run(usable_slides(t), tables=own) for t, own in zip((first, second), tables, strict=True)))


def reports(random: np.random.Generator, better: float) -> pd.DataFrame:
    """Twelve slides, half of them with tumour; the higher `better`, the higher Dice and the lower the error."""
    rows = [
        row(
            f"s{i:02}",
            "tumor" if i % 2 else "normal",
            dice=0.5 + better + 0.1 * random.random() if i % 2 else None,
            burden_error=(-1) ** i * (10 - 10 * better),
            slide_score=random.random(),
        )
        for i in range(12)
    ]
    return table(
        *rows,
        row("train", "tumor", dice=0.0) | {"split": "train"},
        row("bad", "tumor") | {"status": "bad", "scored": False},
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    random = np.random.default_rng(6)
    for name, better in (("one", 0.1), ("two", 0.2)):
        folder = tmp_path / "reports" / name
        folder.mkdir(parents=True)
        reports(random, better).to_csv(folder / "per_slide.csv", index=False)
    return tmp_path


def test_every_figure_by_hand() -> None:
    counts = ("intersection_px", "pred_px", "true_px")
    names = ("slide_id", "label", "dice", "burden_error", "slide_score", *counts)
    a = [
        ("s1", "tumor", 0.5, -4.0, 0.9, 10, 20, 20),
        ("s2", "tumor", 0.8, 2.0, 0.4, 40, 50, 50),
        ("s3", "normal", 0.0, 6.0, 0.6, 0, 10, 0),
        ("s4", "normal", None, 0.0, 0.1, 0, 0, 0),
    ]
    b = [
        ("s1", "tumor", 0.7, -2.0, 0.9, 14, 20, 20),
        ("s2", "tumor", 0.6, 2.0, 0.8, 30, 50, 50),
        ("s3", "normal", None, 0.0, 0.6, 0, 0, 0),
        ("s4", "normal", None, 0.0, 0.2, 0, 0, 0),
    ]
    pair = paired(*(table(*(row(**dict(zip(names, one, strict=True))) for one in rows)) for rows in (a, b)))
    found = differences(pair, None, 200, seed=1).set_index("metric")
    expected = {
        "dice_mean_tumor": (0.65, 0.65, 2),
        "dice_mean": (0.65, 0.65, 2),  # s3 has one in A only
        "dice_pooled": (100 / 150, 88 / 140, 4),
        "burden_mae": (3.0, 1.0, 4),
        "burden_bias": (1.0, 0.0, 4),
        "slide_auc": (0.75, 1.0, 4),
    }
    assert list(found.index) == list(expected)
    for name, (first, second, n) in expected.items():
        assert found.loc[name, "a"] == pytest.approx(first), name
        assert found.loc[name, "b"] == pytest.approx(second), name
        assert found.loc[name, "difference"] == pytest.approx(second - first), name
        assert found.loc[name, "n"] == n, name
        assert found.loc[name, "low"] <= found.loc[name, "difference"] + 1e-12 <= found.loc[name, "high"] + 2e-12, name
    assert found.loc["slide_auc", "n_undefined"] > 0  # four slides of one label are drawn now and then
    assert found.loc["burden_mae", "n_undefined"] == 0


def test_grades_lesions_and_classes() -> None:
    true, first, second = [0, 1, 5, 3, 2], [0, 2, 5, 1, 2], [0, 1, 4, 3, 2]
    sides = []
    for mil, hits in ((first, 2), (second, 3)):
        rows = [
            row(
                f"s{i}",
                "tumor",
                isup_true=true[i],
                isup_mil=mil[i],
                lesions_hit=hits if i == 0 else 0,
                num_lesions=4 if i == 0 else 1,
                false_positives=i,
                **{"class_dice.stroma": 0.1 * hits, "pixel_accuracy": 0.9},
            )
            for i in range(5)
        ]
        sides.append(table(*rows))
    found = differences(paired(*sides), None, 50, seed=0).set_index("metric")
    assert found.loc["qwk", "a"] == pytest.approx(cohen_kappa_score(true, first, weights="quadratic", labels=range(6)))
    assert found.loc["qwk", "b"] == pytest.approx(cohen_kappa_score(true, second, weights="quadratic", labels=range(6)))
    assert tuple(found.loc["grade_accuracy", ["a", "b"]]) == (0.6, 0.8)
    assert tuple(found.loc["lesions_hit_share", ["a", "b"]]) == (2 / 8, 3 / 8)
    assert tuple(found.loc["per_slide.false_positives", ["a", "b"]]) == (2, 2)
    assert tuple(found.loc["per_slide.class_dice.stroma", ["a", "b"]]) == pytest.approx((0.2, 0.3))
    assert found.loc["per_slide.pixel_accuracy", "p_value"] == 1


def test_only_usable_test_slides_of_both_count_and_the_rest_is_named() -> None:
    first = table(*(row(one, "tumor", dice=0.5) for one in ("b", "a", "c")), row("d", "tumor") | {"split": "val"})
    second = table(*(row(one, "tumor", dice=0.5) for one in ("x", "c", "b")), row("a", "tumor") | {"status": "bad"})
    pair = paired(first, second)
    assert list(pair.first.slides["slide_id"]) == list(pair.second.slides["slide_id"]) == ["b", "c"]
    assert (pair.only_first, pair.only_second) == (["a"], ["x"])


def test_a_slide_without_a_map_counts_where_its_figures_are_defined() -> None:
    """A report calls such a slide usable, of older reports it is one with status ok and scored False."""
    rows = [row("a", "tumor", dice=0.5, within_slide_auc=0.75)]
    rows += [row("b", "tumor", within_slide_auc=0.25) | {"scored": False, "mapped": False}]
    for kept in (rows, [{key: value for key, value in one.items() if key != "mapped"} for one in rows]):
        found = differences(paired(table(*kept), table(*kept)), None, 20, seed=0).set_index("metric")
        assert tuple(found.loc["within_slide_auc_mean", ["a", "n"]]) == (0.5, 2)
        assert tuple(found.loc["dice_mean", ["a", "n"]]) == (0.5, 1)
    bare = table(*rows).drop(columns=["status", "mapped"])
    assert list(paired(bare, bare).first.slides["slide_id"]) == ["a"]


def test_patients_are_drawn_whole() -> None:
    values = np.array([0.1, 0.2, 0.9, 0.8])
    rows = [row(f"s{i}", "tumor", dice=0.5) | {"patient": f"p{i // 2}"} for i in range(4)]
    others = [one | {"dice": 0.5 + value} for one, value in zip(rows, values, strict=True)]
    found = differences(paired(table(*rows), table(*others)), "dice_mean", 500, seed=3)
    assert (found.loc[0, "low"], found.loc[0, "high"]) == pytest.approx((0.15, 0.85))  # one patient or the other


def test_what_cannot_be_compared_is_one_line() -> None:
    one = table(row("a", "tumor", dice=0.5))
    with pytest.raises(AcinusError, match=r"no usable test slide is in both runs \(1 in A, 1 in B\)"):
        paired(one, table(row("b", "tumor")))
    with pytest.raises(AcinusError, match="slide_label of slide a is tumor in A and normal in B"):
        paired(one, table(row("a", "normal")))
    with pytest.raises(AcinusError, match="isup_true of slide a is 1 in A and 2 in B"):
        paired(table(row("a", "tumor", isup_true=1)), table(row("a", "tumor", isup_true=2)))


def test_a_metric_undefined_in_one_run_has_no_row() -> None:
    first = table(row("a", "tumor", dice=0.5, burden_error=1.0))
    pair = paired(first, table(row("a", "tumor", dice=np.nan, burden_error=1.0)))
    assert list(differences(pair, None, 10, seed=0)["metric"]) == ["burden_mae", "burden_bias"]
    assert pair.defined == ["burden_mae", "burden_bias"]


def test_a_figure_that_one_run_lacks_is_refused_before_anything_is_written(root: Path) -> None:
    compare.run(root, "one", "two", None, None)
    folder = root / "reports" / "compare" / "one-two"
    kept = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    path = root / "reports" / "two" / "per_slide.csv"
    pd.read_csv(path).assign(dice=np.nan).to_csv(path, index=False)
    both = r"ask for one that A \(one\) and B \(two\) both have: burden_mae, burden_bias, slide_auc$"
    for metric, who in (("dice_mean", r"B \(two\) has none"), ("qwk", r"A \(one\) and B \(two\) have none")):
        with pytest.raises(AcinusError, match=rf"compare: {metric} cannot be compared \({who}\); {both}") as caught:
            compare.run(root, "one", "two", None, metric)
        assert "\n" not in str(caught.value)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == kept


def test_recipes_are_compared_and_written(root: Path) -> None:
    text = compare.run(root, "one", "two", None, None)
    folder = root / "reports" / "compare" / "one-two"
    assert "12 test slides of 12 patients in both\n" in text
    assert "2000 resamples of whole patients" in text
    assert text.splitlines()[-1] == str(folder)
    assert "\nonly over the slides where both runs define it: dice_mean_tumor, dice_mean\n" in text
    found = pd.read_csv(folder / "metrics.csv").set_index("metric")
    assert found.loc["burden_mae", "difference"] == pytest.approx(-1)
    assert found.loc["dice_mean", "n"] == 6
    assert 0.03 < found.loc["dice_mean", "low"] < found.loc["dice_mean", "high"] < 0.17
    assert [line.split()[0] for line in text.splitlines() if " to " in line] == list(found.index)
    assert "\nnot compared: patch_auc (A and B: a report by itself; the tables behind it lie in the project" in text
    slides = pd.read_csv(folder / "slides.csv")
    assert list(slides["slide_id"]) == [f"s{i:02}" for i in range(12)]
    assert slides["abs_burden_error.difference"].to_numpy() == pytest.approx(np.full(12, -1.0))
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(kept) == {"metrics.csv", "slides.csv", "slides.png"}
    assert compare.run(root, "one", "two", None, None) == text
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept


def test_a_run_may_be_a_folder_or_a_table_and_one_figure_asked_for(root: Path, tmp_path: Path) -> None:
    two = root / "reports" / "two"
    text = compare.run(root, str(two), str(two / "per_slide.csv"), tmp_path / "out", "dice_mean")
    assert len(pd.read_csv(tmp_path / "out" / "metrics.csv")) == 1
    assert "+0.0000 to +0.0000 1.0000" in text
    assert "slide_auc" not in text


def test_slides_of_one_run_only_and_few_patients_are_said(root: Path) -> None:
    path = root / "reports" / "two" / "per_slide.csv"
    whole = pd.read_csv(path)
    whole[~whole["slide_id"].isin(["s00", "s01", "s02", "s03"])].to_csv(path, index=False)
    text = compare.run(root, "one", "two", None, None)
    assert "8 test slides of 8 patients in both; 4 only in A (s00, s01, s02, ...), left out" in text
    assert "of so few patients they promise too much" in text


def test_a_slide_named_like_a_missing_value_is_a_slide(tmp_path: Path) -> None:
    table(row("NA", "tumor", dice=0.5), row("null", "normal", dice=0.5)).to_csv(tmp_path / "t.csv", index=False)
    found = read_table(tmp_path / "t.csv")
    assert list(found["slide_id"]) == ["NA", "null"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "not found; run the report stage"),
        (b"", "not a per-slide table"),
        (b"\xff\xfe\x00", "not a per-slide table"),
        (b"a,b\n1,2\n1,2,3,4\n", "not a per-slide table"),
        (b"slide_id,split\na,test\n", "columns patient, scored, slide_label are missing"),
        (b"slide_id,split,patient,slide_label,scored\na,test,p,,True\na,test,p,,True\n", "slide a stands twice"),
    ],
)
def test_a_table_that_is_none_is_one_line(tmp_path: Path, content: bytes | None, text: str) -> None:
    path = tmp_path / "per_slide.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AcinusError, match=text) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_is_nowhere_is_one_line(root: Path) -> None:
    with pytest.raises(AcinusError, match="run 'three': no file or folder, no recipe with a report, and no id"):
        compare.run(root, "one", "three", None, None)


def test_runs_of_mlflow_by_their_id(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_STAGE", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    create_database("sqlite:///mlflow.db", root)
    ids = []
    for name in ("one", "two"):
        facts = RunFacts(
            root=root,
            uri="sqlite:///mlflow.db",
            required=True,
            experiment="compared",
            stage="report",
            params={},
            tags={"acinus.kind": "stage", "acinus.stage": "report"},
            inputs=(),
        )
        with stage_run(facts) as run:
            write_json(root / "reports" / name / "metrics.json", {"burden_mae": 0.5, "patch_auc": 0.75, "froc": None})
            run.log_artifact(root / "reports" / name / "per_slide.csv", "report")
            run.log_artifact(root / "reports" / name / "metrics.json", "report")
        ids.append(str(run.run_id))
    text = compare.run(root, *ids, None, "burden_mae")
    folder = root / "reports" / "compare" / f"{ids[0][:8]}-{ids[1][:8]}"
    assert pd.read_csv(folder / "metrics.csv").loc[0, "difference"] == pytest.approx(-1)
    assert text.startswith(f"A {ids[0]}\nB {ids[1]}\n")
    whole = compare.run(root, *ids, None, None)
    assert "\nnot compared: patch_auc (A and B: the run does not have the tables behind its report" in whole
    with pytest.raises(AcinusError, match=r"patch_auc cannot be compared \(A and B: the run does not have the tables"):
        compare.run(root, *ids, None, "patch_auc")
    with pytest.raises(AcinusError, match=f"run {'0' * 32}"):
        compare.run(root, ids[0], "0" * 32, None, None)


def test_the_picture_has_a_panel_per_figure_of_both(tmp_path: Path) -> None:
    one = table(row("a", "tumor", dice=0.5, slide_score=0.1), row("b", "normal", dice=None, slide_score=0.2))
    for columns, panels in ((["dice", "slide_score"], 2), (["dice"], 1), ([], 1)):
        kept = one[[name for name in one if name not in {"dice", "slide_score"} - set(columns)]]
        values = by_slide(paired(one, kept))
        (tmp_path / "p.png").write_bytes(scatter_chart(values, ("one", "two")))
        with Image.open(tmp_path / "p.png") as picture:
            assert round(picture.width / picture.height, 2) == pytest.approx(4.2 * panels / 4.4, abs=0.01)
            assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 10


def test_figures_of_a_table_are_those_its_columns_allow() -> None:
    assert list(Run(table(row("a", "tumor"))).measures) == []
    assert list(Run(table(row("a", "tumor", slide_score=0.5, tumor_true=1, tumor_mil=1))).measures) == [
        "slide_auc",
        "grade_accuracy",
    ]


def patches(places: list[tuple[int, int]]) -> Tables:
    rows = [{"slide_id": "a", "x0": x, "y0": 0, "label": label, "probs": 0.5, "preds": 0} for x, label in places]
    scores = records.frame(records.SCORES, [{**one, "colour_probs": 0.5} for one in rows])
    of_class = [{"slide_id": "a", "x0": x, "y0": 0, "px": -1, "label": one, "probs": [0.5, 0.5]} for x, one in places]
    none = {"manifest": records.frame(records.MANIFEST, []), "quantities": records.frame(records.QUANTITIES, [])}
    return Tables(**none, patch_scores=scores, class_scores=records.frame(records.CLASS_SCORES, of_class))


def test_figures_of_other_patches_are_named() -> None:
    one, names = table(row("a", "tumor", n_patches=3)), ["dice_mean", "ece", "patch_auc", "within_slide_auc_mean"]
    first, moved = patches([(0, 0), (8, 1), (16, 1)]), patches([(0, 0), (8, 0), (24, 1), (32, -1)])
    assert of_other_patches(paired(one, one, (first, first)), names) == []
    assert of_other_patches(paired(one, one, (first, moved)), names) == [
        "of other patches in A than in B (3 and 3 patches, 1 of them in both): patch_auc, within_slide_auc_mean",
        "of other patches in A than in B (3 and 3 patches or px, 1 of them in both): ece",
    ]
    assert of_other_patches(paired(one, one, (first, moved)), ["dice_mean"]) == []
    fewer = table(row("a", "tumor", n_patches=2))
    assert of_other_patches(paired(one, fewer), names) == [
        "of other patches in A than in B (3 and 2 patches): patch_auc, within_slide_auc_mean"
    ]
