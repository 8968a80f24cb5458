"""The search of settings: the best of what was tried, the recipe's own first, alike every time."""

import pytest

from acinus import params
from acinus.errors import AcinusError
from acinus.grading.tuned import tuned

SPACE = {
    "lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "hidden_units": {"low": 4, "high": 64, "whole": True},
    "max_patches": {"choices": [8, 16]},
}


def settings(trials: int = 12) -> params.Grade:
    return params.Grade.model_validate({"target": "x", "kind": "binary", "trials": trials, "space": SPACE})


def test_the_best_trial_is_kept_and_the_first_is_the_recipes_own() -> None:
    seen: list[params.Grade] = []

    def loss(tried: params.Grade) -> float:
        seen.append(tried)
        return abs(tried.lr - 0.01) + abs(tried.hidden_units - 20) / 100

    best = tuned(settings(), True, loss, 3)
    assert len(seen) == 12
    assert (seen[0].lr, seen[0].hidden_units, seen[0].max_patches) == (1e-3, 64, None)
    assert {tried.max_patches for tried in seen[1:]} == {8, 16}
    assert best == min(seen, key=lambda tried: abs(tried.lr - 0.01) + abs(tried.hidden_units - 20) / 100)
    assert tuned(settings(), True, loss, 3) == best
    assert [one.lr for one in seen[12:]] == [one.lr for one in seen[:12]]


def test_a_trial_that_diverges_counts_for_nothing() -> None:
    def loss(tried: params.Grade) -> float:
        if tried.lr < 0.01:
            raise AcinusError("the grader's validation loss is no number")
        return tried.lr

    assert tuned(settings(), True, loss, 3).lr >= 0.01
    with pytest.raises(AcinusError, match=r"none of 1 trials learned anything \(the grader's"):
        tuned(settings(1), True, loss, 3)


def test_nothing_is_searched_without_trials_or_validation_slides() -> None:
    own = params.Grade(target="x", kind="binary")
    assert tuned(own, False, lambda _: 0.0, 1) is own
    with pytest.raises(AcinusError, match="no validation slides to choose by"):
        tuned(settings(), False, lambda _: 0.0, 1)
