"""The search of an operating point: what it may choose, what a point is worth, and the curve behind it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from acinus import params
from acinus.errors import AcinusError
from acinus.mapping import point_score
from acinus.mapping.confidence import confidence
from acinus.mapping.geometry import MapGeometry
from acinus.mapping.judged_files import open_judged, save_judged
from acinus.mapping.lesion_grid import LesionGrid
from acinus.mapping.operating_point import OperatingPoint, read_point, read_scaling, write_point, write_scaling
from acinus.mapping.point_score import Judged, Result, measure, slide_f1, tells
from acinus.mapping.point_search import Found, search
from acinus.mapping.threshold_curve import THRESHOLDS, histogram, threshold_curve
from acinus.scoring.calibration import ece, nll, reliability
from acinus.scoring.froc import lesions
from acinus.scoring.scaling import AS_TRAINED, Scaling, scaled

PLAIN = OperatingPoint(temperature=1.5)
WIDE = params.Calibrate(trials=30, max_smoothing_px=2.0, max_region_px=64, max_hole_px=64)


def judged(
    name: str, prob: np.ndarray, truth: np.ndarray | None, tumour: bool | None, tissue: np.ndarray | None = None
) -> Judged:
    """A slide of two classes whose map has one px for each of its own."""
    inside = np.ones(prob.shape, dtype=bool) if tissue is None else tissue
    geometry = MapGeometry(prob.shape[1], prob.shape[0], 1.0)
    return Judged(name, geometry, prob[None].astype(np.uint8), inside, truth, tumour)


def square_slide(name: str, inside: int, outside: int) -> Judged:
    """A tumour of 10 x 10 px in 40 x 40, of these values inside and outside."""
    truth = np.zeros((40, 40), dtype=np.uint8)
    truth[10:20, 10:20] = 1
    return judged(name, np.where(truth == 1, inside, outside), truth, tumour=True)


# ------------------------------------------------------------------ search


def worth(value: Callable[[OperatingPoint], float | None]) -> Callable[[OperatingPoint], Result]:
    """A figure that hangs on the point alone, as of a single slide."""
    return lambda point: Result(value(point), {"a": value(point)})


def test_a_threshold_that_separates_is_found_and_needless_clean_up_is_not_chosen() -> None:
    slides = [square_slide("a", 100, 60), square_slide("b", 90, 70)]  # best from 71 / 255 to 90 / 255
    found = search(lambda point: measure(slides, point, "dice", (1,)), PLAIN, WIDE, True, seed=3)
    assert 70 / 255 < found.point.threshold <= 90 / 255
    assert (found.value, found.value_plain) == (1.0, 0.0)
    assert (found.point.smoothing_px, found.point.min_region_px, found.point.max_hole_px) == (0.0, 0, 0)
    assert found.point.temperature == 1.5, "what is not searched stays"


def test_the_first_trial_is_the_plain_point() -> None:
    found = search(worth(lambda point: point.threshold), PLAIN, WIDE, True, seed=1)
    first = found.tried[0]
    assert first.settings == {"threshold": 0.5, "smoothing_px": 0.0, "min_region_px": 0, "max_hole_px": 0}
    assert first.value == found.value_plain == 0.5
    assert len(found.tried) == 30


def test_where_nothing_makes_a_difference_the_point_stays_plain() -> None:
    assert search(worth(lambda point: 0.7), PLAIN, WIDE, True, seed=1).point == PLAIN


def test_a_setting_without_effect_goes_back_though_no_trial_had_it_alone() -> None:
    found = search(worth(lambda point: float(point.min_region_px >= 5)), PLAIN, WIDE, True, seed=1)
    assert found.value == 1.0
    assert found.point.min_region_px >= 5
    assert found.point == PLAIN.model_copy(update={"min_region_px": found.point.min_region_px})


def test_of_equal_points_the_one_with_less_clean_up_wins() -> None:
    """Either step alone does it, both together too: no trial but the simplest explains the choice."""

    def value(point: OperatingPoint) -> float:
        return float(point.min_region_px >= 5 or point.max_hole_px >= 5)

    point = search(worth(value), PLAIN, WIDE, True, seed=2).point
    assert (point.min_region_px > 0) + (point.max_hole_px > 0) == 1


@given(st.integers(0, 2**63), st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_the_point_is_never_worse_than_the_plain_one_nor_than_any_trial(seed: int, values: list[float]) -> None:
    def value(point: OperatingPoint) -> float:
        return values[int(point.threshold * 100 + point.min_region_px + 7 * point.smoothing_px) % 5]

    found = search(worth(value), PLAIN, WIDE.model_copy(update={"trials": 6}), True, seed)
    assert found.value == value(found.point)
    assert found.value_plain == value(PLAIN)
    assert found.value >= max(found.value_plain, *(one.value for one in found.tried if one.value is not None))


def test_the_same_seed_gives_the_same_trials_and_another_seed_others() -> None:
    def run(seed: int) -> Found:
        return search(worth(lambda point: -abs(point.threshold - 0.3) - point.smoothing_px), PLAIN, WIDE, True, seed)

    assert run(5) == run(5)
    assert run(5).tried != run(6).tried


def test_limits_hold_and_a_limit_of_0_is_not_searched() -> None:
    narrow = params.Calibrate(trials=40, max_smoothing_px=0.5, max_region_px=3, max_hole_px=0)
    tried = search(worth(lambda point: point.smoothing_px + point.min_region_px), PLAIN, narrow, True, seed=1).tried
    assert all(set(one.settings) == {"threshold", "smoothing_px", "min_region_px"} for one in tried)
    assert all(0.05 <= one.settings["threshold"] <= 0.95 for one in tried)
    assert {one.settings["min_region_px"] for one in tried} == {0, 1, 2, 3}
    assert 0.4 < max(one.settings["smoothing_px"] for one in tried) <= 0.5
    without = search(worth(lambda point: 1.0), PLAIN, narrow, False, seed=1).tried
    assert all("threshold" not in one.settings for one in without)


@pytest.mark.parametrize(("settings", "value"), [(params.Calibrate(trials=0), 0.4), (WIDE, None)])
def test_without_trials_or_without_a_value_the_point_is_plain(settings: params.Calibrate, value: float | None) -> None:
    assert search(worth(lambda point: value), PLAIN, settings, True, seed=1) == Found(PLAIN, value, value, ())


def test_a_gain_within_one_standard_error_of_plain_is_none() -> None:
    """Worked by hand: differences 0.1, 0.1, -0.17 have mean 0.01 and standard error 0.09; 0.1, 0.1, 0.07 have 0.01."""

    def slides(gains: tuple[float, ...]) -> Callable[[OperatingPoint], Result]:
        def value(point: OperatingPoint) -> Result:
            own = {str(n): 0.5 + gain * (point.threshold < 0.4) for n, gain in enumerate(gains)}
            return Result(sum(own.values()) / len(own), dict(own))

        return value

    noise = search(slides((0.1, 0.1, -0.17)), PLAIN, WIDE, True, seed=1)
    assert (noise.point, noise.value) == (PLAIN, noise.value_plain)
    assert max(one.value for one in noise.tried if one.value is not None) > noise.value_plain
    gain = search(slides((0.1, 0.1, 0.07)), PLAIN, WIDE, True, seed=1)
    assert gain.point.threshold < 0.4
    assert gain.value == pytest.approx(0.59)


# ------------------------------------------------------------------ what a point is worth


def test_dice_is_the_mean_over_slides_and_a_clean_normal_one_counts_1() -> None:
    half = square_slide("half", 200, 0)
    half.prob[0, 10:15, 10:20] = 0  # 50 of 100 px found: 2 * 50 / 150
    empty = judged("empty", np.zeros((9, 9)), np.zeros((9, 9), np.uint8), tumour=False)
    unknown = judged("unknown", np.full((9, 9), 255), None, tumour=True)
    result = measure([half, square_slide("whole", 255, 0), empty, unknown], PLAIN, "dice", (1,))
    assert result.slides == {"half": pytest.approx(2 / 3), "whole": 1.0, "empty": 1.0, "unknown": None}
    assert result.value == pytest.approx((2 / 3 + 1 + 1) / 3)


def test_a_large_map_taken_band_by_band_is_judged_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    slides = [
        judged("a", rng.integers(0, 256, (33, 20)), rng.choice(np.array([0, 1, 255], np.uint8), (33, 20)), tumour=True)
    ]
    point = PLAIN.model_copy(update={"smoothing_px": 1.0, "min_region_px": 4, "max_hole_px": 6})
    whole = measure(slides, point, "dice", (1,))
    monkeypatch.setattr(point_score, "LARGE", 0)
    monkeypatch.setattr(point_score, "BAND_ROWS", 5)
    assert measure(slides, point, "dice", (1,)) == whole
    assert 0 < whole.value < 1


def test_px_of_unknown_truth_count_nowhere_and_tumour_outside_tissue_is_missed() -> None:
    truth = np.array([[1, 1, 255, 0]], dtype=np.uint8)
    tissue = np.array([[True, False, True, True]])
    slide = judged("a", np.array([[200, 200, 200, 0]]), truth, tumour=True, tissue=tissue)
    assert measure([slide], PLAIN, "dice", (1,)).value == pytest.approx(2 * 1 / (1 + 2))


def test_several_classes_are_judged_by_the_mean_dice_of_the_foreground() -> None:
    truth = np.array([[0, 1, 1, 2]], dtype=np.uint8)
    said = np.array([0, 1, 2, 2])
    prob = (np.eye(3)[said].T[:, None] * 255).astype(np.uint8)
    slide = Judged("a", MapGeometry(4, 1, 1.0), prob, np.ones((1, 4), dtype=bool), truth, None)
    assert measure([slide], PLAIN, "dice", (1, 2)).value == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_f1_asks_whether_any_region_is_left() -> None:
    speck = judged("speck", np.zeros((20, 20)), None, tumour=False)
    speck.prob[0, 3, 3] = 255
    slides = [square_slide("tumour", 255, 0), speck, judged("nobody knows", np.full((5, 5), 255), None, tumour=None)]
    assert measure(slides, PLAIN, "f1", (1,)).value == pytest.approx(2 / 3)
    tidy = measure(slides, PLAIN.model_copy(update={"min_region_px": 2}), "f1", (1,))
    assert tidy.value == 1.0
    assert tidy.slides == {"tumour": 1.0, "speck": 1.0, "nobody knows": None}


def froc_slide(name: str, places: dict[tuple[int, int], int], tumour: np.ndarray) -> Judged:
    """A map of 16 um per px with 2 x 2 px regions of a value at (row, column); the lesions' grid is twice as fine."""
    prob = np.zeros((1, 40, 40), dtype=np.uint8)
    for (row, column), value in places.items():
        prob[0, row : row + 2, column : column + 2] = value
    fine = np.kron(tumour, np.ones((2, 2), dtype=bool))
    grid = LesionGrid(lesions(fine, 8.0), 8.0)
    whole = np.ones((40, 40), dtype=bool)
    return Judged(name, MapGeometry(640, 640, 16.0), prob, whole, tumour.astype(np.uint8), bool(tumour.any()), grid)


