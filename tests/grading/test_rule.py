"""The rule against a table worked by hand."""

import pytest

from acinus.grading.rule import by_rule, gleason_classes, isup_by_area
from acinus.scoring.burden import tumour_by_burden

CLASSES = ["background", "stroma", "benign", "gleason3", "gleason4", "gleason5"]


@pytest.mark.parametrize(
    ("area", "isup"),
    [
        ((0, 0, 0), 0),
        ((4, 0, 0), 0),  # below 0.5 % of 1000
        ((5, 0, 0), 1),  # 3+3
        ((100, 0, 0), 1),
        ((95, 5, 0), 2),  # 3+4: 4 takes 5 % of the cancer
        ((96, 4, 0), 1),  # it takes less
        ((60, 40, 0), 2),
        ((50, 50, 0), 3),  # of equal ones the higher is primary: 4+3
        ((40, 60, 0), 3),
        ((4, 96, 0), 4),  # 4+4
        ((0, 100, 0), 4),
        ((60, 0, 40), 4),  # 3+5
        ((30, 0, 70), 4),  # 5+3
        ((60, 30, 10), 4),  # the worst counts, not the second largest: 3+5
        ((10, 80, 10), 5),  # 4+5
        ((20, 20, 60), 5),  # 5+4
        ((0, 0, 100), 5),  # 5+5
    ],
)
def test_isup_from_areas(area: tuple[int, int, int], isup: int) -> None:
    assert isup_by_area(dict(zip((3, 4, 5), area, strict=True)), 1000, 0.5) == isup
    class_px = (0, 1000 - sum(area), 0, *area)
    assert by_rule("isup", CLASSES, class_px, None, 0.5) == isup


def test_without_tissue_or_a_minimum() -> None:
    assert isup_by_area({3: 0, 4: 0, 5: 0}, 0, 0.0) == 0
    assert isup_by_area({3: 1, 4: 0, 5: 0}, 10**9, 0.0) == 1


@pytest.mark.parametrize(
    ("classes", "patterns"),
    [
        (CLASSES, {3: 3, 4: 4, 5: 5}),
        (["other", "Gleason_5", "Gleason_4", "GLEASON3"], {5: 1, 4: 2, 3: 3}),
        (["other", "cancer"], None),
        (["other", "gleason3", "gleason4"], None),  # a rule that cannot say 5 would mislead
        (["other", "gleason35", "gleason4", "gleason5"], None),
    ],
)
def test_patterns_are_known_by_their_names(classes: list[str], patterns: dict[int, int] | None) -> None:
    assert gleason_classes(classes) == patterns


def test_nothing_to_follow_is_no_answer() -> None:
    assert by_rule("isup", ["other", "cancer"], (90, 10), 10.0, 0.5) is None
    assert by_rule("isup", CLASSES, None, 10.0, 0.5) is None
    assert by_rule("tumor", ["normal", "tumor"], (0, 0), None, 0.5) is None


@pytest.mark.parametrize(
    ("burden", "percent", "tumour"), [(0.49, 0.5, 0), (0.5, 0.5, 1), (80.0, 0.5, 1), (0.0, 0.0, 0)]
)
def test_tumour_from_burden(burden: float, percent: float, tumour: int) -> None:
    assert by_rule("tumor", ["normal", "tumor"], None, burden, percent) == tumour
    assert tumour_by_burden(burden, percent) == tumour


def test_without_tissue_there_is_no_burden_to_go_by() -> None:
    assert tumour_by_burden(None, 0.0) is None
