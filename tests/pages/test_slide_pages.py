"""A slide's own page: every figure stands in a table, hostile text stays text, layers have their sliders."""

import dataclasses
import runpy
from pathlib import Path

import pandas as pd
import pytest

from acinus import records
from acinus.errors import AcinusError
from acinus.metrics.setup import MetricSetup
from acinus.pages import contexts, outlines, pages, views, wording

READER = runpy.run_path(str(Path(__file__).with_name("page_reader.py")))
HOSTILE, Reader, assert_inert = (READER[name] for name in ("HOSTILE", "Reader", "assert_inert"))

PROVENANCE = ("r", "camelyon", "patch_classification", "T", "c", "0", "resnet50", None)
POINT = {"temperature": 1.25, "threshold": 0.4, "smoothing_px": 1.0, "min_region_um2": 250.5, "max_hole_um2": 125.5} | {
    "source": {"slides": ["v1", "v2"], "objective": "dice", "trials": 40}
}

TUNING = {"objective": "patch_auc", "trials": 8, "value": 0.83, "settings": {"lr": 0.0125, "sampler": "even"}}


def patch(slide_id: str, x0: int, attention: float, **changes) -> dict:
    row = {"slide_id": slide_id, "x0": x0, "y0": 64, "downsample": 2.0, "patch_px": 32, "prob": 0.75}
    return row | {"chosen": "top", "attention": attention} | changes


@pytest.fixture
def graded(build, rows):
    """The cohort worked by hand with regions of two slides, grades, and tables of a search and a calibration."""
    regions = [rows.region("test_a", number, 0.5 + number / 100, None, number / 8) for number in range(1, 31)]
    regions = [one | {"area_px": 7 * one["region"] % 31} for one in regions] + [
        rows.region("test_e", 1, 0.9, None, None)
    ]
    return build(
        setup=MetricSetup("patch_classification", ("normal", "tumor"), grade="isup"),
        amounts=[one | {"num_regions": {"test_a": 30, "test_e": 1}.get(one["slide_id"], 0)} for one in rows.AMOUNTS],
        regions=regions,
        grades=[rows.grade("test_a", 3, 4, 2), rows.grade("test_b", 2, 2, 2), rows.grade("test_c", 0, 1, 0)],
        class_scores=[rows.class_score("test_a", x, x % 2, [0.25, 0.75]) for x in range(6)],
        comparison={"objective": "patch_auc", "epochs": 2}
        | {"untuned": {"val": 0.71, "test": 0.72}, "tuned": {"val": 0.83, "test": 0.81}},
        point=POINT,
        tuning=TUNING,
    )


def page_of(graded, attention: list[dict], shown: tuple[views.View, ...] = (), **slide) -> contexts.RecipePage:
    own = records.frame(records.ATTENTION, attention)
    layers = (
        contexts.Layer("Truth", "layers/test_a_truth.png", "the annotation", 0.0),
        contexts.Layer("Heatmap", "layers/test_a_heatmap.png", "the probability", 0.8),
    )
    outline = outlines.Outline(7, "M0 0L9 0L9 9Z", (200, 0, 0))
    drawn = {"size": (90, 60), "thumbnail": "layers/test_a_thumbnail.jpg", "layers": layers, "outlines": (outline,)}
    view = contexts.SlideView("test_a", **(drawn | {"strip": "layers/test_a_patches.png"} | slide))
    others = tuple(contexts.SlideView(one) for one in ("test_b", "test_c", "test_d", "test_e"))
    return contexts.RecipePage(
        contexts.Provenance(
            "r", "camelyon", "patch_classification", "T", "c", "0", "resnet50", None, {"manifest": "a1"}
        ),
        contexts.Protocol(0.4, "p99", 200, 7, "224 px", 16.0),
        graded.metrics,
        graded.per_slide,
        classes=(contexts.ClassKey("normal", (255, 255, 255)), contexts.ClassKey("tumor", (0, 114, 178))),
        views=shown,
        evidence=contexts.Evidence(
            (view, *others),
            pages.shown_regions(graded.tables.regions),
            pages.shown_attention(own),
            own.groupby("slide_id").size().to_dict(),
        ),
        point=POINT,
        tuning=TUNING,
        grade="isup",
    )


