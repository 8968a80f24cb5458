"""What an operating point is worth on slides whose truth is known, and the curve of it against the threshold."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from acinus.calibration import point_score
from acinus.calibration.point_score import (
    Aim,
    Judged,
    area_score,
    measure,
    open_judged,
    save_judged,
    slide_f1,
    tells,
)
from acinus.calibration.threshold_curve import THRESHOLDS, histogram, threshold_curve
from acinus.maps.geometry import MapGeometry
from acinus.regions.against_truth import LesionGrid
from acinus.regions.operating_point import OperatingPoint
from acinus.scoring.froc import lesions

PLAIN = OperatingPoint(temperature=1.5)
FIELDS = ("slide_id", "geometry", "prob", "tissue", "truth", "tumour")
DICE, F1, FROC = (Aim(one, (1,), 5.0, 0.5) for one in ("dice", "f1", "froc"))


def judged(
    name: str, prob: np.ndarray, truth: np.ndarray | None, tumour: bool | None, tissue: np.ndarray | None = None
) -> Judged:
    """A slide of two classes whose map has one px for each of its own."""
    inside = np.ones(prob.shape, dtype=bool) if tissue is None else tissue
    geometry = MapGeometry(prob.shape[1], prob.shape[0], 1.0)
    return Judged(name, geometry, prob[None].astype(np.uint8), inside, truth, tumour, mpp=(0.5, 0.5))


def square_slide(name: str, inside: int, outside: int) -> Judged:
    """A tumour of 10 x 10 px in 40 x 40, of these values inside and outside."""
    truth = np.zeros((40, 40), dtype=np.uint8)
    truth[10:20, 10:20] = 1
    return judged(name, np.where(truth == 1, inside, outside), truth, tumour=True)


# ------------------------------------------------------------------ what a point is worth


def test_dice_is_the_mean_over_slides_and_a_clean_normal_one_counts_1() -> None:
    half = square_slide("half", 200, 0)
    half.prob[0, 10:15, 10:20] = 0  # 50 of 100 px found: 2 * 50 / 150
    empty = judged("empty", np.zeros((9, 9)), np.zeros((9, 9), np.uint8), tumour=False)
    unknown = judged("unknown", np.full((9, 9), 255), None, tumour=True)
    result = measure([half, square_slide("whole", 255, 0), empty, unknown], PLAIN, DICE)
    assert result.slides == {"half": pytest.approx(2 / 3), "whole": 1.0, "empty": 1.0, "unknown": None}
    assert result.value == pytest.approx((2 / 3 + 1 + 1) / 3)


def test_a_large_map_taken_band_by_band_is_judged_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    slides = [
        judged("a", rng.integers(0, 256, (33, 20)), rng.choice(np.array([0, 1, 255], np.uint8), (33, 20)), tumour=True)
    ]
    point = PLAIN.model_copy(update={"smoothing_px": 1.0, "min_region_um2": 4 * 0.25, "max_hole_um2": 6 * 0.25})
    whole = measure(slides, point, DICE)
    monkeypatch.setattr(point_score, "LARGE", 0)
    monkeypatch.setattr(point_score, "BAND_ROWS", 5)
    assert measure(slides, point, DICE) == whole
    assert 0 < whole.value < 1


def test_a_px_outside_the_tissue_keeps_its_answer_and_counts_for_no_burden() -> None:
    truth, tissue = np.array([[1, 1, 1, 0]], np.uint8), np.array([[False, False, True, True]])
    slide = judged("a", np.array([[255, 255, 0, 0]]), truth, tumour=True, tissue=tissue)
    result = measure([slide], PLAIN, DICE)
    assert result.value == pytest.approx(2 * 2 / (2 + 3))
    assert result.calls == {"a": (True, False)}
    nowhere = Judged(*(getattr(slide, name) for name in FIELDS), looked=tissue)
    assert measure([nowhere], PLAIN, DICE).value == 0.0, "no window covered what was found"


def test_px_of_unknown_truth_count_nowhere() -> None:
    slide = judged("a", np.array([[200, 0, 200, 0]]), np.array([[1, 1, 255, 0]], dtype=np.uint8), tumour=True)
    assert measure([slide], PLAIN, DICE).value == pytest.approx(2 * 1 / (1 + 2))


@pytest.mark.parametrize(
    ("false_px", "expected"),
    [(0, 1.0), (4, 0.05 / (0.05 + 0.01)), (20, 0.5), (40, 1 / 3), (200, 0.05 / 0.55), (400, 0.05 / 1.05)],
)
def test_false_area_on_a_normal_slide_costs_in_proportion(false_px: int, expected: float) -> None:
    """By hand, 400 px of tissue: 20 false px are 5 %, which costs one half; every px fewer is worth something."""
    slide = judged("a", np.zeros((20, 20)), np.zeros((20, 20), np.uint8), tumour=False)
    slide.prob.reshape(-1)[:false_px] = 255
    assert measure([slide], PLAIN, DICE).value == pytest.approx(expected)
    share = false_px / 400
    # as much as it costs a slide with 2.5 % of tumour, found whole
    assert area_score(np.array([[390 - false_px, false_px], [0, 10]]), 400, 5.0) == pytest.approx(
        2 * 0.025 / (2 * 0.025 + share)
    )


def test_a_class_that_a_slide_has_not_costs_in_proportion_too() -> None:
    """Three classes on 400 px: class 1 is there and met by half, 8 px (2 %) of class 2 are found and not there."""
    matrix = np.array([[300, 0, 8], [46, 46, 0], [0, 0, 0]])
    own = 2 * 46 / (92 + 46)
    assert area_score(matrix, 400, 5.0) == pytest.approx((own + 5 / (5 + 2)) / 2)
    assert area_score(np.diag([308, 92, 0]), 400, 5.0) == 1.0
    assert area_score(np.zeros((3, 3), np.int64), 400, 5.0) is None
    assert area_score(np.array([[0, 9], [0, 0]]), 0, 5.0) == 0.0, "found where no tissue is"


def test_cells_are_px_like_any_other() -> None:
    """A map of 128 px cells, 1024 um2 each: the default smallest region is less than a cell and removes none."""
    cell = judged("a", np.zeros((10, 10)), np.zeros((10, 10), np.uint8), tumour=False)
    cell.prob[0, 2, 2:4] = 255
    slide = Judged("a", MapGeometry(1280, 1280, 128.0), cell.prob, cell.tissue, cell.truth, False, mpp=(0.25, 0.25))
    point = PLAIN.model_copy(update={"min_region_um2": 200.0})
    result = measure([slide], point, DICE)
    assert result.value == pytest.approx(5 / (5 + 2))
    assert result.calls == {"a": (False, True)}


def test_several_classes_are_judged_by_the_mean_over_the_foreground() -> None:
    truth = np.array([[0, 1, 1, 2]], dtype=np.uint8)
    said = np.array([0, 1, 2, 2])
    prob = (np.eye(3)[said].T[:, None] * 255).astype(np.uint8)
    slide = Judged("a", MapGeometry(4, 1, 1.0), prob, np.ones((1, 4), dtype=bool), truth, None)
    aim = Aim("dice", (1, 2), 5.0, 0.5)
    assert measure([slide], PLAIN, aim).value == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_a_slide_is_called_by_the_rule_of_the_report() -> None:
    """From 0.5 % of the tissue on: 1 of 400 px is less, 2 are as much. A slide without tissue is not called."""
    specks = {n: judged(f"{n} px", np.zeros((20, 20)), None, tumour=False) for n in (0, 1, 2)}
    for number, slide in specks.items():
        slide.prob[0, 3, :number] = 255
    nowhere = judged("no tissue", np.full((5, 5), 255), None, tumour=True, tissue=np.zeros((5, 5), dtype=bool))
    slides = [*specks.values(), square_slide("tumour", 255, 0), nowhere]
    result = measure(slides, PLAIN, F1)
    assert {name: said for name, (_, said) in result.calls.items()} == {
        **{"0 px": False, "1 px": False, "2 px": True},
        **{"tumour": True, "no tissue": None},
    }
    assert result.slides == {"0 px": 1.0, "1 px": 1.0, "2 px": 0.0, "tumour": 1.0, "no tissue": None}
    assert result.value == pytest.approx(2 / 3)  # one hit, one false
    assert (result.specificity, result.sensitivity) == (pytest.approx(2 / 3), 1.0)
    strict = measure(slides, PLAIN, Aim("f1", (1,), 5.0, burden_percent=0.0))
    assert strict.specificity == pytest.approx(1 / 3), "any tumour at all"
    tidy = measure(slides, PLAIN.model_copy(update={"min_region_um2": 3 * 0.25}), F1)
    assert (tidy.value, tidy.specificity) == (1.0, 1.0)


def froc_slide(name: str, places: dict[tuple[int, int], int], tumour: np.ndarray) -> Judged:
    """A map of 16 um per px with 2 x 2 px regions of a value at (row, column); the lesions' grid is twice as fine."""
    prob = np.zeros((1, 40, 40), dtype=np.uint8)
    for (row, column), value in places.items():
        prob[0, row : row + 2, column : column + 2] = value
    fine = np.kron(tumour, np.ones((2, 2), dtype=bool))
    grid = LesionGrid(lesions(fine, 8.0), 8.0)
    whole = np.ones((40, 40), dtype=bool)
    geometry, truth = MapGeometry(640, 640, 16.0), tumour.astype(np.uint8)
    return Judged(name, geometry, prob, whole, truth, bool(tumour.any()), grid, (1.0, 1.0), "patient", whole)


