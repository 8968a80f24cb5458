"""AUC against scikit-learn, ties and undefined cases included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from acinus.errors import AcinusError
from acinus.scoring.auc import auc

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


@pytest.mark.parametrize(("scores", "labels"), [([0.1, float("nan")], [0, 1]), ([0.1, 0.2], [0, -1])])
def test_bad_values_are_refused_in_one_line(scores: list[float], labels: list[int]) -> None:
    with pytest.raises(AcinusError, match=r"^AUC: .* expected .*$") as caught:
        auc(scores, labels)
    assert "\n" not in str(caught.value)