def test_froc_takes_every_region_for_a_detection_at_its_peak() -> None:
    tumour = np.zeros((40, 40), dtype=bool)
    tumour[2:22, 2:22] = True  # 320 um: one lesion
    hit_and_miss = froc_slide("a", {(5, 5): 250, (30, 30): 200}, tumour)
    normal = froc_slide("b", {}, np.zeros((40, 40), dtype=bool))
    result = measure([hit_and_miss, normal], PLAIN, "froc", (1,))
    assert result.value == 1.0  # found before the first false positive
    assert result.slides == {"a": 1.0, "b": None}
    worse = froc_slide("a", {(5, 5): 200, (30, 30): 250, (30, 5): 251}, tumour)
    # by hand: 2 false positives over 2 slides come first; up to 1 per slide nothing is found, from there all
    assert measure([worse, normal], PLAIN, "froc", (1,)).value == pytest.approx((0 + 0 + 1 + 1 + 1 + 1) / 6)


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
        truth = rng.choice(np.array([0, 1, 255], np.uint8), (12, 9))
        slides.append(
            judged(name, rng.integers(0, 256, (12, 9)), truth, bool(rng.integers(2)), rng.random((12, 9)) < 0.7)
        )
    slides.append(judged("unknown", rng.integers(0, 256, (4, 4)), None, tumour=True))
    curve = threshold_curve([histogram(one.prob[0], one.tissue, one.truth, one.tumour) for one in slides])
    at = curve["threshold"].index(threshold)
    point = PLAIN.model_copy(update={"threshold": threshold})
    for name, objective in (("dice_mean", "dice"), ("slide_f1", "f1")):
        expected = measure(slides, point, objective, (1,)).value
        assert curve[name][at] == (None if expected is None else pytest.approx(expected))
    known = [
        (one.truth[one.truth != 255], (one.prob[0] / 255 >= threshold - 1e-9) & one.tissue, one) for one in slides[:3]
    ]
    true = np.concatenate([values for values, _, _ in known])
    said = np.concatenate([found[one.truth != 255] for _, found, one in known])
    assert curve["pixel_f1"][at] == pytest.approx(f1_score(true, said, zero_division=0))


