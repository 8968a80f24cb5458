"""Temperature and offsets: what they mend, where there are none, and that each is kept only where it wins."""

import numpy as np
import pytest

from acinus.calibration.confidence import confidence, held_out
from acinus.scoring.calibration import ece, fit_temperature, nll, reliability
from acinus.scoring.scaling import AS_TRAINED, Scaling, scaled

SLIDES = [f"slide {number % 12}" for number in range(6000)]


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
    trust = confidence(probs, labels, SLIDES, fit=True)
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
    trust = confidence(values, np.array(labels, dtype=np.int64), ["a", "b"][: len(labels)], fit)
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
    alone, both = confidence(probs, labels, SLIDES, fit=True), confidence(probs, labels, SLIDES, fit=True, bias=True)
    assert alone.scaling.bias == ()
    assert both.scaling.temperature == pytest.approx(2.0, rel=0.06)
    assert both.scaling.bias == pytest.approx([-0.5, 0.25, 0.25], abs=0.06)  # -1.5 / 2 of the first, mean 0
    assert all(both.after[name] < alone.after[name] < both.before[name] for name in ("brier", "nll"))
    assert both.after["ece"] < alone.after["ece"]
    assert both.note is None
    numbers = (both.scaling.temperature, *both.scaling.bias)
    assert [round(one, 6) for one in numbers] == list(numbers), "what is written is what was used"


def test_without_a_temperature_there_are_no_offsets_either() -> None:
    trust = confidence(*one_sided_scores(), SLIDES, fit=False, bias=True)
    assert trust.scaling == AS_TRAINED
    assert trust.before == trust.after


def test_offsets_that_would_leave_nothing_wrong_are_not_taken() -> None:
    """p 0.6 to 0.9 of the first class: 0.75 in between parts them, so that no offset is the best."""
    first = np.array([0.6, 0.65, 0.7, 0.8, 0.85, 0.9, 0.3] * 2)
    labels = np.array([1, 1, 1, 0, 0, 0, 1] * 2)
    slides = ["a"] * 7 + ["b"] * 7
    trust = confidence(np.stack([first, 1 - first], axis=1), labels, slides, fit=True, bias=True)
    assert trust.scaling == confidence(np.stack([first, 1 - first], axis=1), labels, slides, fit=True).scaling
    assert trust.note is not None
    assert "no offsets: they would leave no validation score wrong" in trust.note


# ------------------------------------------------------------------ kept only where it wins


def test_a_calibrated_network_keeps_temperature_1_though_another_fits_its_scores_better() -> None:
    """Labels drawn from the very probabilities: what a fit gains there is noise, and it must not reach the maps."""
    probs, labels = drawn_scores(1.0)
    chosen = np.arange(600)
    fitted = fit_temperature(probs[chosen], labels[chosen])
    assert abs(fitted - 1) > 0.01
    trust = confidence(probs[chosen], labels[chosen], SLIDES[:600], fit=True)
    assert trust.scaling == AS_TRAINED
    assert trust.before == trust.after
    assert trust.note is not None
    apart = held_out(
        probs[chosen], labels[chosen], np.array(SLIDES[:600]), lambda p, y: Scaling(round(fit_temperature(p, y), 6))
    )
    fall = nll(probs[chosen], labels[chosen]) - nll(apart, labels[chosen])
    assert fall > 0
    assert trust.note.startswith(
        f"no temperature: on slides it was not fitted on the log-loss falls by {fall:.4f}, 95 % interval -0.0"
    )
    assert trust.note.endswith(", which holds 0")


