"""The report of slide labels for every kind of label, from tables made by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from acinus import records
from acinus.charts.layers import png_size
from acinus.drawing.study import _thinned
from acinus.metrics.registry import METRICS
from acinus.metrics.slide_figures import FIGURES, answers_of, judged
from acinus.pages import study_numbers
from acinus.pages.contexts import Layer, Provenance, SlideView
from acinus.pages.study import SlidePictures, StudyPage, study_page, study_slide_pages
from acinus.pages.study_plots import patients_of, reliability, study_charts, study_plots
from acinus.pages.study_table import Study, study_table
from acinus.pages.study_warnings import doubts
from acinus.pages.study_words import how
from acinus.params import Embed, Folds, Grade
from tests.pages.conftest import slide
from tests.pages.page_reader import HOSTILE, Reader, assert_inert

KINDS = ("binary", "classes", "ordinal", "regression", "survival")
CLASSES = {"binary": ("benign", "malignant"), "classes": ("a", "b", "c"), "ordinal": ("0", "1", "2")}
SLIDES = 24


def prediction(number: int, kind: str, **changes: Any) -> dict[str, Any]:
    """Slide `number` of patient number // 2, in one of three folds; the model is right but for every fifth slide."""
    names = CLASSES.get(kind, ())
    row: dict[str, Any] = {
        "slide_id": f"s{number:02d}",
        "repeat": 1,
        "patient": f"p{number // 2:02d}",
        "site": "north" if number // 2 % 2 else "south",
        "split": "train",
        "fold": number // 2 % 3 + 1,
        "kind": kind,
        "model": "out-of-fold",
        "event": None,
        "spread": 0.01,
        "num_patches": 2,
    }
    if names:
        true = number // 2 % len(names)
        given = (true + (number % 5 == 0)) % len(names)
        probs = np.full(len(names), 0.2 / (len(names) - 1))
        probs[given] = 0.8
        even = [1 / len(names)] * len(names)
        row |= {"label": names[true], "true": float(true), "predicted": float(given), "probs": probs.tolist()}
        row |= {"mean_pooling": even, "size_only": even, "colour_only": even, "majority": even}
    else:
        value = float(number // 2 + 1)
        row |= {"label": f"{value:g}", "true": value, "probs": []}
        row |= {"predicted": value + number % 3 - 1 if kind == "regression" else -value}
        row |= {"event": number // 2 % 4 > 0} if kind == "survival" else {}
        row |= {name: [0.5] for name in ("mean_pooling", "size_only", "colour_only", "majority")}
    return row | changes


def study(kind: str, *more: dict[str, Any], target: str = "diagnosis", n: int = SLIDES) -> Study:
    """A study of slides s00 ..., an unlabelled s90, one without tissue (s91) and a bad one (s92)."""
    unknown = {"slide_id": "s90", "patient": "p90", "label": None, "true": None, "event": None}
    rows = [prediction(number, kind) for number in range(n)]
    rows += [prediction(0, kind, **unknown, fold=None, model="ensemble"), *more]
    manifest = [slide(row["slide_id"], None, row["patient"], split=row["split"], provider=row["site"]) for row in rows]
    manifest += [slide("s91", None, "p91"), slide("s92", None, "p92", status="bad", reason="does not open")]
    return Study(
        target,
        kind,
        CLASSES.get(kind, ()),
        records.frame(records.PREDICTIONS, rows),
        records.frame(records.MANIFEST, manifest),
    )


def page(one: Study, **changes: Any) -> StudyPage:
    table = study_table(one)
    numbers = study_numbers.measured(one, table, 50, 3)
    view = SlideView("s03", (90, 60), "layers/s03_thumbnail.jpg", (Layer("Attention", "layers/s03.png", "about"),))
    values: dict[str, Any] = {
        "provenance": Provenance("mine", "slides", "slide_labels", "Title", "abc", "def", "encoder, frozen", None),
        "study": one,
        "how": how(one, Embed(encoder="resnet18"), Grade(target=one.target), Folds(k=3)),
        "metrics": numbers.metrics,
        "main": numbers.main,
        "cards": numbers.cards,
        "table": table,
        "folds": numbers.folds,
        "fold_metrics": numbers.fold_metrics,
        "doubts": tuple(doubts(one, numbers.metrics, numbers.main)),
        "attention": records.frame(records.ATTENTION, [attention("s03", 0, 0.7), attention("s03", 64, 0.3)]),
        "bootstrap": 50,
        "seed": 3,
        "slides": (
            SlidePictures("s03", view, "layers/s03_lowest.png", "layers/s03.tif", "layers/s03.geojson"),
            SlidePictures("s04", None, None, "layers/s04.tif", "layers/s04.geojson"),
        ),
        "files": {"metrics.json": "metrics.json"},
    }
    return StudyPage(**values | changes)


def attention(slide_id: str, x0: int, weight: float) -> dict[str, Any]:
    return {
        **{"slide_id": slide_id, "x0": x0, "y0": 0, "downsample": 1.0, "patch_px": 64},
        **{"prob": None, "chosen": "all", "attention": weight},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_page_metrics_charts_and_slides(kind: str, tmp_path: Path) -> None:
    one = study(kind)
    whole = page(one)
    html = study_page(whole)
    assert_inert(html)
    read = Reader(html)
    main = whole.metrics[whole.main.name]
    assert str(main) in read.values()
    assert f"What is predicted: {one.target}" in read.text
    assert "Attention is not explanation." in read.text
    assert "1 slides have no diagnosis" in read.text
    assert "s90" in read.text
    assert "1 usable slides gave no patch" in read.text
    assert "does not open" in read.text
    for name in ("mean pooling", "size only", "colour only", "majority"):
        assert name in read.text
    for slide_id, of_slide in study_slide_pages(whole):
        assert_inert(of_slide)
        assert ("Highest attention" in of_slide or "Lowest attention" in of_slide) == (slide_id == "s03")
        assert "1 / 2" in of_slide if slide_id == "s03" else True
    charts = study_charts(one)
    expected = {
        "binary": {"roc", "pr", "confusion", "reliability"},
        "regression": {"predicted"},
        "survival": {"survival"},
    }
    assert set(charts) == expected.get(kind, {"confusion", "reliability"})
    assert all(min(png_size(chart.png)) > 300 for chart in charts.values())
    assert study_charts(one) == charts


def test_each_fold_has_the_figures_of_its_slides() -> None:
    one = study("binary")
    folds = page(one).folds
    assert folds[["fold", "slides", "patients"]].to_numpy().tolist() == [[1, 8, 4], [2, 8, 4], [3, 8, 4]]
    for row in folds.to_dict("records"):
        inside = one.judged[one.judged["fold"] == row["fold"]]
        expected = roc_auc_score(inside["true"], [probs[1] for probs in inside["probs"]])
        assert row["slide.auc"] == pytest.approx(expected)


def by_id(one: Study) -> dict[str, dict[str, Any]]:
    return {row["slide_id"]: row for row in records.rows(study_table(one))}


def test_the_table_has_a_row_per_slide_of_the_manifest() -> None:
    table = by_id(study("ordinal"))
    assert len(table) == SLIDES + 3
    assert sum(row["scored"] for row in table.values()) == SLIDES
    assert [table["s00"][name] for name in ("label", "predicted", "right", "fold")] == ["0", "1", 0, 1]
    assert [table["s01"][name] for name in ("label", "predicted", "right")] == ["0", "0", 1]
    assert [table["s01"][f"prob.{name}"] for name in "012"] == [0.8, 0.1, 0.1]
    assert table["s90"]["right"] is None
    assert table["s91"]["reason"] == "no tissue to take a patch from"
    regression = by_id(study("regression"))["s02"]
    assert [regression[name] for name in ("true", "value", "error")] == [2.0, 3.0, 1.0]


def test_without_folds_the_figures_are_of_the_test_split() -> None:
    rows = [prediction(n, "binary", split="test", fold=None, model="held-out", slide_id=f"t{n}") for n in range(30, 36)]
    one = study("binary", *rows, n=0)
    assert one.judged["slide_id"].tolist() == [f"t{n}" for n in range(30, 36)]
    assert page(one).folds.empty
    assert "They are the test split" in how(one, Embed(), Grade(), None)[1]


def test_reliability_has_wilsons_interval() -> None:
    """The model is wrong about five slides, three of them benign: it gives 13 malignant, 10 of them rightly."""
    one = study("binary")
    bins = reliability(one)
    assert bins["count"].tolist() == [0, 11, 0, 0, 13]
    top = bins.iloc[4]
    share, n, z = 10 / 13, 13, 1.959964
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert top[["confidence", "accuracy"]].tolist() == pytest.approx([0.8, share])
    assert top[["low", "high"]].tolist() == pytest.approx([centre - half, centre + half], rel=1e-4)


def test_curves_for_dvc_have_the_columns_of_every_recipe() -> None:
    tables = study_plots(study("binary"))
    assert len(tables["roc_slides"]) > 2
    assert tables["roc"].empty
    assert len(tables["confusion"]) == 200
    assert tables["grade_confusion"]["actual"].sum() == 12
    assert all(table.empty for table in study_plots(study("survival")).values())


def test_survival_is_of_patients() -> None:
    patients = patients_of(study("survival"))
    assert patients["time"].tolist() == [float(number + 1) for number in range(12)]
    assert patients["risk"].tolist() == [-float(number + 1) for number in range(12)]
    assert patients["event"].tolist() == [int(number % 4 > 0) for number in range(12)]
    assert patients["fold"].tolist() == [number % 3 + 1 for number in range(12)]


def test_the_log_rank_p_of_the_card_is_that_of_the_curves() -> None:
    """A patient with three slides is one case: each slide for itself would give a smaller p."""
    one = study("survival")
    more = (one.predictions.assign(slide_id=one.predictions["slide_id"] + tail) for tail in "xy")
    rows = pd.concat([one.predictions, *more])
    caption = study_charts(replace(one, predictions=rows))["survival"].alt
    for predictions in (one.predictions, rows):
        p_value = FIGURES["log_rank_p"](answers_of(judged(predictions)))
        assert f"log-rank p of the patients {p_value:.2g}" in caption


def test_the_slides_that_the_page_shows_have_pictures() -> None:
    ids = [f"s{number:02d}" for number in range(60)]
    kept = _thinned(ids, 24, ["s07", "s58"])
    assert len(kept) == 24
    assert {"s00", "s07", "s58", "s59"} <= set(kept)
    assert kept == sorted(kept)
    assert _thinned(ids[:24], 24, ["s07"]) == ids[:24]


def said(one: Study, **metrics: float) -> dict[str, str]:
    numbers = study_numbers.measured(one, study_table(one), 50, 3)
    return {doubt.title: doubt.text for doubt in doubts(one, {**numbers.metrics, **metrics}, numbers.main)}


def test_what_makes_figures_doubtful_is_told_with_its_number() -> None:
    """Sites go with the classes of `prediction`: each patient's class is its site."""
    told = said(study("binary"))
    assert "Cramer's V of diagnosis and site is 1.00" in told["Label and site go together"]
    assert "Fewer than 10 patients: benign 6, malignant 6" in told["Classes of few patients"]
    assert "nearly as good" not in " ".join(told)
    assert "Patients with slides of several classes" not in told
    near = said(study("binary"), **{"slide.auc.baseline_size": 0.99})
    assert "0.990, within or beyond the model's interval" in near["Number of tissue patches alone nearly as good"]
    assert "Few events" in said(study("survival"))


def test_a_patient_with_slides_of_two_classes_counts_in_both_and_is_named() -> None:
    one = study("binary")
    rows = one.predictions.copy()
    first, other = (rows[rows["label"] == name].iloc[0] for name in ("benign", "malignant"))
    rows.loc[rows["slide_id"] == other["slide_id"], "patient"] = first["patient"]
    mixed = replace(one, predictions=rows)
    kept = rows[rows["true"].notna()].groupby("label")["patient"].nunique()
    told = said(mixed)
    assert f"benign {kept['benign']}, malignant {kept['malignant']}" in told["Classes of few patients"]
    assert told["Patients with slides of several classes"].startswith(f"1 patients ({first['patient']})")


def test_patients_of_the_test_split_whose_other_slides_taught_are_named() -> None:
    apart = prediction(30, "binary", split="test", fold=None, model="ensemble")
    title = "Patients of the test split were seen"
    assert title not in said(study("binary", apart))
    assert said(study("binary", {**apart, "patient": "p03"}))[title].startswith(
        "1 patients (p03) have slides in the test"
    )


def test_names_of_others_are_text_on_the_pages() -> None:
    one = study("binary", target=HOSTILE)
    whole = page(one)
    assert_inert(study_page(whole))
    for _, html in study_slide_pages(whole):
        assert_inert(html)


def test_the_main_metric_of_each_kind_is_registered() -> None:
    assert {kind: page(study(kind)).main.name for kind in KINDS} == {
        "binary": "slide.auc",
        "classes": "slide.auc_macro",
        "ordinal": "slide.qwk",
        "regression": "slide.r2",
        "survival": "slide.c_index",
    }
    assert all(page(study(kind)).main.name in METRICS for kind in KINDS)
