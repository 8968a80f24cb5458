"""The search of an operating point: what it may choose, and that it chooses nothing else than what wins for sure."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus import params
from acinus.calibration.point_score import Aim, Call, Judged, Result, measure
from acinus.calibration.point_search import LEAST_GROUPS, LEAST_NORMAL, Found, search
from acinus.maps.geometry import MapGeometry
from acinus.regions.operating_point import OperatingPoint

PLAIN = OperatingPoint(temperature=1.5, min_region_um2=200.0, max_hole_um2=200.0)
WIDE = params.Calibrate(trials=30)  # too few for a sampler that has learnt, enough to find half a range
NAMES = [f"slide {number}" for number in range(LEAST_GROUPS)]
OWN = {name: name for name in NAMES}


def worth(value: Callable[[OperatingPoint], float | None]) -> Callable[[OperatingPoint], Result]:
    """A figure that hangs on the point alone, the same of every slide."""
    return lambda point: Result(value(point), dict.fromkeys(NAMES, value(point)))


def found_of(value: Callable[[OperatingPoint], float | None], seed: int = 1, **settings: float) -> Found:
    return search(worth(value), PLAIN, WIDE.model_copy(update=settings), True, OWN, seed)


def square_slide(name: str, inside: int, outside: int) -> Judged:
    """A tumour of 10 x 10 px in 40 x 40 px of 100 um2, of these values inside and outside."""
    truth = np.zeros((40, 40), dtype=np.uint8)
    truth[10:20, 10:20] = 1
    prob = np.where(truth == 1, inside, outside).astype(np.uint8)[None]
    return Judged(name, MapGeometry(400, 400, 10.0), prob, np.ones((40, 40), bool), truth, True, mpp=(1.0, 1.0))


def test_a_threshold_that_separates_is_found_and_needless_clean_up_is_not_chosen() -> None:
    slides = [square_slide(name, 100 - number, 60 + number) for number, name in enumerate(NAMES)]
    aim = Aim("dice", (1,), 5.0, 0.5)
    found = search(lambda point: measure(slides, point, aim), PLAIN, WIDE, True, OWN, seed=3)
    assert 65 / 255 < found.point.threshold <= 95 / 255
    assert (found.chosen.value, found.plain.value) == (1.0, 0.0)
    assert found.point == PLAIN.model_copy(update={"threshold": found.point.threshold})
    assert found.gain is not None
    assert (found.gain.difference, found.gain.low, found.gain.high) == (1.0, 1.0, 1.0)
    assert found.note is None


def test_the_first_trial_is_the_plain_point() -> None:
    found = found_of(lambda point: point.threshold)
    first = found.tried[0]
    plain = {"threshold": 0.5, "smoothing_px": 0.0, "min_region_um2": 200.0, "max_hole_um2": 200.0, "min_peak": 0.0}
    assert first.settings == plain
    assert first.value == found.plain.value == 0.5
    assert len(found.tried) == 30


def test_where_nothing_makes_a_difference_the_point_stays_plain() -> None:
    found = found_of(lambda point: 0.7)
    assert (found.point, found.gain) == (PLAIN, None)
    assert found.note == "the plain point: no trial is better by a 95 % interval over patients"


def test_a_setting_without_effect_goes_back_though_no_trial_had_it_alone() -> None:
    found = found_of(lambda point: float(point.min_region_um2 >= 500))
    assert found.chosen.value == 1.0
    assert found.point.min_region_um2 >= 500
    assert found.point == PLAIN.model_copy(update={"min_region_um2": found.point.min_region_um2})


def test_of_equal_points_the_one_nearer_to_plain_wins() -> None:
    """Either step alone does it, both together too: no trial but the simplest explains the choice."""
    point = found_of(lambda point: float(point.min_region_um2 >= 500 or point.max_hole_um2 >= 500), seed=2).point
    assert (point.min_region_um2 > 200) + (point.max_hole_um2 > 200) == 1


@given(st.integers(0, 2**63), st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_the_point_is_never_worse_than_the_plain_one_nor_than_any_trial(seed: int, values: list[float]) -> None:
    def value(point: OperatingPoint) -> float:
        return values[int(point.threshold * 100 + point.min_region_um2 + 7 * point.smoothing_px) % 5]

    found = found_of(value, seed, trials=6)
    assert found.chosen.value == pytest.approx(value(found.point))
    assert found.plain.value == pytest.approx(value(PLAIN))
    assert found.chosen.value is not None
    assert found.chosen.value >= max(one.value for one in found.tried if one.value is not None) - 1e-12


def test_the_same_seed_gives_the_same_trials_and_another_seed_others() -> None:
    def run(seed: int) -> Found:
        return found_of(lambda point: -abs(point.threshold - 0.3) - point.smoothing_px, seed)

    assert run(5) == run(5)
    assert run(5).tried != run(6).tried


def test_limits_hold_and_a_range_of_one_value_is_not_searched() -> None:
    narrow = params.Calibrate(
        trials=40, max_smoothing_px=0.5, most_region_um2=203.0, most_hole_um2=200.0, most_peak=0.0
    )

    def run(with_threshold: bool) -> Found:
        value = worth(lambda point: point.smoothing_px + point.min_region_um2)
        return search(value, PLAIN, narrow, with_threshold, OWN, seed=1)

    tried = run(True).tried
    assert all(set(one.settings) == {"threshold", "smoothing_px", "min_region_um2"} for one in tried)
    assert all(0.05 <= one.settings["threshold"] <= 0.95 for one in tried)
    assert {one.settings["min_region_um2"] for one in tried} == {200.0, 201.0, 202.0, 203.0}
    assert 0.4 < max(one.settings["smoothing_px"] for one in tried) <= 0.5
    assert all("threshold" not in one.settings for one in run(False).tried)


@pytest.mark.parametrize(("trials", "value"), [(0, 0.4), (30, None)])
def test_without_trials_or_without_a_value_the_point_is_plain(trials: int, value: float | None) -> None:
    found = found_of(lambda point: value, trials=trials)
    assert (found.point, found.chosen.value, found.tried, found.gain) == (PLAIN, value, (), None)


# ------------------------------------------------------------------ a gain that is sure


def gains(own: list[float]) -> Callable[[OperatingPoint], Result]:
    """Each slide gains so much below a threshold of 0.4."""

    def value(point: OperatingPoint) -> Result:
        slides = {f"slide {n}": 0.5 + gain * (point.threshold < 0.4) for n, gain in enumerate(own)}
        return Result(sum(slides.values()) / len(slides), slides)

    return value


def own_of(own: list[float]) -> dict[str, str]:
    return {f"slide {n}": f"slide {n}" for n in range(len(own))}


def test_a_gain_that_rests_on_one_slide_is_none() -> None:
    """By hand: without the one slide nothing is gained, and (7/8)^8 = 34 % of the resamples are without it.

    One standard error of the mean, which is what was asked for before, is as large as the mean itself: 0.1.
    """
    own = [0.8, 0, 0, 0, 0, 0, 0, 0]
    found = search(gains(own), PLAIN, WIDE, True, own_of(own), seed=1)
    assert (found.point, found.chosen.value) == (PLAIN, found.plain.value)
    assert max(one.value for one in found.tried if one.value is not None) == pytest.approx(0.6)


def test_a_gain_of_the_size_of_the_spread_is_none() -> None:
    """The mean gain is 1.2 standard errors: enough for the rule of one, not for an interval of 95 %."""
    own = [0.05, 0.06, -0.05, 0.02, -0.03, 0.04, -0.02, 0.03]
    errors = float(np.mean(own) / (np.std(own, ddof=1) / np.sqrt(len(own))))
    assert 0.85 < errors < 1.5
    assert search(gains(own), PLAIN, WIDE, True, own_of(own), seed=1).point == PLAIN


def test_a_gain_on_every_slide_is_one() -> None:
    own = [0.1, 0.1, 0.07, 0.08, 0.02, 0.05]
    found = search(gains(own), PLAIN, WIDE, True, own_of(own), seed=1)
    assert found.point.threshold < 0.4
    assert found.chosen.value == pytest.approx(0.57)
    assert found.gain is not None
    assert found.gain.low is not None
    assert 0 < found.gain.low < found.gain.difference < found.gain.high


def test_fewer_patients_than_can_show_a_gain_keep_the_plain_point() -> None:
    own = [0.3] * (LEAST_GROUPS - 1)
    found = search(gains(own), PLAIN, WIDE, True, own_of(own), seed=1)
    assert found.point == PLAIN
    assert found.note == "the plain point: 5 patients or slides to judge by, 6 are needed to tell a gain"
    assert "plain point: 1 patient or slide to judge by" in str(
        search(gains([0.3]), PLAIN, WIDE, True, own_of([0.3]), seed=1).note
    )
    own = [0.3] * 20  # many slides of few patients are no more than these
    groups = {f"slide {n}": f"patient {n % 5}" for n in range(20)}
    assert search(gains(own), PLAIN, WIDE, True, groups, seed=1).point == PLAIN


def test_the_slides_of_a_patient_are_drawn_together() -> None:
    """Twelve slides of one patient gain, six patients of a slide each lose: by slides a gain, by patients none."""
    own = [0.1] * 12 + [-0.05] * 6
    groups = {f"slide {n}": "one" if n < 12 else f"other {n}" for n in range(18)}
    assert search(gains(own), PLAIN, WIDE, True, own_of(own), seed=1).point.threshold < 0.4
    assert search(gains(own), PLAIN, WIDE, True, groups, seed=1).point == PLAIN


# ------------------------------------------------------------------ the floor of the specificity


def called(normal_wrong: Callable[[OperatingPoint], int], normal: int, value: Callable[[OperatingPoint], float]):
    """So many of `normal` normal slides are called tumour; two tumour slides always are."""

    def result(point: OperatingPoint) -> Result:
        calls: dict[str, Call] = {f"normal {n}": (False, n < normal_wrong(point)) for n in range(normal)}
        calls |= {"tumour 1": (True, True), "tumour 2": (True, True)}
        own = value(point)
        return Result(own, dict.fromkeys(calls, own), calls)

    groups = {name: name for name in (*(f"normal {n}" for n in range(normal)), "tumour 1", "tumour 2")}
    return result, groups


def wrong_from(counts: dict[float, int]) -> Callable[[OperatingPoint], int]:
    """So many normal slides are called tumour from each threshold on."""
    return lambda point: counts[max(one for one in counts if one <= point.threshold)]


def below(threshold: float) -> Callable[[OperatingPoint], float]:
    """Worth the more the nearer to a threshold."""
    return lambda point: 1 - abs(point.threshold - threshold)


def test_no_point_below_the_floor_is_chosen_where_any_reaches_it() -> None:
    """Plain calls 2 of 10 normal slides tumour, from 0.7 on it is 1; the value alone would take 0.3, which calls 4."""
    wrong = wrong_from({0.0: 4, 0.5: 2, 0.7: 1})
    result, groups = called(wrong, 10, below(0.3))
    found = search(result, PLAIN, WIDE, True, groups, seed=1)
    assert 0.7 <= found.point.threshold < 0.8
    assert (found.plain.specificity, found.chosen.specificity) == (0.8, 0.9)
    assert found.note == "the plain point calls too many normal slides tumour: slide specificity below 0.9"
    assert {one.specificity for one in found.tried} == {0.9, 0.8, 0.6}
    assert found.gain is not None
    assert found.gain.difference < 0, "the price stands beside it"


def test_a_region_may_be_asked_for_a_peak_that_the_threshold_need_not_have() -> None:
    """Tumour of 0.9 in a surround of 0.6, and on normal slides specks of 0.8: no threshold keeps one without the other.

    A threshold above 0.8 loses the surround, which is tumour too; a peak above 0.8 loses nothing.
    """
    slides = []
    for number in range(12):
        truth, prob = np.zeros((40, 40), dtype=np.uint8), np.zeros((40, 40))
        if number % 2:
            truth[10:20, 10:20], prob[10:20, 10:20], prob[13:16, 13:16] = 1, 153, 230
        else:
            prob[4:8, 4:8] = 204
        one = square_slide(f"slide {number}", 0, 0)
        slides.append(
            Judged(
                one.slide_id, one.geometry, prob.astype(np.uint8)[None], one.tissue, truth, bool(number % 2), mpp=(1, 1)
            )
        )
    groups = {one.slide_id: one.slide_id for one in slides}
    found = search(lambda point: measure(slides, point, Aim("dice", (1,), 5.0, 0.5)), PLAIN, WIDE, True, groups, seed=1)
    assert 204 / 255 < found.point.min_peak <= 230 / 255
    assert found.point.threshold <= 153 / 255
    assert (found.chosen.value, found.chosen.specificity, found.plain.specificity) == (1.0, 1.0, 0.0)


def test_where_none_reaches_the_floor_it_says_so_and_nothing_gets_worse() -> None:
    wrong = wrong_from({0.0: 6, 0.5: 4})
    result, groups = called(wrong, 10, below(0.3))
    found = search(result, PLAIN, WIDE, True, groups, seed=1)
    assert found.point == PLAIN
    assert found.note is not None
    assert found.note.startswith("no point reaches a slide specificity of 0.9: 0.6 at most; the plain point: ")


def test_a_gain_is_not_bought_with_normal_slides() -> None:
    """With fewer normal slides there is no floor, but still none more may be called tumour."""
    wrong = wrong_from({0.0: 1, 0.4: 0})
    result, groups = called(wrong, LEAST_NORMAL - 1, below(0.1))
    found = search(result, PLAIN, WIDE.model_copy(update={"trials": 60}), True, groups, seed=1)
    assert 0.4 <= found.point.threshold < 0.5
    assert found.chosen.specificity == found.plain.specificity == 1.0


@pytest.mark.parametrize(("normal", "floor", "moved"), [(5, 0.9, True), (4, 0.9, False), (5, 0.0, False)])
def test_the_floor_holds_from_five_normal_slides_on_and_can_be_given_up(normal: int, floor: float, moved: bool) -> None:
    """Too few patients to show a gain: only the floor may move the point."""
    wrong = wrong_from({0.0: 1, 0.7: 0})
    result, groups = called(wrong, normal, below(0.5))
    groups = dict.fromkeys(groups, "one patient")
    settings = WIDE.model_copy(update={"min_specificity": floor})
    found = search(result, PLAIN, settings, True, groups, seed=1)
    assert (found.point.threshold >= 0.7) == moved