def test_froc_takes_every_region_for_a_detection_at_its_peak() -> None:
    tumour = np.zeros((40, 40), dtype=bool)
    tumour[2:22, 2:22] = True  # 320 um: one lesion
    hit_and_miss = froc_slide("a", {(5, 5): 250, (30, 30): 200}, tumour)
    normal = froc_slide("b", {}, np.zeros((40, 40), dtype=bool))
    result = measure([hit_and_miss, normal], PLAIN, FROC)
    assert result.value == 1.0  # found before the first false positive
    assert result.slides == {"a": 1.0, "b": None}
    worse = froc_slide("a", {(5, 5): 200, (30, 30): 250, (30, 5): 251}, tumour)
    # by hand: 2 false positives over 2 slides come first; up to 1 per slide nothing is found, from there all
    assert measure([worse, normal], PLAIN, FROC).value == pytest.approx((0 + 0 + 1 + 1 + 1 + 1) / 6)


def test_a_slide_tells_something_only_where_the_objective_finds_tumour_in_it() -> None:
    normal = judged("n", np.zeros((5, 5)), np.zeros((5, 5), np.uint8), tumour=False)
    tumour = square_slide("t", 255, 0)
    assert [tells(one, "dice", (1,)) for one in (normal, tumour)] == [False, True]
    assert [tells(one, "f1", (1,)) for one in (normal, tumour)] == [False, True]
    assert not tells(tumour, "froc", (1,)), "no lesions known"
    assert tells(froc_slide("f", {}, np.ones((40, 40), dtype=bool)), "froc", (1,))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_slide_f1_is_scikit_learns(calls: list[tuple[bool, bool]]) -> None:
    true, said = zip(*calls, strict=True)
    expected = f1_score(true, said, zero_division=np.nan) if any(true) or any(said) else None
    assert slide_f1([*calls, (None, True)]) == (None if expected is None else pytest.approx(expected))


