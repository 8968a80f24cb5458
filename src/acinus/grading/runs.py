"""Which slides teach, which decide, which are predicted: the runs of cross-validation, or the one of the splits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from acinus import params
from acinus.cohorts import folds as drawing
from acinus.cohorts.splits import NO_PROVIDER
from acinus.errors import AcinusError
from acinus.grading.targets import Target, Truth, read_target
from acinus.seeds import derive


@dataclass(frozen=True)
class Subject:
    """A slide that can be predicted. site: None where unknown."""

    slide_id: str
    patient: str
    site: str | None
    split: str
    truth: Truth

    @property
    def labelled(self) -> bool:
        """Whether its label is known."""
        return self.truth.value is not None


@dataclass(frozen=True)
class Run:
    """Models of their own. repeat, fold: from 1; fold None without folds. train, val: ids of labelled slides to learn
    from, and to stop and calibrate by. predict: ids of slides that no model of the run has seen, nor any of their
    patients (without folds the training slides too). also: ids of those that all runs predict together.
    """

    repeat: int
    fold: int | None
    train: tuple[str, ...]
    val: tuple[str, ...]
    predict: tuple[str, ...]
    also: tuple[str, ...] = ()


def subject(row: Mapping[str, Any], target: Target) -> Subject:
    """Return the slide of a row of records.MANIFEST."""
    site = None if row["provider"] == NO_PROVIDER else row["provider"]
    return Subject(row["slide_id"], row["patient"], site, row["split"], target.truth[row["slide_id"]])


def check_labels(
    grade: params.Grade,
    folds: params.Folds | None,
    rows: Sequence[Mapping[str, Any]],
    labels: Mapping[str, Mapping[str, str]],
) -> None:
    """Refuse labels that cannot be learned, or be divided into folds, before any work on pixels.

    rows, labels: see `targets.read_target`, of all usable slides, with tissue or not.

    Raises:
        AcinusError: see `read_target` and `draw`.
    """
    target = read_target(grade, rows, labels)
    if folds is not None:
        draw([subject(row, target) for row in rows], target, folds, seed=0)


def groups_of(subjects: Sequence[Subject], by: str) -> dict[str, str]:
    """Return slide_id -> what stays together in one fold."""
    return {one.slide_id: one.patient if by == "patient" else one.slide_id for one in subjects}


def draw(
    subjects: Sequence[Subject], target: Target, settings: params.Folds, seed: int
) -> tuple[list[dict[str, int]], list[str]]:
    """Return slide_id -> fold (from 1) of each repeat, and lines of warning.

    Slides of the test split have no fold, nor has one whose patient has no label at all.

    Raises:
        AcinusError: see `cohorts.folds.assign`.
    """
    pool = [one for one in subjects if one.split != "test"]
    groups, labelled = groups_of(pool, settings.by), [one for one in pool if one.labelled]
    strata, names = _strata(labelled, target) if settings.stratify else ([""] * len(labelled), {})
    placed = [
        drawing.Placed(one.slide_id, groups[one.slide_id], stratum, one.site or "")
        for one, stratum in zip(labelled, strata, strict=True)
    ]
    notes = list(drawing.warnings(placed, settings.k, names))
    repeats = []
    for repeat in range(1, settings.repeats + 1):
        fold = drawing.assign(placed, settings.k, derive(seed, repeat), settings.preserve_site)
        repeats.append({slide: fold[group] + 1 for slide, group in groups.items() if group in fold})
    if any(one == other for one, other in combinations(repeats, 2)):
        notes.append(f"cohort.folds.repeats = {settings.repeats}: some of them are the same folds; write fewer")
    if settings.by == "slide" and len(pool) > len({one.patient for one in pool}):
        notes.append("cohort.folds.by = slide: patients have slides in several folds, so figures may be too good")
    return repeats, notes


def _strata(labelled: Sequence[Subject], target: Target) -> tuple[list[str], dict[str, str]]:
    """Return the stratum of each slide, and what strata are called."""
    values = [one.truth.value or 0.0 for one in labelled]
    if target.kind == "regression":
        strata = drawing.strata_of_numbers(values)
        return strata, {name: f"{target.name}, quarter {int(name) + 1}" for name in set(strata)}
    if target.kind == "survival":
        events = drawing.strata_of_classes(one.truth.event or 0 for one in labelled)
        return events, dict(zip(drawing.strata_of_classes((0, 1)), ("censored", "event"), strict=True))
    places = drawing.strata_of_classes(range(len(target.classes)))
    return drawing.strata_of_classes(values), dict(zip(places, target.classes, strict=True))


def plan(subjects: Sequence[Subject], folds: Sequence[Mapping[str, int]] | None) -> list[Run]:
    """Return the runs. folds: of each repeat (see `draw`), None for the splits train and val.

    Fold i is predicted by models that learn from all others but the next one, by which they stop and are calibrated; of
    two folds none is left for that.
    """
    if folds is None:
        labelled = {split: _ids(s for s in subjects if s.labelled and s.split == split) for split in ("train", "val")}
        return [Run(1, None, labelled["train"], labelled["val"], _ids(subjects))]
    runs = []
    for repeat, fold in enumerate(folds, start=1):
        k = max(fold.values())
        also = _ids(one for one in subjects if one.slide_id not in fold)
        for number in range(1, k + 1):
            following = number % k + 1 if k > 2 else 0
            inside = [one for one in subjects if one.slide_id in fold]
            val = _ids(s for s in inside if s.labelled and fold[s.slide_id] == following)
            train = _ids(s for s in inside if s.labelled and fold[s.slide_id] not in (number, following))
            runs.append(Run(repeat, number, train, val, _ids(s for s in inside if fold[s.slide_id] == number), also))
    return runs


def _ids(subjects: Iterable[Subject]) -> tuple[str, ...]:
    return tuple(one.slide_id for one in subjects)


def check(runs: Sequence[Run], subjects: Sequence[Subject], target: Target) -> None:
    """Refuse a run that has nothing to learn from.

    Raises:
        AcinusError: no training slide, or all of one class, or none with an event.
    """
    by_id = {one.slide_id: one.truth for one in subjects}
    for run in runs:
        where = "split train" if run.fold is None else f"fold {run.fold} of repeat {run.repeat}"
        truths = [by_id[slide] for slide in run.train]
        values = {one.value for one in truths}
        remedy = "label more slides, or write fewer folds" if run.fold else "move slides to split train"
        if not truths:
            raise AcinusError(f"{where}: no slide with a label and tissue to learn {target.name} from; {remedy}")
        if len(values) < 2:
            raise AcinusError(f"{where}: all {len(truths)} slides to learn from are {truths[0].text!r}; {remedy}")
        if target.kind == "survival" and not any(one.event for one in truths):
            raise AcinusError(f"{where}: none of {len(truths)} slides to learn from has the event; {remedy}")
