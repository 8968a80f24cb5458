"""Which slides are predicted together in cross-validation: folds by patient, alike in labels, or of whole sites."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from acinus.errors import AcinusError
from acinus.seeds import derive

QUANTILES = 4
"""Strata of a label that is a number."""

KEY = "cohort.folds"


@dataclass(frozen=True)
class Placed:
    """A slide with a label, to be given a fold. group: its patient, or itself. stratum: what is to be spread evenly
    (the largest of a group counts). site: where it comes from, "" where unknown.
    """

    slide_id: str
    group: str
    stratum: str
    site: str = ""


def assign(slides: Sequence[Placed], k: int, seed: int, preserve_site: bool = False) -> dict[str, int]:
    """Return group -> fold, 0 to k - 1; slides of one group stay together, and each stratum is spread over the folds.

    A group's place in the order of its stratum depends on the seed and its own name alone; the order is cut into k
    parts, of which the seed and the stratum say which fold comes first: one patient more moves at most k - 1 others
    (more only where there are so few that a fold would stay empty).
    preserve_site: all slides of a site are in one fold, the shares of the strata as near to 1 / k as that allows
    (Howard et al., Nature Communications 12 (2021) 4423).

    Raises:
        AcinusError: fewer groups, or fewer sites, than folds; a group of two sites; a site that is not known.
    """
    strata: dict[str, str] = {}
    for slide in slides:
        strata[slide.group] = max(strata.get(slide.group, slide.stratum), slide.stratum)
    if len(strata) < k:
        raise AcinusError(
            f"{KEY}.k = {k}: only {len(strata)} patients (or slides, by: slide) have a label; write a smaller k, at "
            "most their number"
        )
    if preserve_site:
        of_site = _whole_sites(_sites(slides), strata, k, seed)
        return {group: of_site[site] for group, site in _sites(slides).items()}
    orders: dict[str, list[str]] = {stratum: [] for stratum in sorted(set(strata.values()))}
    for group in sorted(strata, key=lambda name: (derive(seed, "fold", name), name)):
        orders[strata[group]].append(group)
    drawn = {stratum: derive(seed, "stratum", stratum) % k for stratum in orders}
    folds = _cut(orders, drawn, k)
    return folds if len(set(folds.values())) == k else _cut(orders, {}, k)  # of so few that a fold stayed empty


def _cut(orders: Mapping[str, Sequence[str]], first: Mapping[str, int], k: int) -> dict[str, int]:
    """Return group -> fold. first: of a stratum's k parts, the fold of the first; else the one that evens sizes out."""
    folds: dict[str, int] = {}
    sizes = np.zeros(k, dtype=np.int64)
    for stratum, groups in orders.items():
        parts = np.arange(len(groups)) * k // len(groups)
        counts = np.bincount(parts, minlength=k)
        costs = [int(((sizes + np.roll(counts, shift)) ** 2).sum()) for shift in range(k)]
        shift = first.get(stratum, int(np.argmin(costs)))
        sizes += np.roll(counts, shift)
        folds |= {group: (shift + part) % k for group, part in zip(groups, parts.tolist(), strict=True)}
    return folds


def _sites(slides: Sequence[Placed]) -> dict[str, str]:
    """Return group -> site."""
    sites: dict[str, str] = {}
    for slide in slides:
        if not slide.site:
            raise AcinusError(
                f"{KEY}.preserve_site: slide {slide.slide_id} has no site; fill the column site of the table, or write "
                "preserve_site: false"
            )
        if sites.setdefault(slide.group, slide.site) != slide.site:
            raise AcinusError(
                f"{KEY}.preserve_site: {slide.group} has slides of the sites {sites[slide.group]} and {slide.site} "
                f"({slide.slide_id}), so that no fold can hold a whole site; correct the table, or write "
                "preserve_site: false"
            )
    return sites