ATTENTION = [patch("test_a", 10 * x, (x + 1) / 78) for x in range(12)]
VIEWS = views.choose([views.PatchResult("test_a", 64, 32, 0.8125, True, 0)], 1)


def cells(table: pd.DataFrame) -> set[str]:
    return {str(value) for row in records.rows(table) for value in row.values()}


def test_every_figure_of_a_slides_page_stands_in_a_table(graded) -> None:
    page = page_of(graded, ATTENTION, VIEWS)
    written = dict(pages.slide_pages(page))
    assert list(written) == ["test_a", "test_b", "test_c", "test_d", "test_e"]
    tables_ = (page.evidence.regions, page.evidence.attention)
    for slide_id, html in written.items():
        own = page.per_slide[page.per_slide["slide_id"] == slide_id]
        known = cells(own).union(*(cells(one[one["slide_id"] == slide_id]) for one in tables_))
        shown = set(Reader(html).values())
        assert shown <= known | ({"0.8125", "64", "32"} if slide_id == "test_a" else set()), slide_id
        scalars = {str(one) for row in records.rows(own) for one in row.values() if isinstance(one, int | float)}
        assert scalars - {"True", "False"} <= shown  # and every column of the slide's row is there
    assert "0.8125" in Reader(written["test_a"]).values()


def test_every_figure_of_the_recipes_page_stands_in_the_metrics_or_the_table(graded) -> None:
    page = page_of(graded, ATTENTION)
    read = Reader(pages.recipe_page(page))
    table = {str(value) for column in page.per_slide.columns for value in page.per_slide[column]}
    assert set(read.values()) <= {str(value) for value in page.metrics.values()} | table
    for name in (
        "tuned.val.patch_auc",
        "untuned.val.patch_auc",
        "tuned.patch_auc",
        "untuned.patch_auc",
        "ece",
        "brier",
    ):
        assert str(page.metrics[name]) in read.values(), name
    for name in ("n_trials", "best.lr", "temperature", "threshold", "smoothing_px", "min_region_um2", "max_hole_um2"):
        assert str(page.metrics[name]) in read.values(), name
    for name in ("n_slides_calibrated", "n_point_trials", "qwk.seeds_mean", "qwk.seeds_std", "tumor_rule_accuracy"):
        assert str(page.metrics[name]) in read.values(), name
    for name in ("brier", "ece.uncalibrated", "qwk", "qwk_ci_low", "qwk.rule", "grade_accuracy"):
        assert str(page.metrics[name]) in read.values(), name
    ids = {attributes.get("id") for _, attributes in read.tags}
    assert {"tuning", "calibration", "grades", "per-slide"} <= ids
    assert "lesions" not in ids
    said = " ".join(read.text.split())
    assert "8 trials were searched for the best Patch AUC" in said
    assert "logits divided by 1.25, tumour from probability 0.4 on" in said
    assert "Chosen on 2 validation slides for the best Dice in 40 trials" in said
    assert "holes up to 125.5 µm² filled, regions under 250.5 µm² removed" in said
    assert "Chosen: lr: 0.0125, sampler: even." in said
    assert "Test patches were looked at only after the search had ended." in said
    assert "reads the ISUP grade off the predicted areas" in said
    assert "no ISUP by area" not in said
    assert "manifest a1" in said


def said_by(page: contexts.RecipePage) -> str:
    return " ".join(Reader(pages.recipe_page(page)).text.split())


def without_rule(metrics: dict) -> dict:
    return {key: value for key, value in metrics.items() if not key.startswith(("qwk.rule", "n_graded_rule"))}


def test_what_no_rule_can_grade_is_called_by_burden(graded) -> None:
    page = page_of(graded, [])
    bare = dataclasses.replace(page, metrics=without_rule(page.metrics))
    said = said_by(bare)
    assert (
        "No Gleason classes in this segmentation, so no ISUP by area; tumour by burden from 0.5 % of tissue on" in said
    )
    assert "reads the ISUP grade" not in said
    assert "Quadratic kappa, rule" not in said
    for name in ("tumor_rule_accuracy", "tumor_mil_accuracy"):
        assert str(bare.metrics[name]) in Reader(pages.recipe_page(bare)).values()


