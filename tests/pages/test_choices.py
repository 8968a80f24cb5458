"""The figures of search, calibration and operating point under their names."""

import pytest

from acinus.errors import AcinusError
from acinus.metrics.choices import choice_values
from acinus.metrics.setup import MetricSetup

TWO = MetricSetup("segmentation", ("other", "cancer"))
THREE = MetricSetup("segmentation", ("other", "gland", "stroma"))
POINT = {
    "temperature": 1.5,
    "threshold": 0.4,
    "source": {"objective": "dice", "value": 0.9, "value_at_half": 0.8, "slides": ["v"]},
}


@pytest.fixture
def values(build):
    def make(setup=TWO, **more):
        return choice_values(build(bootstrap=0, **more).tables, setup)

    return make


def test_tuned_stands_beside_untuned(values) -> None:
    comparison = {"objective": "miou", "untuned": {"val": 0.5, "test": 0.4}, "tuned": {"val": 0.6, "test": 0.3}}
    assert values(comparison=comparison) == {
        "untuned.val.miou": 0.5,
        "untuned.miou": 0.4,
        "tuned.val.miou": 0.6,
        "tuned.miou": 0.3,
    }


def test_no_search_has_no_figures(values) -> None:
    nothing = {"val": None, "test": None}
    assert values(comparison={"objective": None, "untuned": nothing, "tuned": nothing}) == {}
    assert values(comparison={"objective": "miou", "untuned": nothing, "tuned": nothing}) == {}  # no trial was run
    assert values(tuning={"objective": "miou", "trials": 0, "value": None, "settings": {}}) == {}
    assert values() == {}


def test_a_search_that_ran_says_what_it_chose(values) -> None:
    settings = {"lr": 0.01, "loss.class_weights.1": 3, "augment": True, "optimiser": "adam"}
    found = values(tuning={"objective": "miou", "trials": 8, "value": 0.6, "settings": settings})
    assert found == {"n_trials": 8, "best.lr": 0.01, "best.loss.class_weights.1": 3}  # what is no number is no figure


def test_a_half_measured_search_keeps_its_gaps(values) -> None:
    comparison = {"objective": "miou", "untuned": {"val": 0.5, "test": None}, "tuned": {"val": None, "test": None}}
    nothing = dict.fromkeys(("untuned.miou", "tuned.val.miou", "tuned.miou"))
    assert values(comparison=comparison) == {"untuned.val.miou": 0.5, **nothing}


def test_the_operating_point_and_what_it_gave(values) -> None:
    expected = {"temperature": 1.5, "threshold": 0.4, "val.dice": 0.9, "val.dice.at_half": 0.8}
    assert values(point=POINT) == expected | {"n_slides_calibrated": 1}
    cleaned = {"smoothing_px": 1.5, "min_region_um2": 200.0, "max_hole_um2": 0.0}
    chosen = POINT | cleaned | {"source": POINT["source"] | {"trials": 40, "slides": ["v", "w"]}}
    assert values(point=chosen) == expected | cleaned | {"n_slides_calibrated": 2, "n_point_trials": 40}
    assert "threshold" not in values(setup=THREE, point=POINT)  # the likeliest class decides
    assert set(values(point=POINT | {"source": {}})) == {"temperature", "threshold"}


def test_what_the_point_does_to_slides_stands_beside_what_the_plain_point_does(values) -> None:
    source = POINT["source"] | {"specificity": 0.9, "specificity_at_half": 0.6, "sensitivity": None}
    found = values(point=POINT | {"source": source})
    assert {name: value for name, value in found.items() if name.startswith("val.slide_")} == {
        "val.slide_specificity": 0.9,
        "val.slide_specificity.at_half": 0.6,
        "val.slide_sensitivity": None,
        "val.slide_sensitivity.at_half": None,
    }


def test_offsets_are_named_by_their_classes(values) -> None:
    found = values(point=POINT | {"bias": [0.5, -0.5]})
    assert {name: value for name, value in found.items() if name.startswith("bias.")} == {
        "bias.other": 0.5,
        "bias.cancer": -0.5,
    }
    assert values(point=POINT | {"bias": []}) == values(point=POINT)
    with pytest.raises(AcinusError, match=r"2 offsets \(bias\), expected 3, one per class"):
        values(setup=THREE, point=POINT | {"bias": [0.5, -0.5]})


def test_calibration_before_and_after(values) -> None:
    found = values(calibration={"ece": {"before": 0.2, "after": 0.1}, "brier": {"before": 0.4, "after": None}})
    assert found == {"val.ece": 0.1, "val.ece.uncalibrated": 0.2, "val.brier": None, "val.brier.uncalibrated": 0.4}


def test_they_stand_among_the_figures_of_the_recipe(build) -> None:
    found = build(point=POINT).metrics
    assert (found["threshold"], found["val.dice.at_half"]) == (0.4, 0.8)


def test_what_is_no_number_is_refused(values) -> None:
    with pytest.raises(AcinusError, match=r"source\.value: 'high' found, expected a number"):
        values(point=POINT | {"source": {"objective": "dice", "value": "high"}})
