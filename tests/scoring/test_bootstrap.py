"""The bootstrap, of one metric and of two, against exact enumeration and theory; groups stay whole."""

import itertools

import numpy as np
import pytest
from scipy.stats import ttest_rel

from acinus.scoring.auc import auc
from acinus.scoring.bootstrap import Paired, Statistic, interval, paired_bootstrap


def test_matches_the_exact_distribution_of_all_resamples() -> None:
    values = np.array([0.0, 1.0, 5.0, 7.0])
    exact = [np.mean(draw) for draw in itertools.product(values, repeat=4)]  # all 256 equally likely resamples
    found = interval(["a", "b", "c", "d"], lambda i: float(values[i].mean()), 20_000, seed=3, level=0.8)
    assert found.low == pytest.approx(np.quantile(exact, 0.1), abs=0.26)  # the values lie 0.25 apart
    assert found.high == pytest.approx(np.quantile(exact, 0.9), abs=0.26)
    assert found.n_undefined == 0


def test_mean_of_many_slides_has_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(10, 2, 400)
    found = interval([f"s{i}" for i in range(400)], lambda i: float(values[i].mean()), 2000, seed=5)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)


def test_groups_are_drawn_whole_and_as_many_as_there_are() -> None:
    groups = ["p2", "p1", "p2", "p3", "p2", "p1"]
    members = {"p1": [1, 5], "p2": [0, 2, 4], "p3": [3]}
    seen: set[str] = set()

    def statistic(items: np.ndarray) -> float:
        count = np.bincount(items, minlength=6)
        times = []
        for name, own in members.items():
            assert len(set(count[own])) == 1, "a group was split"
            times.append(count[own[0]])
            seen.update([name] if count[own[0]] else [])
        assert sum(times) == 3
        return 0.0

    assert interval(groups, statistic, 200, seed=0) == (0.0, 0.0, 0)
    assert seen == set(members)


def test_patches_of_one_slide_do_not_narrow_the_interval() -> None:
    values = np.array([0.2, 0.8, 0.4, 0.6])
    by_slide = interval(list("abcd"), lambda i: float(values[i].mean()), 500, seed=9)
    many = np.repeat(values, 50)
    by_patch = interval(list(np.repeat(list("abcd"), 50)), lambda i: float(many[i].mean()), 500, seed=9)
    assert by_patch.low == pytest.approx(by_slide.low)
    assert by_patch.high == pytest.approx(by_slide.high)


def test_undefined_resamples_are_left_out_and_counted() -> None:
    labels, scores = np.array([1, 0, 0]), np.array([0.9, 0.1, 0.95])
    found = interval(list("abc"), lambda i: auc(scores[i], labels[i]), 9000, seed=2)
    # undefined with no positive (8/27) or three positives (1/27): 1/3 of 9000
    assert found.n_undefined == pytest.approx(3000, abs=200)
    assert (found.low, found.high) == (0.0, 1.0)
    assert interval(list("abc"), lambda _: float("nan"), 7, seed=2) == (None, None, 7)


@pytest.mark.parametrize(("groups", "resamples"), [([], 10), (["a", "a"], 10), (["a", "b"], 0)])
def test_what_cannot_vary_has_no_interval(groups: list[str], resamples: int) -> None:
    assert interval(groups, lambda i: float(i.size), resamples, seed=0) == (None, None, 0)


def test_seed_decides_and_the_order_of_items_does_not() -> None:
    values = np.arange(12.0)
    names = [f"s{i:02}" for i in range(12)]
    first = interval(names, lambda i: float(values[i].mean()), 100, seed=1)
    assert first == interval(names, lambda i: float(values[i].mean()), 100, seed=1)
    assert first != interval(names, lambda i: float(values[i].mean()), 100, seed=2)
    turned = values[::-1]
    assert first == interval(names[::-1], lambda i: float(turned[i].mean()), 100, seed=1)


# ---------------------------------------------------------------- two models on the same slides


def mean(values: np.ndarray) -> Statistic:
    return lambda items: float(values[items].mean())