# ------------------------------------------------------------------ the curve


@given(st.integers(0, 2**32), st.sampled_from(THRESHOLDS))
def test_the_curve_is_what_counting_px_at_its_threshold_gives(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    slides = []
    for name in "abc":
        truth = rng.choice(np.array([0, 1, 255], np.uint8), (12, 9)) * rng.integers(2, dtype=np.uint8)
        slides.append(
            judged(name, rng.integers(0, 256, (12, 9)), truth, bool(rng.integers(2)), rng.random((12, 9)) < 0.5)
        )
    slides.append(judged("unknown", rng.integers(0, 256, (4, 4)), None, tumour=True))
    curve = threshold_curve([histogram(one) for one in slides], DICE)
    at = curve["threshold"].index(threshold)
    point = PLAIN.model_copy(update={"threshold": threshold})
    for name, aim in (("dice_mean", DICE), ("slide_f1", F1)):
        expected = measure(slides, point, aim).value
        assert curve[name][at] == (None if expected is None else pytest.approx(expected))
    whole = measure(slides, point, DICE)
    assert (curve["slide_specificity"][at], curve["slide_sensitivity"][at]) == (whole.specificity, whole.sensitivity)
    true = np.concatenate([one.truth[one.truth != 255] for one in slides[:3]])
    said = np.concatenate([(one.prob[0] / 255 >= threshold - 1e-9)[one.truth != 255] for one in slides[:3]])
    if true.any() or said.any():
        assert curve["pixel_f1"][at] == pytest.approx(f1_score(true, said, zero_division=0))


def test_tissue_says_what_a_slide_is_called_by_and_never_what_its_px_are() -> None:
    """Four px, three found, one of them outside the tissue: it keeps its answer, and the burden is 2 of 3."""
    truth, tissue = np.array([[1, 1, 1, 0]], np.uint8), np.array([[False, True, True, True]])
    one = histogram(judged("a", np.array([[255, 255, 255, 0]]), truth, tumour=True, tissue=tissue))
    curve = threshold_curve([one], Aim("dice", (1,), 5.0, burden_percent=60.0))
    assert set(curve["dice_mean"]) == set(curve["pixel_f1"]) == {1.0}
    assert set(curve["slide_sensitivity"]) == {1.0}
    assert set(threshold_curve([one], Aim("dice", (1,), 5.0, burden_percent=70.0))["slide_sensitivity"]) == {0.0}


def test_the_curve_spans_what_is_searched_and_contains_one_half() -> None:
    assert len(THRESHOLDS) >= 19
    assert (THRESHOLDS[0], THRESHOLDS[-1]) == (0.05, 0.95)
    assert 0.5 in THRESHOLDS


def test_a_slide_without_tissue_is_not_called() -> None:
    nowhere = np.zeros((3, 3), dtype=bool)
    one = histogram(judged("a", np.full((3, 3), 255), np.ones((3, 3), np.uint8), tumour=True, tissue=nowhere))
    assert threshold_curve([one], DICE)["slide_f1"] == [None] * len(THRESHOLDS)


# ------------------------------------------------------------------ on disk


@pytest.mark.parametrize("known", [True, False])
def test_a_slide_comes_back_from_disk_as_it_was(tmp_path: Path, known: bool) -> None:
    tumour = np.zeros((40, 40), dtype=bool)
    tumour[2:5, 2:5] = True  # isolated tumour cells
    tumour[20:40, 20:40] = True
    slide = froc_slide("a.b", {(3, 3): 7}, tumour) if known else judged("a.b", np.eye(5) * 255, None, None)
    save_judged(tmp_path / "a.b", slide)
    back = open_judged(tmp_path / "a.b")
    for name in ("slide_id", "geometry", "tumour", "mpp", "patient", "group"):
        assert getattr(back, name) == getattr(slide, name)
    assert (back.looked is None) == (slide.looked is None)
    for name in ("prob", "tissue", *(("looked",) if slide.looked is not None else ())):
        np.testing.assert_array_equal(getattr(back, name), getattr(slide, name))
    if not known:
        assert back.truth is None
        assert back.lesions is None
        return
    np.testing.assert_array_equal(back.truth, slide.truth)
    assert slide.lesions is not None
    assert back.lesions is not None
    assert slide.lesions.lesions.itc == (1,)
    assert (back.lesions.downsample, back.lesions.lesions.itc) == (8.0, slide.lesions.lesions.itc)
    np.testing.assert_array_equal(back.lesions.lesions.labels, slide.lesions.lesions.labels)
