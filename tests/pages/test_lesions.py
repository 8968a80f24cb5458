"""The lesion figure and the region columns against cases worked by hand."""

import numpy as np
import pandas as pd
import pytest

from acinus.errors import TableError
from acinus.metrics.lesions import lesion_curve, lesion_outcomes
from acinus.metrics.metric import scored_slides
from acinus.scoring.froc import curve


@pytest.fixture
def found(build, rows):
    """Two tumour slides of two and one lesions, a normal one, one of unknown lesions, one of training."""

    def make(regions=None, **more):
        slides = [rows.slide(name, None, f"p{name}") for name in ("a", "b", "c", "d")]
        slides.append(rows.slide("t", "tumor", "pt", split="train"))
        lesions = {"a": (2, 1), "b": (1, 0), "c": (0, 0), "d": (None, None), "t": (9, 0)}
        amounts = [
            rows.amount(name, (1, 2, 2), (1.0, 1.0), 0.5) | {"num_lesions": n, "num_itc": itc, "num_regions": 3}
            for name, (n, itc) in lesions.items()
        ]
        given = [
            rows.region("a", 1, 0.9, 1),
            rows.region("a", 2, 0.8, 1, 2.5),  # a second hit of the same lesion counts nothing
            rows.region("a", 3, 0.95, -1),  # isolated tumour cells: neither
            rows.region("b", 1, 0.7, 0),
            rows.region("c", 1, 0.6, 0, None),
            rows.region("d", 1, 0.99, None),
            rows.region("t", 1, 0.99, 0),
        ]
        return build(slides=slides, amounts=amounts, scores=[], regions=given if regions is None else regions, **more)

    return make


def test_froc_worked_by_hand(found) -> None:
    """One of three lesions is found, before the first false positive: a third at every point of the score."""
    metrics = found().metrics
    assert metrics["froc"] == pytest.approx(1 / 3)
    assert (metrics["n_froc"], metrics["n_lesions"], metrics["n_itc"]) == (3, 3, 1)
    one = lesion_curve(scored_slides(found().per_slide), found().tables)
    assert one.fps == pytest.approx((0, 0, 1 / 3, 2 / 3))  # of three slides, the one without detections included


def test_false_positives_cost(found, rows) -> None:
    """b's lesion enters after six false positives on three slides, at 2 a slide."""
    regions = [rows.region("c", i, 0.9, 0) for i in range(1, 7)] + [rows.region("b", 1, 0.5, 1)]
    # sensitivity 0 until 2 false positives a slide, there 1/3, and beyond
    assert found(regions=regions).metrics["froc"] == pytest.approx((0 + 0 + 0 + 3 * (1 / 3)) / 6)


def test_slides_are_resampled_whole(found) -> None:
    cohort = found(bootstrap=100)
    scored = scored_slides(cohort.per_slide)
    froc = cohort.measure("froc")
    outcomes = lesion_outcomes(scored, cohort.tables)
    assert list(outcomes) == ["a", "b", "c"]
    assert froc.resampled.tolist() == [0, 1, 2]  # d's lesions are not known
    # a twice, b once: 2 of 5 lesions before any false positive
    assert froc.over(np.array([0, 0, 1])) == pytest.approx(2 / 5)
    assert froc.over(np.array([0, 0, 1])) == curve([outcomes[name] for name in "aab"]).score
    assert froc.over(np.array([2, 2, 2])) is None
    assert cohort.metrics["froc_ci_low"] <= cohort.metrics["froc"] <= cohort.metrics["froc_ci_high"]


def test_lesions_not_asked_for_are_no_figure(cohort) -> None:
    assert "froc" not in cohort.metrics
    assert "n_lesions" not in cohort.metrics


def test_normal_slides_alone_leave_it_undefined(found, build, rows) -> None:
    amounts = [rows.amount("c", (0, 0, 0), (0.0, 0.0), 0.5) | {"num_lesions": 0, "num_itc": 0}]
    metrics = build(slides=[rows.slide("c", "normal", "p")], amounts=amounts, scores=[]).metrics
    assert metrics["froc"] is None
    assert metrics["n_lesions"] == 0


def test_columns_of_a_slide(found) -> None:
    table = found().per_slide.set_index("slide_id")
    names = ["num_regions", "num_lesions", "lesions_hit", "false_positives"]
    assert table.loc["a", names].tolist() == [3, 2, 1, 0]
    assert table.loc["b", names].tolist() == [3, 1, 0, 1]
    assert table.loc["c", names].tolist() == [3, 0, 0, 1]
    assert table.loc["d", names[1:]].isna().all()
    assert table.loc["a", "largest_region_mm2"] == 2.5
    assert pd.isna(table.loc["c", "largest_region_mm2"])  # of unknown pixel size


def test_regions_that_do_not_fit_are_refused(found, rows) -> None:
    with pytest.raises(TableError, match=r"region 1 of a has no lesion.*quantify"):
        found(regions=[rows.region("a", 1, 0.9, None)])
    with pytest.raises(TableError, match=r"slide b: 2 lesions were hit.*at most its 1"):
        found(regions=[rows.region("b", 1, 0.9, 1), rows.region("b", 2, 0.9, 2)])
    with pytest.raises(TableError, match=r"table regions: slide 'stranger'"):
        found(regions=[rows.region("stranger", 1, 0.9, 1)])
