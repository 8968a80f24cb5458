"""Calibration error and Brier score against values worked by hand, scikit-learn and all resamples."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from acinus.errors import AcinusError, TableError
from acinus.metrics.calibration import believed
from acinus.metrics.metric import usable_slides
from acinus.metrics.setup import MetricSetup
from acinus.scoring.scaling import AS_TRAINED

SETUP = MetricSetup("patch_classification", ("normal", "tumor"))


@pytest.fixture
def scored(build, rows):
    """Patches of two test slides; those of a bad slide, of training and of unknown label count nowhere."""

    def make(**more):
        scores = [
            *(rows.class_score("test_a", i, label, [1 - p, p]) for i, (label, p) in enumerate([(1, 0.9), (0, 0.9)])),
            *(rows.class_score("test_c", i, label, [1 - p, p]) for i, (label, p) in enumerate([(0, 0.3), (1, 0.7)])),
            rows.class_score("test_bad", 0, 0, [0.0, 1.0]),
            rows.class_score("train_a", 0, 0, [0.0, 1.0]),
            rows.class_score("test_b", 0, -1, [0.0, 1.0]),
        ]
        return build(**({"class_scores": scores} | more))

    return make


def test_worked_by_hand(scored) -> None:
    """Two of confidence 0.9, one right; two of 0.7, both right: (2 * 0.4 + 2 * 0.3) / 4."""
    found = scored().metrics
    assert found["ece"] == found["ece.uncalibrated"] == pytest.approx(0.35)
    # Brier's own sum over both classes, twice that of the positive class alone
    single = brier_score_loss([1, 0, 0, 1], [0.9, 0.9, 0.3, 0.7])
    assert found["brier"] == pytest.approx(2 * single)
    assert found["n_class_scores"] == 4


def test_the_temperature_of_the_operating_point_is_used(scored) -> None:
    """At temperature 2 the odds of 9 become 3, and those of 7/3 their square root."""
    found = scored(point={"temperature": 2.0, "threshold": 0.5}).metrics
    other = np.sqrt(7 / 3) / (1 + np.sqrt(7 / 3))
    assert found["ece"] == pytest.approx((2 * (0.75 - 0.5) + 2 * (1 - other)) / 4)
    assert found["ece.uncalibrated"] == pytest.approx(0.35)
    assert found["temperature"] == 2.0


def test_the_offsets_of_the_operating_point_are_used(scored) -> None:
    """Offsets of log 2 and -log 2 take the odds of the second class to a quarter: 9 becomes 9/4, 3/7 becomes 3/28."""
    given = {"temperature": 1.0, "bias": [np.log(2), -np.log(2)], "threshold": 0.5}
    found = scored(point=given).metrics
    both, lower, upper = 9 / 13, 28 / 31, 12 / 19  # p of the likeliest: tumor, tumor, and normal of the last two
    assert found["ece"] == pytest.approx((2 * abs(both - 0.5) + 1 - lower + upper) / 4)
    assert found["ece.uncalibrated"] == pytest.approx(0.35)
    assert (found["bias.normal"], found["bias.tumor"]) == (np.log(2), -np.log(2))
    assert not any(name.startswith("bias.") for name in scored(point=given | {"bias": []}).metrics)
    with pytest.raises(AcinusError, match=r"3 offsets \(bias\), expected 2, one per class"):
        scored(point=given | {"bias": [0.1, 0.2, 0.3]})


def test_resamples_of_slides_add_up(scored) -> None:
    """A slide given twice counts twice, as if its patches stood there twice."""
    cohort = scored()
    usable = usable_slides(cohort.per_slide)
    statistics = {name: cohort.measure(name).over for name in ("ece", "brier")}
    a, c = (usable["slide_id"].tolist().index(name) for name in ("test_a", "test_c"))
    assert statistics["ece"](np.array([a, a, c])) == pytest.approx((4 * 0.4 + 2 * 0.3) / 6)
    assert statistics["brier"](np.array([a, a])) == pytest.approx(2 * (0.01 + 0.81) / 2)
    assert statistics["ece"](np.arange(len(usable))) == pytest.approx(cohort.metrics["ece"])
    assert statistics["ece"](np.array([], dtype=np.int64)) is None
    many = scored(bootstrap=100).metrics
    assert many["ece_ci_low"] == pytest.approx(0.3)
    assert many["ece_ci_high"] == pytest.approx(0.4)


def test_without_scores_it_is_undefined(cohort) -> None:
    found = cohort.metrics
    assert [found[name] for name in ("ece", "brier", "ece.uncalibrated", "ece_ci_low")] == [None] * 4


def test_px_of_a_patch_count_each(segment, rows) -> None:
    scores = [rows.class_score("seg_a", 0, label, [0.2, 0.7, 0.1], px) for px, label in enumerate([1, 1, 1, 2])]
    found = segment(class_scores=scores).metrics
    assert found["n_class_scores"] == 4
    assert found["ece"] == pytest.approx(0.05)  # 0.7 against three of four


def test_scores_of_other_classes_are_refused(scored, rows) -> None:
    with pytest.raises(TableError, match=r"3 probabilities in a row of test_a, expected 2.*train"):
        scored(class_scores=[rows.class_score("test_a", 0, 0, [0.2, 0.3, 0.5])])


def test_believed_keeps_the_slide_of_every_score(scored) -> None:
    cohort = scored()
    usable = usable_slides(cohort.per_slide)
    found = believed(usable, cohort.tables, SETUP, AS_TRAINED)
    assert [usable["slide_id"][row] for row in found.slide] == ["test_a", "test_a", "test_c", "test_c"]
