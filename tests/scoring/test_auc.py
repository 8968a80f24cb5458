"""AUC against scikit-learn, ties and undefined cases included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from acinus.errors import AcinusError
from acinus.scoring.auc import auc, within_slide_auc

ITEMS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=1, max_size=60)  # many ties


@given(ITEMS)
def test_agrees_with_sklearn(items: list[tuple[int, int]]) -> None:
    scores, labels = [value / 6 for value, _ in items], [label for _, label in items]
    if len(set(labels)) == 1:
        assert auc(scores, labels) is None
    else:
        assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_worked_by_hand() -> None:
    # pairs (positive, negative): .9>.1, .9>.4, .4>.1, .4=.4 (half) -> 3.5 of 4
    assert auc([0.9, 0.4, 0.1, 0.4], [1, 1, 0, 0]) == 0.875
    assert auc([0.5, 0.5, 0.5], [1, 0, 0]) == 0.5
    assert auc([0.1, 0.9], [1, 0]) == 0.0
    assert auc([], []) is None


def test_a_million_items_do_not_overflow() -> None:
    labels = np.arange(200_000, dtype=np.int32) % 2
    assert auc(labels.astype(np.float32), labels) == 1.0


def test_within_slide_is_not_the_pooled_auc() -> None:
    # each slide ranks its own items perfectly, but slide b's scores all lie above slide a's
    ids = ["b", "a", "b", "a", "c"]
    scores, labels = [0.9, 0.2, 0.8, 0.1, 0.5], [1, 1, 0, 0, 1]
    found = within_slide_auc(ids, scores, labels)
    assert found == {"a": 1.0, "b": 1.0, "c": None}
    assert list(found) == ["a", "b", "c"]
    assert auc(scores, labels) == pytest.approx(4 / 6)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.integers(0, 1)), max_size=40))
def test_within_slide_equals_one_slide_at_a_time(items: list[tuple[str, int, int]]) -> None:
    ids = [item[0] for item in items]
    found = within_slide_auc(ids, [item[1] for item in items], [item[2] for item in items])
    assert sorted(found) == sorted(set(ids))
    for name in found:
        own = [item for item in items if item[0] == name]
        assert found[name] == auc([item[1] for item in own], [item[2] for item in own])


@pytest.mark.parametrize(("scores", "labels"), [([0.1, float("nan")], [0, 1]), ([0.1, 0.2], [0, -1])])
def test_bad_values_are_refused_in_one_line(scores: list[float], labels: list[int]) -> None:
    with pytest.raises(AcinusError, match=r"^AUC: .* expected .*$") as caught:
        auc(scores, labels)
    assert "\n" not in str(caught.value)
