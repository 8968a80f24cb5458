"""Dice and IoU against scikit-learn and a table worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score, jaccard_score

from acinus.scoring.dice import Overlap, dice, iou, overlap, pooled, score

MASKS = hnp.arrays(bool, (3, 40))


def test_counts_worked_by_hand() -> None:
    predicted = np.array([[1, 1, 0], [0, 1, 0]], dtype=bool)
    true = np.array([[1, 0, 0], [0, 1, 1]], dtype=bool)
    assert overlap(predicted, true) == Overlap(2, 3, 3)
    known = np.array([[1, 0, 1], [1, 1, 0]], dtype=bool)
    assert overlap(predicted, true, known) == Overlap(2, 2, 2)


@pytest.mark.parametrize(
    ("counts", "expected_dice", "expected_iou"),
    [
        (Overlap(0, 0, 0), None, None),
        (Overlap(0, 5, 0), 0.0, 0.0),
        (Overlap(0, 0, 5), 0.0, 0.0),
        (Overlap(4, 4, 4), 1.0, 1.0),
        (Overlap(1, 2, 3), 2 / 5, 1 / 4),
    ],
)
def test_empty_masks_and_plain_ones(counts: Overlap, expected_dice: float | None, expected_iou: float | None) -> None:
    assert dice(counts) == expected_dice
    assert iou(counts) == expected_iou


@given(MASKS)
def test_agrees_with_sklearn(masks: np.ndarray) -> None:
    predicted, true, _ = masks
    counts = overlap(predicted, true)
    if not (predicted.any() or true.any()):
        assert dice(counts) is None
        return
    assert dice(counts) == pytest.approx(f1_score(true, predicted, zero_division=0.0))
    assert iou(counts) == pytest.approx(jaccard_score(true, predicted, zero_division=0.0))


@given(MASKS, st.integers(1, 39))
def test_pooling_equals_one_large_mask(masks: np.ndarray, cut: int) -> None:
    predicted, true, known = masks
    parts = [overlap(predicted[s], true[s], known[s]) for s in (slice(cut), slice(cut, None))]
    assert pooled(parts) == overlap(predicted, true, known)


def test_scores_over_slides_worked_by_hand() -> None:
    # Dice: 2/5, undefined, 0 (one empty), 1; IoU: 1/4, undefined, 0, 1; pooled: I 3, P 8, T 5
    slides = [Overlap(1, 2, 3), Overlap(0, 0, 0), Overlap(0, 4, 0), Overlap(2, 2, 2)]
    result = score(slides)
    assert result.dice_mean == pytest.approx(1.4 / 3)
    assert result.iou_mean == pytest.approx(1.25 / 3)
    assert result.dice_pooled == pytest.approx(6 / 13)
    assert result.iou_pooled == pytest.approx(3 / 10)
    assert (result.n, result.n_undefined) == (3, 1)


def test_nothing_defined_is_none_not_a_number() -> None:
    result = score([Overlap(0, 0, 0)])
    assert (result.dice_mean, result.dice_pooled, result.iou_mean, result.iou_pooled) == (None, None, None, None)
    assert (result.n, result.n_undefined) == (0, 1)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap of 3 px"):
        Overlap(3, 2, 5)
