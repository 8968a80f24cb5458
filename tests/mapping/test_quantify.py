"""Amounts against a slide worked by hand, and laws that hold for any slide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acinus import records
from acinus.mapping.geometry import MapGeometry
from acinus.mapping.quantify import quantify, tumour_mask

PROB = np.array([[0, 127, 128, 255], [200, 200, 10, 255]], dtype=np.uint8)
TISSUE = np.array([[1, 1, 1, 0], [1, 0, 1, 1]], dtype=bool)
TRUTH = np.array([[0, 1, 1, 1], [0, 0, 0, 1]], dtype=np.uint8)
GEOMETRY = MapGeometry(width=35, height=20, downsample=10.0)  # the last column is half on the slide


def test_worked_by_hand() -> None:
    # predicted inside tissue: (0,2) 128, (1,0) 200, (1,3) 255; true: (0,1), (0,2), (0,3) off tissue, (1,3)
    found = quantify(PROB, TISSUE, TRUTH, 0.5, GEOMETRY, (0.5, 0.4), "tag")
    px_mm2 = 0.5 * 0.4 * 100 / 1e6
    assert found == {
        "tumour_px": 3,
        "tissue_px": 6,
        "true_tumour_px": 3,
        "map_downsample": 10.0,
        "burden_pred": 50.0,
        "burden_true": 50.0,
        "tumour_mm2": pytest.approx(2.5 * px_mm2),  # (1,3) counts half
        "tissue_mm2": pytest.approx(5.5 * px_mm2),
        "mpp_source": "tag",
        "intersection_px": 2,
        "pred_px": 3,
        "true_px": 4,  # the tumour that the tissue mask lost counts as missed
        "score_max": 1.0,
        # tissue values 0 10 127 128 200 255: rank 0.99 * 5 = 4.95
        "score_p99": pytest.approx((200 + 0.95 * 55) / 255),
    }


def test_result_is_a_row_of_the_table() -> None:
    found = quantify(PROB, TISSUE, None, 0.5, GEOMETRY, None)
    table = records.frame(records.QUANTITIES, [{"slide_id": "a", **found}])
    assert table.loc[0, "tumour_px"] == 3
    assert table.loc[0, ["true_px", "burden_true", "tumour_mm2", "mpp_source"]].isna().all()


def test_without_mpp_no_area_and_no_source() -> None:
    found = quantify(PROB, TISSUE, TRUTH, 0.5, GEOMETRY, None, "tag")
    assert (found["tumour_mm2"], found["tissue_mm2"], found["mpp_source"]) == (None, None, None)


def test_without_tissue_no_burden_and_no_score() -> None:
    found = quantify(PROB, np.zeros_like(TISSUE), TRUTH, 0.5, GEOMETRY, (1.0, 1.0))
    assert (found["burden_pred"], found["burden_true"], found["score_max"], found["score_p99"]) == (None,) * 4
    assert (found["tumour_px"], found["tissue_px"], found["tissue_mm2"]) == (0, 0, 0.0)
    assert (found["intersection_px"], found["pred_px"], found["true_px"]) == (0, 0, 4)


def test_unknown_truth_in_tissue_leaves_burden_undefined_but_not_dice() -> None:
    truth = TRUTH.copy()
    truth[0, 2] = 255  # in tissue, predicted tumour
    found = quantify(PROB, TISSUE, truth, 0.5, GEOMETRY, None)
    assert (found["true_tumour_px"], found["burden_true"]) == (None, None)
    assert (found["intersection_px"], found["pred_px"], found["true_px"]) == (1, 2, 3)
    assert found["burden_pred"] == 50.0


def test_unknown_truth_outside_tissue_changes_no_burden() -> None:
    truth = TRUTH.copy()
    truth[0, 3] = 255
    found = quantify(PROB, TISSUE, truth, 0.5, GEOMETRY, None)
    assert (found["true_tumour_px"], found["burden_true"], found["true_px"]) == (3, 50.0, 3)


def test_no_known_truth_is_no_truth() -> None:
    unknown = quantify(PROB, TISSUE, np.full_like(TRUTH, 255), 0.5, GEOMETRY, None)
    assert unknown == quantify(PROB, TISSUE, None, 0.5, GEOMETRY, None)
    assert unknown["true_px"] is None


@pytest.mark.parametrize(("threshold", "least"), [(0.5, 128), (0.2, 51), (0.999, 255), (0.001, 1), (128 / 255, 128)])
def test_threshold_on_whole_values(threshold: float, least: int) -> None:
    values = np.arange(256, dtype=np.uint8)
    assert values[tumour_mask(values, threshold)].min() == least


def test_a_threshold_of_k_255ths_means_k() -> None:
    values = np.arange(256, dtype=np.uint8)
    for k in range(1, 256):
        assert values[tumour_mask(values, k / 255)].min() == k


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 0.99), st.integers(1, 60), st.integers(1, 60), st.floats(1.0, 9.0))
def test_laws(seed: int, threshold: float, width: int, height: int, downsample: float) -> None:
    geometry, random = MapGeometry(width, height, downsample), np.random.default_rng(seed)
    prob = random.integers(0, 256, geometry.shape).astype(np.uint8)
    tissue = random.random(geometry.shape) < 0.6
    truth = random.choice(np.array([0, 1, 255], dtype=np.uint8), geometry.shape)
    found = quantify(prob, tissue, truth, threshold, geometry, (0.5, 0.5))
    known = truth != 255
    assert found["tissue_mm2"] <= width * height * 0.25 / 1e6 + 1e-12  # never more than the slide
    assert 0 <= found["tumour_px"] <= found["tissue_px"]
    if known.any():
        assert found["true_px"] == (truth == 1).sum()
        assert found["intersection_px"] <= min(found["pred_px"], found["true_px"])
        assert found["pred_px"] <= found["tumour_px"]
    # a map equal to the truth, tissue everywhere, all known: Dice 1, no burden error
    own = quantify((truth == 1).astype(np.uint8) * 255, known | True, np.where(known, truth, 0), 0.5, geometry, None)
    assert own["intersection_px"] == own["pred_px"] == own["true_px"]
    assert own["burden_pred"] == own["burden_true"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tissue": TISSUE[:, :3]}, "tissue is bool"),
        ({"prob": PROB.astype(np.float32)}, "prob is float32"),
        ({"truth": TRUTH * 3}, "truth holds the value 3"),
        ({"mpp": (float("nan"), 0.5)}, "mpp is"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict, words: str) -> None:
    given_values = {"prob": PROB, "tissue": TISSUE, "truth": TRUTH, "mpp": None} | change
    with pytest.raises(ValueError, match=words):
        quantify(threshold=0.5, geometry=GEOMETRY, **given_values)
