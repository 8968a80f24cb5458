"""Panoptic quality of pooled counts, worked by hand."""

import numpy as np
import pytest

from acinus.errors import TableError

CLASSES = ("other", "gland", "stroma")
COUNTS = {  # per class: sum of IoU, TP, FP, FN
    "seg_a": (0, 0, 0, 0, 1.5, 2, 0, 1, 0, 0, 1, 0),
    "seg_b": (0, 0, 0, 0, 0.75, 1, 1, 0, 0, 0, 0, 0),
}


@pytest.fixture
def counted(segment, segmentation):
    """The segmentation worked by hand with instances on two of its slides."""

    def make(counts=COUNTS, **more):
        rows = segmentation.quantities.to_dict("records")
        amounts = [row | {"pq_counts": counts.get(row["slide_id"])} for row in rows]
        return segment(amounts=amounts, **more)

    return make


def test_counts_are_pooled_before_the_division(counted) -> None:
    found = counted().metrics
    gland = (1.5 + 0.75) / (3 + 0.5 + 0.5)
    assert found["class_pq.gland"] == pytest.approx(gland)
    assert found["class_pq.stroma"] == 0.0  # one predicted, none true
    assert found["pq"] == pytest.approx(gland / 2)
    assert found["n_pq"] == 2
    assert "class_pq.other" not in found


def test_a_class_without_instances_is_not_averaged(counted) -> None:
    found = counted({"seg_b": COUNTS["seg_b"]}).metrics
    assert found["class_pq.stroma"] is None
    assert found["pq"] == pytest.approx(0.75 / 1.5)


def test_slides_are_resampled_whole(counted) -> None:
    cohort = counted(bootstrap=100)
    pq = cohort.measure("pq")
    assert pq.resampled.tolist() == [0, 1]  # of seg_a and seg_b
    assert pq.over(np.array([1, 1])) == pytest.approx(0.75 / 1.5)
    assert pq.over(np.array([0, 0])) == pytest.approx((1.5 / 2.5 + 0) / 2)
    assert cohort.metrics["pq_ci_low"] == pytest.approx(2.25 / 4 / 2)  # each once; seg_a twice gives 0.3
    assert cohort.metrics["pq_ci_high"] == pytest.approx(0.5)


def test_no_instances_no_figure(segmentation, cohort) -> None:
    for found in (segmentation.metrics, cohort.metrics):
        assert not [name for name in found if "pq" in name]


def test_counts_of_other_classes_are_refused(counted) -> None:
    with pytest.raises(TableError, match=r"pq_counts of seg_a has 8 numbers, expected 12.*quantify"):
        counted({"seg_a": COUNTS["seg_a"][:8]})