def test_the_curve_spans_what_is_searched_and_contains_one_half() -> None:
    assert len(THRESHOLDS) >= 19
    assert (THRESHOLDS[0], THRESHOLDS[-1]) == (0.05, 0.95)
    assert 0.5 in THRESHOLDS


def test_a_slide_without_tissue_is_called_normal_at_every_threshold() -> None:
    nowhere = np.zeros((3, 3), dtype=bool)
    one = histogram(np.full((3, 3), 255, np.uint8), nowhere, np.ones((3, 3), np.uint8), True)
    assert threshold_curve([one])["slide_f1"] == [0.0] * len(THRESHOLDS)
    assert threshold_curve([one])["dice_mean"] == [0.0] * len(THRESHOLDS)


# ------------------------------------------------------------------ on disk, and the temperature


@pytest.mark.parametrize("known", [True, False])
def test_a_slide_comes_back_from_disk_as_it_was(tmp_path: Path, known: bool) -> None:
    tumour = np.zeros((40, 40), dtype=bool)
    tumour[2:5, 2:5] = True  # isolated tumour cells
    tumour[20:40, 20:40] = True
    slide = froc_slide("a.b", {(3, 3): 7}, tumour) if known else judged("a.b", np.eye(5) * 255, None, None)
    save_judged(tmp_path / "a.b", slide)
    back = open_judged(tmp_path / "a.b")
    assert (back.slide_id, back.geometry, back.tumour) == (slide.slide_id, slide.geometry, slide.tumour)
    for name in ("prob", "tissue"):
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