def test_the_difference_matches_the_exact_distribution_of_all_resamples() -> None:
    first, second = np.array([0.0, 2.0, 4.0, 1.0]), np.array([1.0, 5.0, 3.0, 3.0])
    exact = [float(np.mean(draw)) for draw in itertools.product(second - first, repeat=4)]  # 1, 3, -1, 2
    p_value = 2 * min(np.mean([d <= 0 for d in exact]), np.mean([d >= 0 for d in exact]))
    found = paired_bootstrap(list("abcd"), mean(first), mean(second), 20_000, seed=3)
    assert found.difference == 1.25
    assert found.low == pytest.approx(np.quantile(exact, 0.025), abs=0.26)  # the values lie 0.25 apart
    assert found.high == pytest.approx(np.quantile(exact, 0.975), abs=0.26)
    assert found.p_value == pytest.approx(p_value, abs=0.01)
    assert found.n_undefined == 0


def test_resamples_are_those_of_the_interval() -> None:
    random = np.random.default_rng(0)
    first, second = random.random(30), random.random(30)
    groups = [f"p{i // 3}" for i in range(30)]
    found = paired_bootstrap(groups, mean(first), mean(second), 300, seed=7)
    alone = interval(groups, mean(second - first), 300, seed=7)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


def test_p_value_of_many_slides_is_that_of_the_paired_t_test() -> None:
    random = np.random.default_rng(12)
    first = random.normal(0.8, 0.1, 300)
    second = first + random.normal(0.006, 0.05, 300)
    found = paired_bootstrap([f"s{i}" for i in range(300)], mean(first), mean(second), 4000, seed=1)
    assert found.p_value == pytest.approx(ttest_rel(second, first).pvalue, abs=0.02)


def test_pairing_takes_the_slides_own_difficulty_out() -> None:
    hard = np.random.default_rng(3).uniform(0, 1, 40)
    names = [f"s{i}" for i in range(40)]
    found = paired_bootstrap(names, mean(hard), mean(hard + 0.01 + 0.001 * np.sin(np.arange(40))), 500, seed=2)
    assert found.low is not None
    assert found.low > 0.009
    assert found.p_value == pytest.approx(2 / 501)  # no resample on the other side: the smallest there is


def test_equal_models_do_not_differ() -> None:
    values = np.arange(6.0)
    assert paired_bootstrap(list("abcdef"), mean(values), mean(values), 100, seed=0) == Paired(0.0, 0.0, 0.0, 1.0, 0)


def test_swapped_models_mirror_the_answer() -> None:
    random = np.random.default_rng(5)
    one, other, names = random.random(9), random.random(9), list("abcdefghi")
    there, back = (paired_bootstrap(names, mean(a), mean(b), 400, seed=4) for a, b in ((one, other), (other, one)))
    assert there.difference == pytest.approx(-np.float64(back.difference))
    assert (there.low, there.high) == pytest.approx((-np.float64(back.high), -np.float64(back.low)))
    assert there.p_value == back.p_value


def test_undefined_resamples_of_either_run_are_left_out_and_counted() -> None:
    labels, scores, values = np.array([1, 0, 0]), np.array([0.9, 0.1, 0.95]), np.array([0.5, 0.5, 0.5])

    def of_auc(items: np.ndarray) -> float | None:
        return auc(scores[items], labels[items])

    for pair in ((of_auc, mean(values)), (mean(values), of_auc)):
        found = paired_bootstrap(list("abc"), *pair, 9000, seed=2)
        assert found.n_undefined == pytest.approx(3000, abs=200)  # no or only positives: (8 + 1) / 27
        assert found.p_value is not None
    nothing = paired_bootstrap(list("abc"), mean(values), lambda _: None, 50, seed=2)
    assert nothing == Paired(None, None, None, None, 50)
    assert paired_bootstrap(list("abc"), lambda _: float("nan"), mean(values), 50, seed=2) == nothing


@pytest.mark.parametrize(("groups", "resamples"), [(["a", "a"], 10), (["a", "b"], 0)])
def test_what_cannot_vary_has_a_difference_alone(groups: list[str], resamples: int) -> None:
    found = paired_bootstrap(groups, mean(np.array([1.0, 2.0])), mean(np.array([3.0, 5.0])), resamples, seed=0)
    assert found == Paired(2.5, None, None, None, 0)
