"""Confusion matrices and their figures against scikit-learn, torchmetrics and tables worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, recall_score

from acinus.learning import torchvision_hook
from acinus.scoring import confusion as figures
from acinus.scoring.confusion import IGNORE, Overlap, confusion, dice, iou, pooled, positive_overlap

torchvision_hook.install()

# true 0: 6 px (5 right, 1 as 1); true 1: 4 px (2 right, 2 as 2); true 2: 3 px (all right); class 3 nowhere
MATRIX = np.array([[5, 1, 0, 0], [0, 2, 2, 0], [0, 0, 3, 0], [0, 0, 0, 0]])


@st.composite
def pictures(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Truth (with IGNORE), prediction and the number of classes, of which some may be in neither."""
    classes = draw(st.integers(2, 7))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    shape, among = (draw(st.integers(1, 9)), draw(st.integers(1, 9))), draw(st.integers(1, classes))
    predicted = random.integers(0, among, shape).astype(np.uint8)
    true = np.where(random.random(shape) < 0.5, predicted, random.integers(0, classes, shape)).astype(np.uint8)
    true[random.random(shape) < draw(st.sampled_from([0.0, 0.3]))] = IGNORE
    return true, predicted, classes


@given(pictures())
def test_agrees_with_sklearn(picture: tuple[np.ndarray, np.ndarray, int]) -> None:
    true, predicted, classes = picture
    matrix, known = confusion(true, predicted, classes), true != IGNORE
    assert matrix.shape == (classes, classes)
    assert matrix.dtype == np.int64
    t, p, labels = true[known], predicted[known], list(range(classes))
    if not t.size:
        assert not matrix.any()
        return
    assert np.array_equal(matrix, confusion_matrix(t, p, labels=labels))
    present = [c for c in labels if (t == c).any() or (p == c).any()]
    for found, score in ((figures.class_dice(matrix), f1_score), (figures.class_iou(matrix), jaccard_score)):
        expected = score(t, p, labels=present, average=None, zero_division=0.0)
        assert [found[c] for c in present] == pytest.approx(expected.tolist())
        assert all(found[c] is None for c in labels if c not in present)
    true_classes = sorted(set(t.tolist()))
    accuracy = figures.class_accuracy(matrix)
    assert [accuracy[c] for c in true_classes] == pytest.approx(
        recall_score(t, p, labels=true_classes, average=None, zero_division=0.0).tolist()
    )
    assert all(accuracy[c] is None for c in labels if c not in true_classes)
    assert figures.pixel_accuracy(matrix) == pytest.approx((t == p).mean())
    assert figures.mdice(matrix) == pytest.approx(f1_score(t, p, labels=present, average="macro", zero_division=0.0))
    assert figures.miou(matrix) == pytest.approx(jaccard_score(t, p, labels=present, average="macro", zero_division=0))


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_agrees_with_torchmetrics(seed: int, classes: int) -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_jaccard_index
    from torchmetrics.functional.segmentation import dice_score

    random = np.random.default_rng(seed)
    true = random.integers(0, classes, (1, 12, 12))
    predicted = np.where(random.random(true.shape) < 0.6, true, random.integers(0, classes, true.shape))
    matrix = confusion(true.astype(np.uint8), predicted.astype(np.uint8), classes)
    t, p = torch.from_numpy(true), torch.from_numpy(predicted)
    assert np.array_equal(matrix, multiclass_confusion_matrix(p, t, classes).numpy())
    iou = multiclass_jaccard_index(p, t, classes, average="none").tolist()
    assert [value or 0.0 for value in figures.class_iou(matrix)] == pytest.approx(iou, abs=1e-6)
    expected = dice_score(p, t, classes, average="none", include_background=True, input_format="index")[0].tolist()
    present = [c for c in range(classes) if (true == c).any() or (predicted == c).any()]
    found = figures.class_dice(matrix)
    assert [found[c] for c in present] == pytest.approx([expected[c] for c in present], abs=1e-6)


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=5))
def test_matrices_of_parts_add_up(seeds: list[int]) -> None:
    parts = [
        (np.random.default_rng(s).choice(np.array([0, 1, 2, 255], np.uint8), 20), np.arange(20, dtype=np.uint8) % 3)
        for s in seeds
    ]
    whole = confusion(np.concatenate([t for t, _ in parts]), np.concatenate([p for _, p in parts]), 3)
    assert np.array_equal(sum(confusion(t, p, 3) for t, p in parts), whole)


