"""The operating point: Optuna over threshold and clean-up, and what of that is better than the plain point for sure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna

from acinus import params
from acinus.calibration.point_score import Result
from acinus.regions.operating_point import OperatingPoint
from acinus.scoring.bootstrap import Paired, paired_bootstrap

Evaluate = Callable[[OperatingPoint], Result]
LOWEST, HIGHEST, STEP = 0.05, 0.95, 0.01
"""Thresholds searched."""
PEAKS = (0.9, 0.98, 0.99)
SEARCHED = ("smoothing_px", "max_hole_um2", "min_region_um2", "min_peak", "threshold")
"""What is searched; undone in this order."""
LEAST_GROUPS = 6
"""Patients (slides where none is named) from which on a gain can be told from chance: that all of fewer gain happens by
chance alone in more than 5 % of cases, two-sided (2 * 2^-5 = 6.3 % of five, 3.1 % of six)."""
LEAST_NORMAL = 5
"""Normal slides from which on their specificity has a floor."""
RESAMPLES = 1000


@dataclass(frozen=True)
class Tried:
    """One trial: the point's searched settings, its value and slide specificity, None where undefined."""

    settings: dict[str, float]
    value: float | None
    specificity: float | None


@dataclass(frozen=True)
class Found:
    """The chosen point with what it and the plain point are worth, and every trial in order.

    gain: of the chosen over the plain point, with its interval; None where the plain point was kept. note: what kept
    the point plain or moved it for another reason than its value, else None.
    """

    point: OperatingPoint
    chosen: Result
    plain: Result
    tried: tuple[Tried, ...]
    gain: Paired | None = None
    note: str | None = None


def search(
    evaluate: Evaluate,
    plain: OperatingPoint,
    settings: params.Calibrate,
    with_threshold: bool,
    groups: Mapping[str, str],
    seed: int,
) -> Found:
    """Return the point that `settings.trials` trials, of which `plain` is the first, show to be better than `plain`.

    with_threshold: whether there is one to search. A setting whose range is a single value is not searched either.
    groups: slide_id -> what is resampled (its patient). Of the tried points:

    - The floor: with LEAST_NORMAL normal slides or more, none below settings.min_specificity is taken where any
      reaches it; where plain itself is below, the best that reaches it is taken. Where none reaches it, the note says.
    - The gain: else plain is kept but for a point of higher value whose paired 95 % interval over resampled groups is
      above 0, and whose specificity is not below plain's. Fewer than LEAST_GROUPS groups show no gain.
    - Every single setting goes back to plain's where that cannot be told to be worse, under the same conditions.

    The same seed and values give the same point. Without trials, or where plain's value is undefined, it is plain.

    Sampler: TPE (Bergstra et al. 2011).
    """
    at_plain = evaluate(plain)
    if at_plain.value is None or not settings.trials:
        return Found(plain, at_plain, at_plain, ())
    judge = _Judge(evaluate, (plain, at_plain), groups, settings.min_specificity, seed % 2**32)
    trials = _trials(evaluate, plain, settings, with_threshold, seed, judge.asked)
    (point, chosen), gain, note = judge.choose([(point, result) for point, _, result in trials])
    tried = tuple(Tried(searched, result.value, result.specificity) for _, searched, result in trials)
    return Found(point, chosen, at_plain, tried, gain, note)


_Candidate = tuple[OperatingPoint, Result]