def test_a_recipe_that_grades_nothing_still_has_the_rule(cohort, graded) -> None:
    own = {"metrics": cohort.metrics, "per_slide": cohort.per_slide, "point": {}, "tuning": {}, "grade": "none"}
    said = said_by(dataclasses.replace(page_of(graded, []), **own))
    assert "a slide is tumour from a predicted burden of 0.5 % of tissue on" in said
    assert "Attention MIL" not in said


@pytest.mark.parametrize(
    ("figures", "splits"),
    [
        ({"ece": 0.2, "ece.uncalibrated": 0.1, "val.ece": 0.1, "val.ece.uncalibrated": 0.2}, "On test patches"),
        ({"ece": 0.2, "ece.uncalibrated": 0.2, "val.ece": 0.2, "val.ece.uncalibrated": 0.1}, "On test and validation"),
        ({"ece": 0.1, "ece.uncalibrated": 0.2}, None),
        ({"ece": 0.2, "ece.uncalibrated": 0.2, "temperature": 1.0}, None),  # nothing was done
    ],
)
def test_a_calibration_that_did_not_lower_the_error_says_so(graded, figures, splits) -> None:
    page = page_of(graded, [])
    said = said_by(dataclasses.replace(page, metrics=page.metrics | figures))
    assert ("the temperature is kept for a log-loss that is lower" in said) == (splits is not None)
    assert splits is None or splits in said


def test_offsets_stand_on_the_page_with_their_classes(graded) -> None:
    page = page_of(graded, [])
    assert "offsets" not in said_by(page)
    own = page.metrics | {"bias.normal": 0.375, "bias.tumor": -0.375, "temperature": 1.0}
    page = dataclasses.replace(page, metrics=own | {"ece": 0.2, "ece.uncalibrated": 0.1})
    said = said_by(page)
    assert "logits divided by 1.0, then offsets added (normal 0.375, tumor -0.375), tumour from" in said.replace(
        "divided by 1,", "divided by 1.0,"
    )
    assert "the temperature and the offsets are kept for a log-loss that is lower" in said
    assert {"0.375", "-0.375"} <= set(Reader(pages.recipe_page(page)).values())


def test_a_point_that_was_not_searched_for_is_not_called_chosen(graded) -> None:
    page = page_of(graded, [])
    said = said_by(dataclasses.replace(page, metrics=page.metrics | {"n_point_trials": 0}))
    assert "Threshold and clean-up were not searched for; the numbers above are of 2 validation slides" in said
    assert "Chosen on" not in said


def test_the_tracked_runs_can_be_found(graded) -> None:
    page = page_of(graded, [])
    own = dataclasses.replace(page.provenance, mlflow_run="run-7")
    assert "training run-7; acinus results says how to open MLflow, where it has this id" in said_by(
        dataclasses.replace(page, provenance=own)
    )
    whole = dataclasses.replace(own, mlflow_parent="run-1")
    said = said_by(dataclasses.replace(page, provenance=whole))
    assert (
        "training run-7, in the pipeline's run run-1; acinus results says how to open MLflow, where they have these ids"
        in said
    )


def test_the_page_says_which_file_holds_which_table(graded) -> None:
    names = ("metrics.json", "per_slide.csv", "regions.csv", "attention.csv", "views.csv", "validation.json")
    said = said_by(dataclasses.replace(page_of(graded, []), files={name: name for name in names}))
    for name in names:
        assert f"{name}: {wording.FILES[name]}" in said


def test_the_page_links_great_expectations_pages_where_there_are_any(graded) -> None:
    page = page_of(graded, [])
    docs = {one: f"data_docs/{one}/index.html" for one in ("index", "manifest")}
    links = Reader(pages.recipe_page(dataclasses.replace(page, data_docs=docs))).links()
    assert [link for link in links if link.startswith("data_docs")] == list(docs.values())
    assert "data_docs" not in pages.recipe_page(page)