def drawn_scores(temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right after this temperature: labels are drawn from the tempered ones."""
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 3, (6000, 3))
    soft = np.exp(logits / temperature) / np.exp(logits / temperature).sum(axis=1, keepdims=True)
    labels = (rng.random((6000, 1)) > soft.cumsum(axis=1)).sum(axis=1)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), labels.clip(0, 2)


@pytest.mark.parametrize("temperature", [0.6, 2.0])
def test_the_temperature_is_recovered_and_betters_every_figure(temperature: float) -> None:
    probs, labels = drawn_scores(temperature)
    trust = confidence(probs, labels, fit=True)
    assert trust.scaling.temperature == pytest.approx(temperature, rel=0.06)
    assert trust.scaling.bias == ()
    assert all(trust.after[name] < trust.before[name] for name in ("ece", "brier", "nll"))
    assert trust.before["nll"] == pytest.approx(-np.log(probs[np.arange(6000), labels]).mean()) == nll(probs, labels)
    right = probs.argmax(axis=1) == labels
    assert trust.before["ece"] == ece(reliability(probs.max(axis=1), right, 15))
    assert sum(trust.after["reliability"]["count"]) == trust.n_scores == 6000
    assert trust.note is None


@pytest.mark.parametrize(
    ("probs", "labels", "fit", "note"),
    [
        ([[0.9, 0.1]], [1], False, "calibrate.temperature is false"),
        (np.zeros((0, 2)), [], True, "no validation scores"),
        ([[0.9, 0.1], [0.2, 0.8]], [0, 1], True, "2 of 2"),
        ([[0.9, 0.1], [0.2, 0.8]], [1, 0], True, "0 of 2"),
    ],
)
def test_where_nothing_can_be_fitted_the_temperature_is_1_and_says_why(
    probs: list[list[float]], labels: list[int], fit: bool, note: str
) -> None:
    values = np.array(probs, dtype=np.float64)
    trust = confidence(values, np.array(labels, dtype=np.int64), fit)
    assert trust.scaling == AS_TRAINED
    assert trust.before == trust.after
    assert trust.note is not None
    assert trust.note.startswith(note)
    assert (trust.before["ece"] is None) == (len(labels) == 0)


def one_sided_scores() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a network that takes the first class too often, and the true offsets and temperature."""
    probs, labels = drawn_scores(2.0)
    return scaled(probs, Scaling(1.0, (1.5, 0.0, 0.0))), labels


def test_offsets_mend_a_network_that_takes_one_class_too_often() -> None:
    probs, labels = one_sided_scores()
    alone, both = confidence(probs, labels, fit=True), confidence(probs, labels, fit=True, bias=True)
    assert alone.scaling.bias == ()
    assert both.scaling.temperature == pytest.approx(2.0, rel=0.06)
    assert both.scaling.bias == pytest.approx([-0.5, 0.25, 0.25], abs=0.06)  # -1.5 / 2 of the first, mean 0
    assert all(both.after[name] < alone.after[name] < both.before[name] for name in ("brier", "nll"))
    assert both.after["ece"] < alone.after["ece"]
    assert both.note is None
    numbers = (both.scaling.temperature, *both.scaling.bias)
    assert [round(one, 6) for one in numbers] == list(numbers), "what is written is what was used"


def test_without_a_temperature_there_are_no_offsets_either() -> None:
    trust = confidence(*one_sided_scores(), fit=False, bias=True)
    assert trust.scaling == AS_TRAINED
    assert trust.before == trust.after


def test_offsets_that_would_leave_nothing_wrong_are_not_taken() -> None:
    """p 0.6 to 0.9 of the first class: 0.75 in between parts them, so that no offset is the best."""
    first = np.array([0.6, 0.65, 0.7, 0.8, 0.85, 0.9, 0.3])
    labels = np.array([1, 1, 1, 0, 0, 0, 1])
    trust = confidence(np.stack([first, 1 - first], axis=1), labels, fit=True, bias=True)
    assert trust.scaling.bias == ()
    assert trust.scaling == confidence(np.stack([first, 1 - first], axis=1), labels, fit=True).scaling
    assert trust.note == "no offsets: they would leave no validation score wrong"


def test_a_point_with_offsets_comes_back_and_one_without_does_not_name_them(tmp_path: Path) -> None:
    for bias in ([], [0.25, -0.25]):
        point = OperatingPoint(temperature=1.5, bias=bias, threshold=0.25)
        write_point(tmp_path / "point.yaml", point)
        write_scaling(tmp_path / "scaling.json", point.scaling)
        assert read_point(tmp_path / "point.yaml") == point
        assert read_scaling(tmp_path / "scaling.json") == point.scaling == Scaling(1.5, tuple(bias))
        text = (tmp_path / "point.yaml").read_text()
        assert text.startswith("temperature: 1.5\nbias:\n- 0.25\n- -0.25\nthr" if bias else "temperature: 1.5\nthr")
    write_scaling(tmp_path / "scaling.json", Scaling(1.5))
    assert (tmp_path / "scaling.json").read_bytes() == b'{\n  "temperature": 1.5\n}\n'  # as before there were offsets


@pytest.mark.parametrize(
    "text", ["{}", "[1.5]", '{"temperature": "hot"}', '{"temperature": 0}', '{"temperature": 1, "bias": [NaN, 0]}']
)
def test_what_is_no_scaling_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.temperature.json").write_text(text)
    with pytest.raises(AcinusError, match=r"r\.temperature\.json: .*run the calibrate stage") as caught:
        read_scaling(tmp_path / "r.temperature.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(AcinusError, match=r"missing\.json: not found"):
        read_scaling(tmp_path / "missing.json")