def test_figures_worked_by_hand() -> None:
    assert figures.class_dice(MATRIX) == [10 / 11, 4 / 7, 6 / 8, None]
    assert figures.class_iou(MATRIX) == [5 / 6, 2 / 5, 3 / 5, None]
    assert figures.class_accuracy(MATRIX) == [5 / 6, 2 / 4, 1.0, None]
    assert figures.pixel_accuracy(MATRIX) == 10 / 13
    assert figures.mdice(MATRIX) == pytest.approx((10 / 11 + 4 / 7 + 3 / 4) / 3)
    assert figures.miou(MATRIX) == pytest.approx((5 / 6 + 2 / 5 + 3 / 5) / 3)
    assert figures.image_dice(MATRIX) == pytest.approx((4 / 7 + 3 / 4) / 2)  # foreground only


def test_a_class_in_only_one_of_both_counts_zero() -> None:
    matrix = np.array([[7, 0, 2], [0, 0, 0], [0, 0, 0]])  # class 2 is said twice and never true
    assert figures.class_dice(matrix) == [14 / 16, None, 0.0]
    assert figures.image_dice(matrix) == 0.0
    assert figures.class_accuracy(matrix) == [7 / 9, None, None]


def test_what_is_nowhere_is_undefined() -> None:
    only_background = np.array([[9, 0], [0, 0]])
    assert figures.image_dice(only_background) is None
    assert (figures.mdice(only_background), figures.miou(only_background)) == (1.0, 1.0)
    nothing = np.zeros((2, 2), dtype=np.int64)
    assert [f(nothing) for f in (figures.pixel_accuracy, figures.mdice, figures.miou, figures.image_dice)] == [None] * 4


def test_positive_classes_worked_by_hand() -> None:
    # classes 1 and 2 together: true 4 + 3, predicted 1 + 2 + 2 + 3, both 2 + 2 + 3
    assert positive_overlap(MATRIX, (1, 2)) == Overlap(7, 8, 7)
    assert positive_overlap(MATRIX, (2,)) == Overlap(3, 5, 3)
    assert positive_overlap(MATRIX, ()) == Overlap(0, 0, 0)


@given(pictures(), st.data())
def test_positive_overlap_is_that_of_the_two_masks(
    picture: tuple[np.ndarray, np.ndarray, int], data: st.DataObject
) -> None:
    true, predicted, classes = picture
    positive = data.draw(st.lists(st.integers(0, classes - 1), unique=True))
    counts, known = positive_overlap(confusion(true, predicted, classes), positive), true != IGNORE
    t, p = np.isin(true[known], positive), np.isin(predicted[known], positive)
    assert counts == Overlap(int((t & p).sum()), int(p.sum()), int(t.sum()))
    if (t | p).any():
        assert dice(counts) == pytest.approx(f1_score(t, p, zero_division=0.0))
        assert iou(counts) == pytest.approx(jaccard_score(t, p, zero_division=0.0))


@given(pictures())
def test_dice_of_one_class_is_the_overlaps(picture: tuple[np.ndarray, np.ndarray, int]) -> None:
    true, predicted, classes = picture
    matrix = confusion(true, predicted, classes)
    assert figures.class_dice(matrix) == [dice(positive_overlap(matrix, (c,))) for c in range(classes)]
    assert figures.class_iou(matrix) == [iou(positive_overlap(matrix, (c,))) for c in range(classes)]


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


def test_pooled_counts_are_those_of_all_slides() -> None:
    assert pooled([Overlap(1, 2, 3), Overlap(0, 4, 0), Overlap(2, 2, 2)]) == Overlap(3, 8, 5)
    assert pooled([]) == Overlap(0, 0, 0)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap of 3 px"):
        Overlap(3, 2, 5)


def test_what_is_no_class_or_no_pair_is_refused() -> None:
    zero, three = np.zeros((2, 2), dtype=np.uint8), np.full((2, 2), 3, dtype=np.uint8)
    with pytest.raises(ValueError, match="class index 3 found, expected below 3"):
        confusion(three, zero, 3)
    with pytest.raises(ValueError, match="class index 3 found, expected below 3"):
        confusion(zero, three, 3)
    with pytest.raises(ValueError, match="expected one shape"):
        confusion(zero, zero[0], 3)
    unknown = np.full((2, 2), IGNORE, dtype=np.uint8)
    assert not confusion(unknown, three, 3).any()  # nothing is known there, so nothing is held against it