@dataclass(frozen=True)
class _Judge:
    """Tells which of the tried points is taken; see `search`."""

    evaluate: Evaluate
    plain: _Candidate
    groups: Mapping[str, str]
    least: float
    seed: int

    def choose(self, tried: Sequence[_Candidate]) -> tuple[_Candidate, Paired | None, str | None]:
        floor, notes = self.floor, list[str]()
        if floor is not None:
            reaching = [candidate for candidate in tried if (candidate[1].specificity or 0.0) >= floor]
            if reaching and (self.plain[1].specificity or 0.0) < floor:
                best = self._simplified(self._best(reaching), lambda result: (result.specificity or 0.0) >= floor)
                note = f"the plain point calls too many normal slides tumour: slide specificity below {floor:g}"
                return best, self._paired(self.plain[1], best[1]), note
            if not reaching:
                most = max(result.specificity or 0.0 for _, result in tried)
                notes.append(f"no point reaches a slide specificity of {floor:g}: {most:.3g} at most")
        best = self._best([candidate for candidate in tried if self._harmless(candidate[1])])
        if self._wins(best[1]):
            best = self._simplified(best, lambda result: self._harmless(result) and self._wins(result))
            return best, self._paired(self.plain[1], best[1]), "; ".join(notes) or None
        if self._enough:
            notes.append("the plain point: no trial is better by a 95 % interval over patients")
        else:
            number = len(set(self.groups.values()))
            notes.append(
                f"the plain point: {number} {'patient or slide' if number == 1 else 'patients or slides'} to judge by, "
                f"{LEAST_GROUPS} are needed to tell a gain"
            )
        return self.plain, None, "; ".join(notes)

    @property
    def asked(self) -> float:
        """The specificity that the sampler is led to: the floor, or that of the plain point."""
        return max(self.floor or 0.0, self.plain[1].specificity or 0.0)

    @property
    def floor(self) -> float | None:
        """The specificity that is asked for, None where there are too few normal slides to ask for any."""
        normal = [call for true, call in self.plain[1].calls.values() if true is False and call is not None]
        return self.least if self.least > 0 and len(normal) >= LEAST_NORMAL else None

    @property
    def _enough(self) -> bool:
        return len(set(self.groups.values())) >= LEAST_GROUPS

    def _harmless(self, result: Result) -> bool:
        """Return whether no more normal slides are called tumour than by the plain point."""
        before = self.plain[1].specificity
        return before is None or (result.specificity is not None and result.specificity >= before)

    def _best(self, candidates: Sequence[_Candidate]) -> _Candidate:
        """Return the candidate of the highest value, of equal ones the nearest to plain; undefined ones come last."""

        def rank(candidate: _Candidate) -> tuple[float, ...]:
            point, result = candidate
            away = {name: abs(getattr(point, name) - getattr(self.plain[0], name)) for name in SEARCHED}
            steps, sizes = sum(change > 0 for change in away.values()), away["max_hole_um2"] + away["min_region_um2"]
            value = -np.inf if result.value is None else result.value
            return value, -steps, -sizes, -away["smoothing_px"], -away["min_peak"], -away["threshold"]

        return max(candidates, key=rank)

    def _wins(self, result: Result) -> bool:
        """Return whether a result is better than the plain point's for sure."""
        low = self._paired(self.plain[1], result).low if self._enough else None
        return low is not None and low > 0

    def _paired(self, first: Result, second: Result) -> Paired:
        names = list(first.calls or first.slides)
        groups = [self.groups.get(name, name) for name in names]
        return paired_bootstrap(groups, first.over(names), second.over(names), RESAMPLES, self.seed)

    def _simplified(self, best: _Candidate, allowed: Callable[[Result], bool]) -> _Candidate:
        """Return the point with every setting at plain's that is as good there: a sampler's numbers mean nothing."""
        point, result = best
        for name in SEARCHED:
            simpler = point.model_copy(update={name: getattr(self.plain[0], name)})
            if simpler == point:
                continue
            other = self.evaluate(simpler)
            if allowed(other) and self._as_good(other, best[1]):
                point, result = simpler, other
        return point, result

    def _as_good(self, simpler: Result, best: Result) -> bool:
        """Return whether a simpler point cannot be told to be worse than the best."""
        if simpler.value is None or best.value is None or simpler.value >= best.value:
            return simpler.value is not None
        low = self._paired(simpler, best).low if self._enough else None
        return low is not None and low <= 0


def _trials(
    evaluate: Evaluate, plain: OperatingPoint, settings: params.Calibrate, with_threshold: bool, seed: int, asked: float
) -> list[tuple[OperatingPoint, dict[str, float], Result]]:
    """Return every trial's point, the settings that were searched, and its result; the first is the plain point's."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed % 2**32)  # numpy's old generator takes no more bits
    study = optuna.create_study(direction="maximize", sampler=sampler)
    # first of all plain, then peak, smoothing and threshold on a coarse grid
    as_it_is = {name: getattr(plain, name) for name in SEARCHED}
    study.enqueue_trial(as_it_is)
    for smoothing in dict.fromkeys((settings.max_smoothing_px, 0.0)):
        for peak in PEAKS:
            for threshold in (0.5, 0.2) if peak <= settings.most_peak else ():
                grid = {"threshold": threshold, "min_peak": peak, "smoothing_px": smoothing}
                study.enqueue_trial(as_it_is | grid)
    trials = []
    for _ in range(settings.trials):
        trial = study.ask()
        searched = _suggested(trial, plain, settings, with_threshold)
        point = plain.model_copy(update=searched)
        result = evaluate(point)
        if result.value is None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:  # what is not specific enough is worse than all that is, the more the further
            short = asked - (result.specificity or 0.0)
            study.tell(trial, result.value - (1.0 + short if short > 0 else 0.0))
        trials.append((point, searched, result))
    return trials


def _suggested(
    trial: optuna.Trial, plain: OperatingPoint, settings: params.Calibrate, with_threshold: bool
) -> dict[str, float]:
    """Return the searched settings of one trial, rounded to what a person would write."""
    chosen: dict[str, float] = {}
    if with_threshold:
        chosen["threshold"] = round(trial.suggest_float("threshold", LOWEST, HIGHEST, step=STEP), 2)
    if settings.most_peak:
        chosen["min_peak"] = round(trial.suggest_float("min_peak", 0.0, settings.most_peak), 2)
    if settings.max_smoothing_px:
        chosen["smoothing_px"] = round(trial.suggest_float("smoothing_px", 0.0, settings.max_smoothing_px), 2)
    for name, most in (("min_region_um2", settings.most_region_um2), ("max_hole_um2", settings.most_hole_um2)):
        least = getattr(plain, name)
        if most > least:
            size = trial.suggest_float(name, least, most, log=least > 0)
            chosen[name] = float(min(max(round(size), least), most))
    return chosen