def test_the_table_links_to_the_pages_that_there_are(graded) -> None:
    page = page_of(graded, ATTENTION)
    links = Reader(pages.recipe_page(page)).links()
    assert [link for link in links if link.startswith("slides/")] == [
        f"slides/{one}.html" for one in sorted(page.evidence.pages)
    ]
    bare = Reader(pages.recipe_page(dataclasses.replace(page_of(graded, []), evidence=contexts.Evidence())))
    assert not [link for link in bare.links() if link.startswith("slides/")]


def test_slides_lead_to_their_neighbours(graded) -> None:
    written = dict(pages.slide_pages(page_of(graded, ATTENTION)))
    found = {
        slide_id: {a["rel"]: a["href"] for tag, a in Reader(html).tags if tag == "a" and "rel" in a}
        for slide_id, html in written.items()
    }
    assert found["test_a"] == {"next": "test_b.html"}
    assert found["test_b"] == {"prev": "test_a.html", "next": "test_c.html"}
    assert found["test_e"] == {"prev": "test_d.html"}


def test_every_layer_has_a_slider_and_starts_as_the_slider_says(graded) -> None:
    read = Reader(dict(pages.slide_pages(page_of(graded, ATTENTION)))["test_a"])
    tags = [(tag, a) for tag, a in read.tags if tag in ("img", "svg", "input")]
    by_id = {str(a["id"]): a for _, a in tags if "id" in a}
    sliders = [a for tag, a in tags if tag == "input"]
    assert [a["data-layer"] for a in sliders] == ["layer-1", "layer-2", "layer-regions"]
    assert [a["value"] for a in sliders] == ["0", "80", "100"]
    assert [by_id[str(a["data-layer"])].get("style") for a in sliders] == ["opacity: 0.0", "opacity: 0.8", None]
    assert by_id["layer-regions"]["viewbox"] == "0 0 90 60"
    labels = {str(a["for"]) for tag, a in read.tags if tag == "label"}
    assert {str(a["id"]) for a in sliders} == labels


def test_a_slide_without_pictures_says_so(graded) -> None:
    html = dict(pages.slide_pages(page_of(graded, ATTENTION)))["test_b"]
    assert "Pictures are drawn of 1 slides" in html
    assert not [tag for tag, _ in Reader(html).tags if tag == "img"]


def test_hostile_text_stays_text_on_a_slides_page(graded, segmentation) -> None:
    bad = f'{HOSTILE}" onload="x'
    page = page_of(
        graded,
        ATTENTION,
        layers=(contexts.Layer(bad, f"javascript:{bad}", bad),),
        thumbnail=f"//example.org/{bad}",
        strip=bad,
        outlines=(outlines.Outline(1, bad, (1, 2, 3)),),
    )
    table = page.per_slide.assign(
        slide_id=page.per_slide["slide_id"].replace("test_a", bad), reason=HOSTILE, patient=HOSTILE
    )
    evidence = contexts.Evidence((contexts.SlideView(bad), contexts.SlideView("test_b")))
    for one in (
        page,
        dataclasses.replace(page, per_slide=table, evidence=evidence, provenance=contexts.Provenance(*[HOSTILE] * 8)),
    ):
        for _, html in pages.slide_pages(one):
            assert_inert(html)
            assert all("alert" not in script for script in Reader(html).scripts)
    assert HOSTILE in Reader(next(pages.slide_pages(page))[1]).text


def test_the_largest_regions_and_strongest_patches_are_shown(graded) -> None:
    shown = pages.shown_regions(graded.tables.regions)
    own = shown[shown["slide_id"] == "test_a"]
    sizes = sorted((7 * number % 31 for number in range(1, 31)), reverse=True)
    assert own["area_px"].tolist() == sizes[: pages.MOST_REGIONS]
    assert shown["slide_id"].tolist()[-1] == "test_e"
    strong = pages.shown_attention(records.frame(records.ATTENTION, ATTENTION))
    assert strong["x0"].tolist() == [10 * x for x in range(11, 3, -1)]
    text = Reader(next(pages.slide_pages(page_of(graded, ATTENTION)))[1]).text
    assert "The 20 largest of 30 predicted regions" in " ".join(text.split())
    assert "8 patches of highest attention of 12" in " ".join(text.split())


