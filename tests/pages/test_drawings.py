"""Which charts a recipe gets, and what they show where it can be read off the pixels."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from acinus.charts import curves as charts
from acinus.charts.curves import ACCENT, SECOND
from acinus.metrics.setup import MetricSetup
from acinus.pages.plots import draw
from acinus.scoring import froc
from acinus.scoring.froc import Detection

SETUP = MetricSetup("patch_classification", ("normal", "tumor"))
ISUP = MetricSetup("patch_classification", ("normal", "tumor"), grade="isup")


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


def near(png: bytes, colour: str) -> np.ndarray:
    """Return the rows and columns (n, 2) of the px of a colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return np.argwhere((np.abs(pixels(png) - wanted) <= 3).all(axis=2))


SLIDES = ("slide_f1", "slide_sensitivity", "slide_specificity")


def curve(**columns) -> pd.DataFrame:
    return pd.DataFrame({"threshold": [0.1, 0.5, 0.9], **{name: [np.nan] * 3 for name in SLIDES}} | columns)


def test_a_recipe_gets_the_charts_it_has_data_for(cohort, segmentation, build, rows) -> None:
    found = draw(cohort.tables, cohort.per_slide, SETUP)
    assert list(found) == ["training", "roc", "roc_slides", "pr", "burden", "bland_altman"]
    three = MetricSetup("segmentation", ("other", "gland", "stroma"))
    assert list(draw(segmentation.tables, segmentation.per_slide, three)) == [
        "training",
        "confusion",
        "burden",
        "bland_altman",
    ]
    assert found["burden"].alt == "predicted against annotated tumour burden per slide"
    several = draw(segmentation.tables, segmentation.per_slide, three)
    for name in ("burden", "bland_altman"):
        assert "burden (share of tissue that is gland, stroma)" in several[name].alt
        assert "tumour" not in several[name].alt
    more = build(
        bootstrap=0,
        grades=[rows.grade("test_a", 2, 3, 1)],
        class_scores=[rows.class_score("test_a", 0, 1, [0.3, 0.7])],
        calibration={"curve": curve(dice_mean=[0.1, 0.2, 0.3], pixel_f1=[0.1, 0.2, 0.3]).to_dict("list")},
        amounts=[rows.amount("test_a", (1, 2, 2), (1.0, 1.0), 0.5) | {"num_lesions": 1, "num_itc": 0}],
        regions=[rows.region("test_a", 1, 0.9, 1)],
        setup=ISUP,
    )
    found = draw(more.tables, more.per_slide, ISUP)
    assert list(found)[-4:] == ["reliability", "threshold", "grades", "froc"]
    assert [one.section for one in found.values()][-4:] == ["calibration", "calibration", "grades", "lesions"]
    assert found["grades"].alt.endswith("by attention MIL and by the rule")
    alone = dataclasses.replace(more.tables, grades=more.tables.grades.assign(rule=pd.array([None], dtype="Int64")))
    assert draw(alone, more.per_slide, ISUP)["grades"].alt.endswith("by attention MIL")
    assert all(one.png.startswith(b"\x89PNG") and one.title and one.alt for one in found.values())


def test_the_same_input_gives_the_same_bytes(cohort) -> None:
    one, two = (draw(cohort.tables, cohort.per_slide, SETUP) for _ in range(2))
    assert {name: drawing.png for name, drawing in one.items()} == {name: drawing.png for name, drawing in two.items()}
    assert all(b"Software" not in drawing.png for drawing in one.values())


def test_the_chosen_threshold_is_marked_where_it_is() -> None:
    table = curve(dice_mean=[0.5, 0.5, 0.5], pixel_f1=[np.nan] * 3)
    plain, low, high = (pixels(charts.threshold_chart(table, one)) for one in (None, 0.2, 0.8))
    upper = slice(0, plain.shape[0] // 3)  # above the curve and the key
    left, right = (np.nonzero((plain[upper] != one[upper]).any(axis=(0, 2)))[0].mean() for one in (low, high))
    assert left < plain.shape[1] / 2 < right


def test_the_limits_of_agreement_lie_round_the_errors() -> None:
    true = np.array([10.0, 20.0, 30.0, 40.0])
    predicted = np.array([11.0, 19.0, 32.0, np.nan])
    png = charts.bland_altman_chart(predicted, true)
    dots, lines = near(png, "#695fa2"), near(png, SECOND)
    assert len(dots) > 50
    assert lines[:, 0].min() < dots[:, 0].min() < dots[:, 0].max() < lines[:, 0].max()
    assert not len(near(charts.bland_altman_chart(true[:1], true[:1]), SECOND))  # one pair has no limits


def test_the_lesion_curve_climbs_where_the_lesions_are_found() -> None:
    found = [Detection("a", 0.9, 1), Detection("a", 0.8, 0), Detection("a", 0.7, 2)]
    half, whole = (froc.curve([froc.outcomes(found[:count], {"a": 2})["a"]]) for count in (1, 3))
    tops = [near(charts.froc_chart(one), ACCENT)[:, 0].min() for one in (half, whole)]
    assert tops[1] < tops[0]


def test_grades_are_shown_as_counts() -> None:
    few, more = np.eye(6, dtype=np.int64), 2 * np.eye(6, dtype=np.int64)
    names = [str(one) for one in range(6)]
    pictures = [charts.grade_chart({"MIL": one}, names) for one in (few, more)]
    assert pictures[0] != pictures[1]
    both = pixels(charts.grade_chart({"MIL": few, "rule": more}, names))
    assert both.shape[1] > 1.5 * pixels(pictures[0]).shape[1]


def test_names_of_classes_are_no_formulas_and_do_not_cover_each_other() -> None:
    one = {"model": np.eye(2, dtype=np.int64)}
    short = pixels(charts.grade_chart(one, ["a", "b"]))
    assert pixels(charts.grade_chart(one, [r"$\bad{$", "b"])).shape == short.shape
    long = pixels(charts.grade_chart(one, [f"{letter} {'word ' * 30}" for letter in "ab"]))
    darkest = np.abs(long.astype(int) - [0x3F, 0x00, 0x7D]).sum(axis=2) < 6  # the two squares of the diagonal
    assert darkest.sum() > 0.05 * darkest.size


def test_charts_of_little_data_are_drawn() -> None:
    bins = {f"{name}_{when}": [0] for when in ("before", "after") for name in ("count", "confidence", "accuracy")}
    for png in (
        charts.reliability_chart(pd.DataFrame({"bin": [0.5]} | bins)),
        charts.threshold_chart(curve(dice_mean=[np.nan] * 3, pixel_f1=[None] * 3), 0.5),
        charts.bland_altman_chart(np.zeros(0), np.zeros(0)),
        charts.pr_chart(pd.DataFrame({"recall": [0.0, 1.0], "precision": [1.0, 1.0]}), 1.0),
        charts.grade_chart({"MIL": np.zeros((2, 2), dtype=np.int64)}, ["normal", "tumour"]),
    ):
        assert pixels(png).std() > 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_empty_bin_is_no_point_of_the_diagram(when: str) -> None:
    columns = {"bin": [0.25, 0.75]}
    for one in ("before", "after"):
        columns |= {f"count_{one}": [0, 4], f"confidence_{one}": [np.nan, 0.8], f"accuracy_{one}": [np.nan, 0.5]}
    places = near(charts.reliability_chart(pd.DataFrame(columns)), SECOND if when == "before" else ACCENT)
    assert len(places)
