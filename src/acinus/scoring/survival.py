"""How well a risk orders survival: Harrell's C, Kaplan-Meier curves, and the log-rank test between two groups.

The test is scipy's. The rest is too little for lifelines or scikit-survival, which bring solvers of their own.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Curve:
    """A Kaplan-Meier estimate: from `times[i]` on (events, ascending) the share `survival[i]` lives.

    at_risk: of how many, just before each time. Before the first time the share is 1.
    """

    times: tuple[float, ...]
    survival: tuple[float, ...]
    at_risk: tuple[int, ...]


def c_index(time: np.ndarray, event: np.ndarray, risk: np.ndarray, stratum: np.ndarray | None = None) -> float | None:
    """Return the share of comparable pairs in which the one that dies first has the higher risk, a tie counting half.

    time (n,), event (n,) 1 or 0 (censored), risk (n,) higher for worse. A pair is comparable where the one of shorter
    time had the event, or both have one time and one of them the event. stratum (n,): only pairs within one are
    compared, those of one model, since risks of several models have no common zero. None where no pair is comparable.

    Source: Harrell et al., Evaluating the yield of medical tests, JAMA 247 (1982) 2543-2546.
    """
    died = event == 1
    same = np.ones((time.size, time.size), dtype=bool) if stratum is None else stratum[:, None] == stratum[None, :]
    earlier, at_once = time[:, None] < time[None, :], time[:, None] == time[None, :]
    first = same & died[:, None] & (earlier | (at_once & ~died[None, :]))
    pairs = int(first.sum())
    if not pairs:
        return None
    ahead, tied = (compare(risk[:, None], risk[None, :]) & first for compare in (np.greater, np.equal))
    return (int(ahead.sum()) + 0.5 * int(tied.sum())) / pairs


def kaplan_meier(time: np.ndarray, event: np.ndarray) -> Curve:
    """Return the product-limit estimate of survival (Kaplan and Meier 1958) at the times of events."""
    times, place = np.unique(time, return_inverse=True)
    deaths = np.bincount(place, weights=event == 1, minlength=times.size)
    at_risk = time.size - np.searchsorted(np.sort(time), times, side="left")
    survival = np.cumprod(1.0 - deaths / at_risk) if times.size else np.zeros(0)
    kept = deaths > 0
    return Curve(
        times=tuple(times[kept].tolist()),
        survival=tuple(survival[kept].tolist()),
        at_risk=tuple(at_risk[kept].tolist()),
    )


def log_rank(time: np.ndarray, event: np.ndarray, group: np.ndarray) -> float | None:
    """Return the two-sided p value that both groups (bool (n,)) have one survival; None where a group is empty.

    None too where nobody had the event. Source: Mantel 1966, by `scipy.stats.logrank`.
    """
    from scipy.stats import CensoredData, logrank

    sides = [(time[mask], event[mask] == 1) for mask in (group, ~group)]
    if any(not times.size for times, _ in sides) or not any(died.any() for _, died in sides):
        return None
    data = [CensoredData(uncensored=times[died], right=times[~died]) for times, died in sides]
    p_value = float(logrank(*data).pvalue)
    return p_value if np.isfinite(p_value) else None


def high_risk(risk: np.ndarray, stratum: np.ndarray | None = None) -> np.ndarray:
    """Return which are above the median risk (of their stratum), bool (n,): the two groups of curves and test."""
    high = np.zeros(risk.size, dtype=bool)
    strata = np.zeros(risk.size) if stratum is None else stratum
    for one in np.unique(strata):
        inside = strata == one
        high[inside] = risk[inside] > np.median(risk[inside])
    return high