def test_small_areas_are_not_shown_as_zero(graded) -> None:
    small = graded.tables.regions.assign(area_mm2=0.000012)
    page = dataclasses.replace(page_of(graded, []), evidence=contexts.Evidence((contexts.SlideView("test_a"),), small))
    html = next(pages.slide_pages(page))[1]
    assert '<data value="1.2e-05">0.000012</data>' in html


# ---------------------------------------------------------------- outlines


def feature(name: str, rings: list, colour=(200, 0, 0), kind: str = "tumor") -> dict:
    properties = {"objectType": "annotation", "name": name, "classification": {"name": kind, "color": list(colour)}}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": rings}, "properties": properties}


def square(left: float, top: float, edge: float) -> list:
    return [[left, top], [left + edge, top], [left + edge, top + edge], [left, top + edge], [left, top]]


def test_outlines_are_scaled_with_their_holes_and_stand_in_the_order_of_their_numbers() -> None:
    collection = {
        "features": [feature("region 2", [square(0, 0, 40), square(8, 8, 16)]), feature("region 1", [square(80, 0, 8)])]
    }
    first, second = outlines.outlines(collection, 0.25, "x.geojson")
    assert (first.region, second.region) == (1, 2)
    assert second.colour == (200, 0, 0)
    assert set(first.path[1:-1].split("L")) == {"20 0", "22 0", "22 2", "20 2"}
    outer, inner = second.path.removesuffix("Z").split("ZM")
    assert set(outer[1:].split("L")) == {"0 0", "10 0", "10 10", "0 10"}
    assert set(inner.split("L")) == {"2 2", "6 2", "6 6", "2 6"}


def test_the_largest_outlines_are_kept(monkeypatch) -> None:
    monkeypatch.setattr(outlines, "MOST_OUTLINES", 2)
    collection = {"features": [feature(f"region {n}", [square(0, 0, edge)]) for n, edge in ((1, 9), (2, 2), (3, 30))]}
    assert [one.region for one in outlines.outlines(collection, 1.0, "x")] == [1, 3]


def test_a_class_has_the_recipes_colour_where_one_is_given() -> None:
    collection = {"features": [feature("region 1", [square(0, 0, 4)], kind="gland")]}
    (one,) = outlines.outlines(collection, 1.0, "x", {"gland": (1, 2, 3)})
    assert one.colour == (1, 2, 3)


def test_a_speck_keeps_its_outline() -> None:
    (one,) = outlines.outlines({"features": [feature("region 1", [square(8, 8, 8)])]}, 0.01, "x")
    assert set(one.path[1:-1].split("L")) <= {"0.1 0.1", "0.1 0.2", "0.2 0.1", "0.2 0.2"}
    assert len(one.path.split("L")) >= 3


@pytest.mark.parametrize(
    "collection", [{}, [], {"features": [{"properties": {}}]}, {"features": [feature("region x", [])]}]
)
def test_what_is_no_geojson_of_regions_is_refused(collection) -> None:
    with pytest.raises(AcinusError, match=r"x\.geojson.*quantify"):
        outlines.outlines(collection, 1.0, "x.geojson")


def test_lesions_and_instances_have_their_sections(graded, segmentation) -> None:
    figures = {"froc": 0.5, "froc_ci_low": 0.25, "froc_ci_high": 0.75, "n_lesions": 8, "n_itc": 3}
    figures |= {"pq": 0.625, "pq_ci_low": 0.5, "pq_ci_high": 0.6875, "n_pq": 4, "class_pq.tumor": 0.625, "n_froc": 5}
    page = page_of(graded, [])
    read = Reader(pages.recipe_page(dataclasses.replace(page, metrics=page.metrics | figures)))
    assert {"lesions", "instances"} <= {attributes.get("id") for _, attributes in read.tags}
    assert {"0.5", "0.25", "0.75", "8", "3", "0.625", "0.6875"} <= set(read.values())
