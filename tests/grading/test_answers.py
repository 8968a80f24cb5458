"""From logits to answers, and what validation slides decide, against tables worked by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from acinus.grading.answers import (
    Decision,
    Scale,
    answer_of,
    best_threshold,
    fit_decision,
    label_of,
    scale_of,
    smoothed_temperature,
)
from acinus.grading.mil import bag_loss
from acinus.scoring.decisions import decide
from acinus.scoring.scaling import Scaling, scaled


def test_numbers_are_standardised_and_put_back() -> None:
    scale = scale_of("regression", np.array([10.0, 20.0, 30.0]), np.ones(3))
    label, _ = label_of(30.0, 1, "regression", scale)
    assert label == pytest.approx(1.2247, abs=1e-4)
    assert answer_of(torch.tensor([label]), "huber", scale) == pytest.approx([30.0])


def test_times_become_intervals() -> None:
    time, event = np.array([2.0, 4.0, 6.0, 8.0, 20.0, 1.0]), np.array([1, 1, 1, 1, 0, 0])
    scale = scale_of("survival", time, event)
    assert scale.edges == (0.0, 3.5, 5.0, 6.5, 20.0)  # quarters of the events; the last time seen
    assert [label_of(t, 1, "survival", scale) for t in (3.5, 3.6, 6.0, 99.0)] == [(0, 1), (1, 1), (2, 1), (3, 1)]
    # censored: all intervals through half of which it was seen (their middles are 1.75, 4.25, 5.75, 13.25)
    assert [label_of(t, 0, "survival", scale)[0] for t in (1.0, 2.0, 4.3, 6.0, 14.0)] == [0, 1, 2, 3, 4]


def test_hazards_are_learned_by_their_likelihood_and_give_a_mean_time() -> None:
    hazard = torch.tensor([0.2, 0.5, 0.9])
    logits = torch.logit(hazard)
    assert float(bag_loss(logits, 1, "hazard", 1)) == pytest.approx(-np.log(0.8 * 0.5), abs=1e-6)
    assert float(bag_loss(logits, 2, "hazard", 0)) == pytest.approx(-np.log(0.8 * 0.5), abs=1e-6)
    assert float(bag_loss(logits, 0, "hazard", 0)) == 0.0
    assert float(bag_loss(logits, 3, "hazard", 0)) == pytest.approx(-np.log(0.8 * 0.5 * 0.1), abs=1e-5)
    alive = [1.0, 0.8, 0.4, 0.04]
    expected = 10 * (alive[0] + alive[1]) / 2 + 20 * (alive[1] + alive[2]) / 2 + 5 * (alive[2] + alive[3]) / 2
    risk = answer_of(logits, "hazard", Scale(edges=(0.0, 10.0, 30.0, 35.0)))
    assert risk == pytest.approx([-expected], abs=1e-5)


def test_the_threshold_of_the_best_balanced_accuracy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        probs, labels = rng.random(30).round(2), rng.integers(0, 2, 30)
        chosen = best_threshold(probs, labels)
        best = max(balanced_accuracy_score(labels, probs >= cut) for cut in np.linspace(0.005, 0.995, 100))
        assert balanced_accuracy_score(labels, probs >= chosen) == pytest.approx(best)
    assert best_threshold(np.array([0.1, 0.9]), np.array([0, 1])) == 0.5
    assert best_threshold(np.array([0.1, 0.9]), np.array([1, 1])) == 0.5


def test_a_temperature_of_few_right_slides_stays_sober() -> None:
    right = np.array([[0.8, 0.2], [0.7, 0.3], [0.2, 0.8], [0.3, 0.7]])
    labels = np.array([0, 0, 1, 1])
    assert 0.3 < smoothed_temperature(right, labels) < 3.0
    # believed with 3/4: the answer that says 3/4 everywhere needs no temperature
    sober = np.array([[0.75, 0.25], [0.75, 0.25], [0.25, 0.75], [0.25, 0.75]])
    assert smoothed_temperature(sober, labels) == pytest.approx(1.0, abs=1e-3)
    # of many slides it is the plain one: said 0.9, right in 7 of 10
    many = np.tile([[0.1, 0.9]], (1000, 1)), np.repeat([1, 0], [700, 300])
    temperature = smoothed_temperature(*many)
    assert scaled(np.array([0.1, 0.9]), Scaling(temperature))[1] == pytest.approx(0.7, abs=0.01)


def test_decisions_by_kind() -> None:
    assert decide("binary", np.array([0.6, 0.4]), 0.35) == 1
    assert decide("binary", np.array([0.6, 0.4])) == 0
    assert decide("classes", np.array([0.3, 0.4, 0.3])) == 1
    assert decide("ordinal", np.array([0.4, 0.05, 0.15, 0.4])) == 2  # the median, not the likeliest
    assert decide("survival", np.array([-3.5])) == -3.5
    nothing = fit_decision("binary", np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    assert nothing == Decision() == fit_decision("regression", np.ones((3, 1)), np.zeros(3, dtype=np.int64))
