"""Folds: whole groups, even strata, few moves, whole sites as even as can be; and what is refused."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from acinus.cohorts.folds import (
    Placed,
    assign,
    cramers_v,
    strata_of_classes,
    strata_of_numbers,
    unevenness,
    warnings,
)
from acinus.errors import AcinusError

GROUPS = st.dictionaries(st.integers(0, 999), st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=5, max_size=60)


def slides(groups: dict[int, tuple[int, int]]) -> list[Placed]:
    """Group number -> how many slides, and their class."""
    return [
        Placed(f"s{number}-{n}", f"p{number}", f"{stratum:03d}")
        for number, (count, stratum) in groups.items()
        for n in range(count)
    ]


@given(GROUPS, st.integers(2, 5), st.integers(0, 3))
def test_every_group_has_a_fold_no_fold_is_empty_and_strata_are_even(
    groups: dict[int, tuple[int, int]], k: int, seed: int
) -> None:
    folds = assign(slides(groups), k, seed)
    assert set(folds) == {f"p{number}" for number in groups}
    assert set(folds.values()) == set(range(k))
    for stratum in range(3):
        sizes = Counter(folds[f"p{number}"] for number, (_, kind) in groups.items() if kind == stratum)
        counts = [sizes[fold] for fold in range(k)]
        assert max(counts) - min(counts) <= 1
    assert assign(slides(groups)[::-1], k, seed) == folds


@given(st.integers(30, 60), st.integers(0, 20))
def test_one_patient_more_moves_few_others(count: int, seed: int) -> None:
    groups = {number: (1, number % 2) for number in range(count)}
    before, after = assign(slides(groups), 5, seed), assign(slides({**groups, 777: (1, 0)}), 5, seed)
    assert sum(before[name] != after[name] for name in before) <= 4


def test_the_seed_draws_other_folds() -> None:
    groups = {number: (1, number % 2) for number in range(40)}
    assert assign(slides(groups), 5, 1) != assign(slides(groups), 5, 2)


def test_a_group_counts_for_the_largest_of_its_strata() -> None:
    both = [Placed("a", "p", "000"), Placed("b", "p", "001")]
    others = [Placed(f"s{n}", f"q{n}", "001") for n in range(3)]
    folds = assign([*both, *others], 4, 0)
    assert sorted(folds.values()) == [0, 1, 2, 3]  # four of one stratum


def of_sites(sizes: dict[str, tuple[int, int]]) -> list[Placed]:
    return [
        Placed(f"{site}-{stratum}-{n}", f"{site}-{stratum}-{n}", f"{stratum:03d}", site)
        for site, counts in sizes.items()
        for stratum, count in enumerate(counts)
        for n in range(count)
    ]


def test_whole_sites_as_even_as_any_assignment_allows() -> None:
    sizes = {"A": (10, 2), "B": (3, 9), "C": (5, 5), "D": (8, 1), "E": (1, 7), "F": (4, 4), "G": (2, 1)}
    placed = of_sites(sizes)
    folds = assign(placed, 3, 0, preserve_site=True)
    by_site: dict[str, set[int]] = {}
    for one in placed:
        by_site.setdefault(one.site, set()).add(folds[one.group])
    assert all(len(found) == 1 for found in by_site.values())
    assert set(folds.values()) == {0, 1, 2}
    share = np.array(list(sizes.values()), dtype=np.float64)
    share /= share.sum(axis=0)
    ours = unevenness(np.array([next(iter(by_site[site])) for site in sizes]), share, 3)
    best = min(unevenness(np.array(way), share, 3) for way in product(range(3), repeat=len(sizes)))
    assert ours <= best * 1.05 + 1e-9


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(AcinusError, match=r"cohort.folds.k = 5: only 3 patients"):
        assign(slides({1: (2, 0), 2: (1, 1), 3: (1, 0)}), 5, 0)
    with pytest.raises(AcinusError, match=r"k = 3 with preserve_site: only 2 sites \(A, B\).*write k: 2"):
        assign(of_sites({"A": (3, 3), "B": (3, 3)}), 3, 0, preserve_site=True)
    with pytest.raises(AcinusError, match=r"s1 has no site"):
        assign([Placed("s1", "p1", "0"), Placed("s2", "p2", "0", "A")], 2, 0, preserve_site=True)
    with pytest.raises(AcinusError, match=r"p1 has slides of the sites A and B"):
        assign([Placed("s1", "p1", "0", "A"), Placed("s2", "p1", "0", "B")], 1, 0, preserve_site=True)


def test_a_class_of_few_patients_is_named() -> None:
    placed = slides({1: (3, 0), 2: (1, 0), 3: (1, 1)})
    lines = list(warnings(placed, 2, {"000": "benign", "001": "malignant"}))
    assert len(lines) == 1
    assert lines[0].startswith("malignant: 1 patient for cohort.folds.k = 2 folds")


def test_strata() -> None:
    assert strata_of_classes([0, 11, 2]) == ["000", "011", "002"]
    assert strata_of_numbers([1, 2, 3, 4, 5, 6, 7, 8]) == ["0", "0", "1", "1", "2", "2", "3", "3"]


def test_cramers_v_is_that_of_the_chi_square() -> None:
    labels, sites = ["a", "a", "a", "b", "b", "b", "b", "a"], ["X", "X", "Y", "Y", "Y", "Y", "X", "X"]
    table = np.array([[3, 1], [1, 3]])
    chi2 = chi2_contingency(table, correction=False).statistic
    assert cramers_v(labels, sites) == pytest.approx((chi2 / 8) ** 0.5)
    assert cramers_v(["a", "b"] * 4, ["X", "Y"] * 4) == pytest.approx(1.0)
    assert cramers_v(["a"] * 4, ["X", "Y"] * 2) is None