def _whole_sites(sites: Mapping[str, str], strata: Mapping[str, str], k: int, seed: int) -> dict[str, int]:
    """Return site -> fold: the largest sites first, each where it fits best; then moves and swaps while they help."""
    names = sorted(set(sites.values()), key=lambda site: derive(seed, "site", site))
    if len(names) < k:
        raise AcinusError(
            f"{KEY}.k = {k} with preserve_site: only {len(names)} sites ({', '.join(sorted(names))}), and a site is "
            f"never divided; write k: {max(len(names), 2)}, or preserve_site: false"
        )
    kinds = sorted(set(strata.values()))
    share = np.zeros((len(names), len(kinds)))  # of each stratum's groups that a site has
    for group, site in sites.items():
        share[names.index(site), kinds.index(strata[group])] += 1
    share /= share.sum(axis=0)
    fold = np.zeros(len(names), dtype=np.int64)
    sums = np.zeros((k, len(kinds)))
    for place, row in enumerate(np.argsort(-share.sum(axis=1), kind="stable").tolist()):
        # the first k sites open a fold each, so that none is empty
        fold[row] = place if place < k else int(((sums + share[row]) ** 2).sum(axis=1).argmin())
        sums[fold[row]] += share[row]
    while (better := _better(fold, share, k)) is not None:
        fold = better
    return dict(zip(names, fold.tolist(), strict=True))


def _better(fold: np.ndarray, share: np.ndarray, k: int) -> np.ndarray | None:
    """Return the best assignment one move or swap away, None where none is better; no fold is left empty."""
    best, least = None, unevenness(fold, share, k) - 1e-12
    for candidate in _neighbours(fold, k):
        if (cost := unevenness(candidate, share, k)) < least:
            best, least = candidate, cost - 1e-12
    return best


def _neighbours(fold: np.ndarray, k: int) -> Iterator[np.ndarray]:
    sizes = np.bincount(fold, minlength=k)
    for site, target in product(range(len(fold)), range(k)):
        if fold[site] != target and sizes[fold[site]] > 1:
            moved = fold.copy()
            moved[site] = target
            yield moved
    for one, other in product(range(len(fold)), repeat=2):
        if one < other and fold[one] != fold[other]:
            swapped = fold.copy()
            swapped[[one, other]] = fold[[other, one]]
            yield swapped


def unevenness(fold: np.ndarray, share: np.ndarray, k: int) -> float:
    """Return the squared distances of the folds' shares of each stratum from 1 / k, added up.

    fold (sites,), share (sites, strata): of each stratum's groups that a site has.
    """
    sums = np.zeros((k, share.shape[1]))
    np.add.at(sums, fold, share)
    return float(((sums - 1 / k) ** 2).sum())


def strata_of_classes(values: Iterable[int | float]) -> list[str]:
    """Return the stratum of each class index (or event 0, 1), such that later classes are larger texts."""
    return [f"{int(value):03d}" for value in values]


def strata_of_numbers(values: Sequence[float]) -> list[str]:
    """Return the quarter of all values that each lies in, as text."""
    edges = np.quantile(np.asarray(values, dtype=np.float64), np.arange(1, QUANTILES) / QUANTILES)
    return [str(place) for place in np.searchsorted(edges, values, side="left").tolist()]


def warnings(slides: Sequence[Placed], k: int, names: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each stratum with fewer groups than folds. names: stratum -> what a person calls it."""
    groups: dict[str, str] = {}
    for slide in slides:
        groups[slide.group] = max(groups.get(slide.group, slide.stratum), slide.stratum)
    for stratum, count in sorted(Counter(groups.values()).items()):
        if count < k:
            yield (
                f"{names.get(stratum, stratum)}: {count} patient{'s' if count > 1 else ''} for {KEY}.k = {k} folds, so "
                "some folds hold none; figures of single folds may be undefined"
            )


def cramers_v(labels: Sequence[str], sites: Sequence[str]) -> float | None:
    """Return how strongly labels and sites go together, 0 (not) to 1 (one tells the other); None where one is constant.

    Source: Cramer, Mathematical Methods of Statistics (1946), by `scipy.stats.contingency`; not corrected for bias.
    """
    from scipy.stats.contingency import association, crosstab

    if len(set(labels)) < 2 or len(set(sites)) < 2:
        return None
    return float(association(crosstab(list(labels), list(sites)).count, method="cramer"))