def counted_scores(rows: list[tuple[float, int, int]], slides: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The same scores on every slide: (p of the first class, how many are right, how many are not)."""
    first = np.concatenate([np.full(right + wrong, p) for p, right, wrong in rows])
    labels = np.concatenate([[0] * right + [1] * wrong for _, right, wrong in rows])
    names = [f"slide {number}" for number in range(slides) for _ in first]
    return np.tile(np.stack([first, 1 - first], axis=1), (slides, 1)), np.tile(labels, slides), names


def test_one_bad_slide_among_good_ones_does_not_move_the_others() -> None:
    """Seven slides are right as often as the network says; one, sure and wrong, pulls the fit of all."""
    good = counted_scores([(0.9, 90, 10)], 7)
    bad = counted_scores([(0.999, 60, 40)], 1)
    probs, labels = np.concatenate([good[0], bad[0]]), np.concatenate([good[1], bad[1]])
    assert fit_temperature(probs, labels) > 1.2
    slides = [*good[2], *["bad"] * 100]
    trust = confidence(probs, labels, slides, fit=True)
    assert trust.scaling == AS_TRAINED
    apart = held_out(probs, labels, np.array(slides), lambda p, y: Scaling(round(fit_temperature(p, y), 6)))
    rise = nll(apart, labels) - nll(probs, labels)
    assert rise > 0
    start = f"no temperature: on slides it was not fitted on the log-loss rises by {rise:.4f}, 95 % interval 0.0"
    assert trust.note is not None
    assert trust.note.startswith(start)
    assert "holds 0" not in trust.note


def test_a_lower_log_loss_is_not_bought_with_a_higher_calibration_error() -> None:
    """Mostly calibrated, and sure in a few cases as often right: a temperature mends these and bends the rest."""
    probs, labels, slides = counted_scores([(0.9, 855, 95), (0.99999, 45, 5)], 8)
    after = scaled(probs, Scaling(fit_temperature(probs, labels)))
    assert nll(after, labels) < nll(probs, labels)
    trust = confidence(probs, labels, slides, fit=True)
    assert trust.scaling == AS_TRAINED
    assert trust.note is not None
    assert "the calibration error rises from 0.005" in trust.note  # by hand: 0.05 * |0.99999 - 0.9|


def test_offsets_are_held_against_the_temperature_alone() -> None:
    """What is wrong is the sureness alone: the temperature stays, the offsets bring nothing that is sure."""
    probs, labels = drawn_scores(2.0)
    trust = confidence(probs, labels, SLIDES, fit=True, bias=True)
    assert trust.scaling == confidence(probs, labels, SLIDES, fit=True).scaling
    assert trust.scaling.temperature == pytest.approx(2.0, rel=0.06)
    assert trust.note is not None
    assert trust.note.startswith("no offsets: ")


def test_a_single_slide_tells_nothing_of_others() -> None:
    probs, labels = drawn_scores(2.0)
    trust = confidence(probs, labels, ["only"] * 6000, fit=True)
    assert trust.scaling == AS_TRAINED
    assert trust.note == "no temperature: the scores are of a single validation slide or patient"


def test_every_slide_is_scaled_by_a_fit_of_the_others() -> None:
    probs, labels = drawn_scores(2.0)
    groups = np.array(["b"] * 100 + ["a"] * 200 + ["b"] * 100)
    own = groups == "a"
    result = held_out(probs[:400], labels[:400], groups, lambda p, y: Scaling(float(len(y)) / 100))
    np.testing.assert_allclose(result[own], scaled(probs[:400][own], Scaling(2.0)))  # 200 scores of b
    np.testing.assert_allclose(result[~own], scaled(probs[:400][~own], Scaling(2.0)))  # 200 of a
    many = np.array([f"p{number % 25:02}" for number in range(400)])
    sizes: list[int] = []
    held_out(probs[:400], labels[:400], many, lambda p, y: sizes.append(len(y)) or AS_TRAINED)
    assert sizes == [352] * 5 + [368] * 5  # ten parts: 3 patients of 16 scores in five of them, 2 in the others


def test_the_same_seed_gives_the_same_scaling() -> None:
    probs, labels = drawn_scores(1.15)
    first, second = (confidence(probs, labels, SLIDES, fit=True, bias=True, seed=5) for _ in range(2))
    assert first == second
