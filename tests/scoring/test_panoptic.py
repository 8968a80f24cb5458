"""Panoptic quality by hand and against a search over all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from acinus.scoring.panoptic import PqCounts, panoptic_quality, pq_counts

IDS = arrays(np.int32, (5, 6), elements=st.sampled_from([0, 0, 1, 2, 7, 40]))


def row(*ids: int) -> np.ndarray:
    return np.array([ids], dtype=np.int32)


def by_search(true: np.ndarray, predicted: np.ndarray) -> PqCounts:
    """Hold every true instance against every predicted one."""
    of_true, of_predicted = ([i for i in np.unique(one) if i] for one in (true, predicted))
    ious = {
        (t, p): np.sum((true == t) & (predicted == p)) / np.sum((true == t) | (predicted == p))
        for t in of_true
        for p in of_predicted
    }
    matched = {pair: iou for pair, iou in ious.items() if iou > 0.5}
    assert len({t for t, _ in matched}) == len({p for _, p in matched}) == len(matched)
    return PqCounts(
        float(sum(matched.values())), len(matched), len(of_predicted) - len(matched), len(of_true) - len(matched)
    )


def test_by_hand() -> None:
    true = row(1, 1, 1, 1, 0, 2, 2, 0, 3, 3)
    predicted = row(9, 9, 9, 0, 0, 4, 0, 5, 3, 3)
    # 1-9: 3/4; 2-4: 1/2, no match; 3-3: 1; 5 is alone
    counts = pq_counts(true, predicted)
    assert counts == PqCounts(iou_sum=1.75, tp=2, fp=2, fn=1)
    assert panoptic_quality(counts) == pytest.approx(1.75 / 3.5)


def test_iou_of_exactly_one_half_is_no_match() -> None:
    assert pq_counts(row(1, 1), row(1, 0)) == PqCounts(0, 0, 1, 1)
    assert pq_counts(row(1, 1, 1), row(1, 1, 0)) == PqCounts(pytest.approx(2 / 3), 1, 0, 0)


def test_an_instance_split_in_two_counts_its_larger_part() -> None:
    counts = pq_counts(row(1, 1, 1, 1, 1), row(4, 4, 4, 5, 5))
    assert counts == PqCounts(pytest.approx(0.6), 1, 1, 0)


@given(IDS, IDS)
def test_agrees_with_a_search_over_all_pairs(true: np.ndarray, predicted: np.ndarray) -> None:
    found, expected = pq_counts(true, predicted), by_search(true, predicted)
    assert (found.tp, found.fp, found.fn) == (expected.tp, expected.fp, expected.fn)
    assert found.iou_sum == pytest.approx(expected.iou_sum)
    if expected.tp:  # quality of detection (F1) times quality of segmentation (mean IoU)
        detection = expected.tp / (expected.tp + expected.fp / 2 + expected.fn / 2)
        assert panoptic_quality(found) == pytest.approx(detection * expected.iou_sum / expected.tp)


@given(IDS, IDS)
def test_swapping_the_sides_swaps_the_misses(true: np.ndarray, predicted: np.ndarray) -> None:
    one, other = pq_counts(true, predicted), pq_counts(predicted, true)
    assert (one.tp, one.fp, one.fn) == (other.tp, other.fn, other.fp)
    assert one.iou_sum == pytest.approx(other.iou_sum)


def test_undefined_is_none_and_missed_is_zero() -> None:
    nothing = pq_counts(row(0, 0), row(0, 0))
    assert nothing == PqCounts(0.0, 0, 0, 0)
    assert panoptic_quality(nothing) is None
    assert panoptic_quality(pq_counts(row(1, 1), row(0, 0))) == 0
    assert pq_counts(row(), row()) == nothing


def test_ids_may_be_large_and_unsigned() -> None:
    big = np.array([[2**40, 2**40, 3]], dtype=np.uint64)
    assert pq_counts(big, big) == PqCounts(2.0, 2, 0, 0)


def test_what_is_no_instance_map_is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        pq_counts(row(1), row(1, 2))
    with pytest.raises(ValueError, match="whole numbers from 0"):
        pq_counts(row(-1), row(1))
    with pytest.raises(ValueError, match="float64"):
        pq_counts(np.array([[1.0]]), row(1))
