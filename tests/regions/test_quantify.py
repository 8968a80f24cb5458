"""Amounts against a slide worked by hand, a whole-map reference, and laws that hold for any slide."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus import records
from acinus.maps.geometry import MapGeometry
from acinus.regions.amounts import (
    Amounts,
    Rows,
    Terms,
    percentile,
    positive_values,
    tumour_mask,
)
from acinus.regions.cleaned import predicted_classes
from acinus.scoring.burden import burden_percent

PROB = np.array([[0, 127, 128, 255], [200, 200, 10, 255]], dtype=np.uint8)
TISSUE = np.array([[1, 1, 1, 0], [1, 0, 1, 1]], dtype=bool)
TRUTH = np.array([[0, 1, 1, 1], [0, 0, 0, 1]], dtype=np.uint8)
GEOMETRY = MapGeometry(width=35, height=20, downsample=10.0)  # the last column is half on the slide


def answered(
    prob: np.ndarray,
    tissue: np.ndarray,
    threshold: float = 0.5,
    looked: np.ndarray | None = None,
    predicted: np.ndarray | None = None,
    **more: np.ndarray | None,
) -> Rows:
    """Rows (of prob with its channels) whose classes are not cleaned up."""
    looked = np.ones(prob.shape[1:], dtype=bool) if looked is None else looked
    if predicted is None:
        predicted = predicted_classes(prob, looked, threshold)
    return Rows(prob, tissue, predicted, looked, **more)


def quantify(
    prob: np.ndarray,
    tissue: np.ndarray,
    truth: np.ndarray | None,
    threshold: float,
    geometry: MapGeometry,
    mpp: tuple[float, float] | None,
    mpp_source: str | None = None,
) -> dict[str, Any]:
    """The amounts of a map of two classes held whole, all arrays (rows, columns)."""
    amounts = Amounts(geometry, Terms(), mpp, mpp_source)
    amounts.add(answered(prob[None], tissue, threshold, truth=truth))
    return amounts.result()


def test_worked_by_hand() -> None:
    # predicted: (0,2) 128, (0,3) 255 off tissue, (1,0) 200, (1,1) 200 off tissue, (1,3) 255
    # true: (0,1), (0,2), (0,3) off tissue, (1,3)
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
        "class_px": [3, 3],
        "true_tissue_px": 6,
        "burden_source": "tissue mask",
        "outside_px": 1,
        "outside_mm2": pytest.approx(0.5 * px_mm2),
        "confusion": [2, 2, 1, 3],
        "confusion_ceiling": [4, 0, 0, 4],
        "confusion_majority": None,
        "confusion_colour": None,
        "intersection_px": 3,  # what the model says outside tissue counts, right or wrong
        "pred_px": 5,
        "true_px": 4,
        "score_max": 1.0,
        # tissue values 0 10 127 128 200 255: rank 0.99 * 5 = 4.95
        "score_p99": pytest.approx((200 + 0.95 * 55) / 255),
    }


def test_result_is_a_row_of_the_table() -> None:
    found = quantify(PROB, TISSUE, None, 0.5, GEOMETRY, None)
    table = records.frame(records.QUANTITIES, [{"slide_id": "a", "num_regions": 2, **found}])
    assert table.loc[0, "tumour_px"] == 3
    assert table.loc[0, ["true_px", "burden_true", "tumour_mm2", "mpp_source"]].isna().all()


def test_cleaned_classes_are_counted_instead_of_the_threshold() -> None:
    cleaned = np.array([[0, 1, 0, 0], [1, 0, 0, 0]], dtype=np.uint8)
    amounts = Amounts(GEOMETRY, Terms(), (1.0, 1.0))
    amounts.add(answered(PROB[None], TISSUE, predicted=cleaned, truth=TRUTH))
    found, plain = amounts.result(), quantify(PROB, TISSUE, TRUTH, 0.5, GEOMETRY, (1.0, 1.0))
    assert (found["tumour_px"], found["class_px"], found["intersection_px"]) == (2, [4, 2], 1)
    assert (found["confusion"], found["burden_pred"]) == ([3, 1, 3, 1], pytest.approx(200 / 6))
    untouched = ("tissue_px", "tissue_mm2", "true_tumour_px", "burden_true", "score_max", "score_p99", "true_px")
    assert {name: found[name] for name in untouched} == {name: plain[name] for name in untouched}


@pytest.mark.parametrize(
    "predicted",
    [np.zeros((1, 4), dtype=np.uint8), np.zeros((2, 4), dtype=np.int64)],
    ids=["shape", "type"],
)
def test_predicted_classes_that_do_not_fit_are_refused(predicted: np.ndarray) -> None:
    with pytest.raises(ValueError, match="predicted is"):
        Amounts(GEOMETRY, Terms(), None).add(answered(PROB[None], TISSUE, predicted=predicted))


def test_where_no_window_looked_there_is_no_answer_and_a_perfect_model_has_none_either() -> None:
    looked = np.array([[1, 1, 0, 1], [1, 0, 1, 0]], dtype=bool)
    amounts = Amounts(GEOMETRY, Terms(), (1.0, 1.0))
    amounts.add(answered(PROB[None], TISSUE, looked=looked, truth=TRUTH))
    found = amounts.result()
    assert (found["confusion"], found["confusion_ceiling"]) == ([3, 1, 3, 1], [4, 0, 2, 2])
    assert (found["tumour_px"], found["tissue_px"], found["class_px"]) == (1, 6, [5, 1])
    assert found["outside_px"] == 1  # (0,3), though the model looked there


def test_the_true_burden_is_of_the_annotations_own_tissue_where_it_tells() -> None:
    own = np.array([[0, 1, 1, 1], [0, 0, 0, 1]], dtype=bool)
    amounts = Amounts(GEOMETRY, Terms(), None)
    amounts.add(answered(PROB[None], TISSUE, truth=TRUTH, true_tissue=own))
    found = amounts.result()
    assert (found["burden_true"], found["true_tumour_px"], found["true_tissue_px"]) == (100.0, 4, 4)
    assert (found["burden_source"], found["burden_pred"], found["tissue_px"]) == ("annotation", 50.0, 6)
    truth = np.where(own, TRUTH, np.uint8(255))  # what is unknown lies outside the annotation's tissue
    again = Amounts(GEOMETRY, Terms(), None)
    again.add(answered(PROB[None], TISSUE, truth=truth, true_tissue=own))
    assert again.result()["burden_true"] == 100.0


def test_without_mpp_no_area_and_no_source() -> None:
    found = quantify(PROB, TISSUE, TRUTH, 0.5, GEOMETRY, None, "tag")
    assert (found["tumour_mm2"], found["tissue_mm2"], found["mpp_source"]) == (None, None, None)


def test_without_tissue_no_burden_and_no_score() -> None:
    found = quantify(PROB, np.zeros_like(TISSUE), TRUTH, 0.5, GEOMETRY, (1.0, 1.0))
    assert (found["burden_pred"], found["burden_true"], found["score_max"], found["score_p99"]) == (None,) * 4
    assert (found["tumour_px"], found["tissue_px"], found["tissue_mm2"]) == (0, 0, 0.0)
    assert (found["intersection_px"], found["pred_px"], found["true_px"], found["outside_px"]) == (3, 5, 4, 4)


def test_unknown_truth_in_tissue_leaves_burden_undefined_but_not_dice() -> None:
    truth = TRUTH.copy()
    truth[0, 2] = 255  # in tissue, predicted tumour
    found = quantify(PROB, TISSUE, truth, 0.5, GEOMETRY, None)
    assert (found["true_tumour_px"], found["burden_true"]) == (None, None)
    assert (found["intersection_px"], found["pred_px"], found["true_px"]) == (2, 4, 3)
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
        assert found["pred_px"] <= (prob >= np.ceil(threshold * 255 - 1e-9)).sum()
        assert found["outside_px"] == ((truth == 1) & ~tissue).sum()
    # a map equal to the truth, tissue everywhere, all known: Dice 1, no burden error
    own = quantify((truth == 1).astype(np.uint8) * 255, known | True, np.where(known, truth, 0), 0.5, geometry, None)
    assert own["intersection_px"] == own["pred_px"] == own["true_px"]
    assert own["burden_pred"] == own["burden_true"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tissue": TISSUE[:, :3]}, "tissue is bool"),
        ({"prob": PROB.astype(np.float32)}, "prob is float32"),
        ({"truth": TRUTH * 3}, "class index 3 found, expected below 2"),
        ({"mpp": (float("nan"), 0.5)}, "mpp is"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict, words: str) -> None:
    given_values = {"prob": PROB, "tissue": TISSUE, "truth": TRUTH, "mpp": None} | change
    with pytest.raises(ValueError, match=words):
        quantify(threshold=0.5, geometry=GEOMETRY, **given_values)


def area_px(geometry: MapGeometry, mask: np.ndarray) -> float:
    everywhere, column, row = (int(np.count_nonzero(part)) for part in (mask, mask[:, -1], mask[-1]))
    return geometry.area_of(everywhere, column, row, bool(mask[-1, -1]))


def whole_map(
    prob: np.ndarray,
    tissue: np.ndarray,
    truth: np.ndarray | None,
    threshold: float,
    geometry: MapGeometry,
    mpp: tuple[float, float] | None,
) -> dict[str, Any]:
    """The amounts of two classes, straight from whole arrays."""
    said = tumour_mask(prob, threshold)
    tumour = said & tissue
    tissue_px, tumour_px, values = int(tissue.sum()), int(tumour.sum()), prob[tissue]
    px_mm2 = mpp[0] * mpp[1] * geometry.downsample**2 / 1e6 if mpp else None
    names = ("true_tumour_px", "burden_true", "intersection_px", "pred_px", "true_px")
    others = ("true_tissue_px", "burden_source", "outside_px", "outside_mm2")
    result: dict[str, Any] = dict.fromkeys((*names, *others)) | {
        "tumour_px": tumour_px,
        "tissue_px": tissue_px,
        "map_downsample": float(geometry.downsample),
        "burden_pred": burden_percent(tumour_px, tissue_px),
        "tumour_mm2": area_px(geometry, tumour) * px_mm2 if px_mm2 else None,
        "tissue_mm2": area_px(geometry, tissue) * px_mm2 if px_mm2 else None,
        "mpp_source": "tag" if mpp else None,
        "score_max": float(values.max()) / 255 if tissue_px else None,
        "score_p99": float(np.percentile(values.astype(np.float64), 99)) / 255 if tissue_px else None,
    }
    if truth is None or (truth == 255).all():
        return result
    true, known = truth == 1, truth != 255
    counts, lost = [int((mask & known).sum()) for mask in (said & true, said, true)], true & ~tissue
    result |= {
        "outside_px": int(lost.sum()),
        "outside_mm2": area_px(geometry, lost) * px_mm2 if px_mm2 else None,
    }
    result |= dict(zip(("intersection_px", "pred_px", "true_px"), counts, strict=True))
    if not (tissue & ~known).any():
        true_px = int((true & tissue).sum())
        result |= {"true_tumour_px": true_px, "burden_true": burden_percent(true_px, tissue_px)}
        result |= {"true_tissue_px": tissue_px, "burden_source": "tissue mask"}
    return result


def in_bands(
    amounts: Amounts,
    rows: int,
    prob: np.ndarray,
    tissue: np.ndarray,
    threshold: float = 0.5,
    **arrays: np.ndarray | None,
) -> np.ndarray:
    """Count a map in bands and return its predicted classes."""
    predicted = []
    for top in range(0, prob.shape[1], rows):
        part = {name: None if one is None else one[top : top + rows] for name, one in arrays.items()}
        band = answered(prob[:, top : top + rows], tissue[top : top + rows], threshold, **part)
        amounts.add(band)
        predicted.append(band.predicted)
    return np.concatenate(predicted)


@given(
    st.integers(0, 10_000),
    st.sampled_from([(0, 1), (0, 1, 255), (255,), None]),
    st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    st.sampled_from([None, (0.5, 0.25)]),
    st.integers(1, 40),
)
def test_two_classes_in_bands_equal_the_whole_map_exactly(
    seed: int, values: tuple[int, ...] | None, share: float, mpp: tuple[float, float] | None, rows: int
) -> None:
    random = np.random.default_rng(seed)
    geometry = MapGeometry(*random.integers(1, 200, 2).tolist(), float(random.uniform(1, 9)))
    prob = random.integers(0, random.integers(1, 257), geometry.shape).astype(np.uint8)
    tissue = random.random(geometry.shape) < share
    truth = None if values is None else random.choice(np.array(values, dtype=np.uint8), geometry.shape)
    threshold = float(random.uniform(0.01, 0.99))
    amounts = Amounts(geometry, Terms(), mpp, "tag")
    in_bands(amounts, rows, prob[None], tissue, threshold, truth=truth)
    found = amounts.result()
    expected = whole_map(prob, tissue, truth, threshold, geometry, mpp)
    assert {name: found[name] for name in expected} == expected
    of_others = {"slide_id", "num_regions", "num_lesions", "num_itc", "pq_counts"}
    assert set(found) == set(records.QUANTITIES.schema.names) - of_others


COLOURS = np.array([[200, 200, 200], [150, 60, 150], [60, 60, 160]])


def nearest(colours: np.ndarray) -> np.ndarray:
    """A colour baseline: the class of the nearest colour."""
    return np.abs(colours[:, None].astype(int) - COLOURS).sum(axis=2).argmin(axis=1)


def test_three_classes_worked_by_hand() -> None:
    # px:            (0,0) tie 0/1  (0,1) 2      (0,2) off tissue  (1,0) 1        (1,1) uncovered  (1,2) 2
    prob = np.array([[[100, 10, 0], [50, 0, 0]], [[100, 45, 0], [155, 0, 100]], [[55, 200, 255], [50, 0, 155]]])
    tissue = np.array([[1, 1, 0], [1, 1, 1]], dtype=bool)
    looked = np.array([[1, 1, 1], [1, 0, 1]], dtype=bool)
    truth = np.array([[1, 2, 2], [0, 255, 1]], dtype=np.uint8)
    colour = COLOURS[[[1, 1, 1], [0, 2, 2]]].astype(np.uint8)
    terms = Terms(3, (1, 2), majority=1, colour_classes=nearest)
    for rows in (1, 2):
        amounts = Amounts(MapGeometry(25, 20, 10.0), terms, (1.0, 1.0), "tag")
        predicted = in_bands(amounts, rows, prob.astype(np.uint8), tissue, truth=truth, colour=colour, looked=looked)
        assert predicted.tolist() == [[0, 2, 2], [1, 0, 2]]
        assert amounts.result() == {
            "class_px": [2, 1, 2],
            "tumour_px": 3,
            "tissue_px": 5,
            "map_downsample": 10.0,
            "burden_pred": 60.0,
            "tumour_mm2": pytest.approx(2.5 * 100 / 1e6),  # (1,2) is half on the slide
            "tissue_mm2": pytest.approx(4.5 * 100 / 1e6),
            "mpp_source": "tag",
            # true 0: (1,0) as 1; true 1: (0,0) as 0, (1,2) as 2; true 2: (0,1) and, off tissue, (0,2) as 2
            "confusion": [0, 1, 0, 1, 0, 1, 0, 0, 2],
            "confusion_ceiling": [1, 0, 0, 0, 2, 0, 0, 0, 2],
            "confusion_majority": [0, 1, 0, 0, 2, 0, 1, 1, 0],
            # the colours say 1 1 1 / 0 - 2
            "confusion_colour": [1, 0, 0, 0, 1, 1, 0, 2, 0],
            "intersection_px": 3,
            "pred_px": 4,
            "true_px": 4,
            "true_tumour_px": None,  # (1,1) is tissue of unknown truth
            "burden_true": None,
            "true_tissue_px": None,
            "burden_source": None,
            "outside_px": 1,
            "outside_mm2": pytest.approx(0.5 * 100 / 1e6),
            "score_max": 1.0,  # sums 155 245 - / 205 0 255
            "score_p99": pytest.approx((245 + 0.96 * 10) / 255),
        }


@given(st.integers(0, 10_000), st.integers(3, 6), st.integers(1, 30))
def test_laws_of_several_classes(seed: int, classes: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    geometry = MapGeometry(*random.integers(1, 80, 2).tolist(), 2.5)
    prob = random.dirichlet(np.ones(classes), geometry.shape).transpose(2, 0, 1)
    values, tissue = np.rint(prob * 255).astype(np.uint8), random.random(geometry.shape) < 0.6
    truth = random.choice(np.array([*range(classes), 255], dtype=np.uint8), geometry.shape)
    positive = tuple(sorted(random.choice(np.arange(1, classes), random.integers(1, classes), replace=False).tolist()))
    terms = Terms(classes, positive, majority=classes - 1)
    amounts = Amounts(geometry, terms, None)
    predicted = in_bands(amounts, rows, values, tissue, truth=truth)
    found = amounts.result()
    assert sum(found["class_px"]) == found["tissue_px"]
    assert found["tumour_px"] == sum(found["class_px"][c] for c in positive)
    if (truth != 255).any():
        for name in ("confusion", "confusion_ceiling", "confusion_majority"):
            assert sum(found[name]) == (truth != 255).sum()
        matrix = np.array(found["confusion"]).reshape(classes, classes)
        assert matrix.sum(axis=1).tolist() == [(truth == c).sum() for c in range(classes)]
        assert found["pred_px"] == np.isin(predicted[truth != 255], positive).sum()
        assert found["true_px"] == np.isin(truth, positive).sum()
    own = Amounts(geometry, terms, None)
    perfect = np.where(truth == 255, 0, truth)
    certain = ((np.arange(classes)[:, None, None] == perfect) * 255).astype(np.uint8)
    in_bands(own, rows, certain, np.ones(geometry.shape, dtype=bool), truth=perfect)
    assert np.array(own.result()["confusion"]).reshape(classes, classes).trace() == truth.size


def test_ties_go_to_the_lower_class_and_what_was_not_looked_at_to_none() -> None:
    prob = np.array([[[9, 3]], [[9, 80]], [[9, 80]]], dtype=np.uint8)
    everywhere = np.ones((1, 2), dtype=bool)
    assert predicted_classes(prob, everywhere, 0.5).tolist() == [[0, 1]]
    assert predicted_classes(prob, ~everywhere, 0.5).tolist() == [[0, 0]]


def test_positive_values_are_summed_without_overflow() -> None:
    prob = np.array([[[0]], [[200]], [[100]]], dtype=np.uint8)
    assert positive_values(prob, (1, 2)).tolist() == [[255]]
    assert positive_values(prob, (2,)).tolist() == [[100]]


@given(st.lists(st.integers(0, 255), min_size=1, max_size=400), st.sampled_from([99, 50, 0, 100, 12.5]))
def test_percentile_is_numpys(values: list[int], percent: float) -> None:
    found = percentile(np.bincount(values, minlength=256), percent)
    assert found == np.percentile(np.array(values, dtype=np.float64), percent)


def test_percentile_of_a_very_large_slide_has_no_rounded_rank() -> None:
    # 300 M px, of which value 7 begins exactly at the rank of the 99th percentile: 0.99 * 300_000_100
    histogram = np.zeros(256, dtype=np.int64)
    histogram[0] = 297_000_099
    histogram[7] = 300_000_101 - 297_000_099
    assert float(np.float32(0.99) * np.float32(300_000_100)) < 297_000_099  # single precision would miss it
    assert percentile(histogram, 99) == 7.0


def test_bands_that_do_not_make_the_map_are_refused() -> None:
    amounts = Amounts(GEOMETRY, Terms(), None)
    amounts.add(answered(PROB[None, :1], TISSUE[:1], truth=TRUTH[:1]))
    with pytest.raises(ValueError, match="bands end at row 1, expected 2"):
        amounts.result()
    with pytest.raises(ValueError, match="band of 2 rows at row 1"):
        amounts.add(answered(PROB[None], TISSUE, truth=TRUTH))
    with pytest.raises(ValueError, match=r"prob is uint8 .3, 1, 4., expected uint8 .1, 1, 4."):
        amounts.add(answered(np.stack([PROB[:1]] * 3), TISSUE[:1]))
    with pytest.raises(ValueError, match="colour is None"):
        Amounts(GEOMETRY, Terms(colour_classes=nearest), None).add(answered(PROB[None], TISSUE, truth=TRUTH))
    with pytest.raises(ValueError, match="positive classes"):
        Terms(3, (0, 1))
