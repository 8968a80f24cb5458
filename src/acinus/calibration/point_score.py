"""How good an operating point is on slides whose truth is known: the score that the search raises, and its price."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from acinus.maps.geometry import MapGeometry
from acinus.regions.against_truth import LesionGrid
from acinus.regions.cleaned import cleaned_classes
from acinus.regions.operating_point import CleanUp, OperatingPoint
from acinus.regions.table import find_regions
from acinus.scoring import froc
from acinus.scoring.bootstrap import Statistic
from acinus.scoring.burden import burden_percent, tumour_by_burden
from acinus.scoring.confusion import confusion

Objective = Literal["dice", "f1", "froc"]
LARGE, BAND_ROWS = 1 << 26, 512
"""Values of a map from which it is cleaned band by band (slower, but its memory does not grow), and rows of a band."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One slide's map beside what is known of the slide, all on the map's grid.

    prob: uint8 (channels, rows, columns), p * 255. tissue: bool (rows, columns). truth: uint8 class indices, 255
    unknown, or None where nothing is known. tumour: whether it is a tumour slide, None unknown. lesions: None where
    they are not asked for or not known. mpp: (x, y) um per level-0 px, None unknown. patient: whose slide it is.
    looked: bool (rows, columns), where the model has an answer; None: everywhere, a px that no window covered being 0
    in every channel. Tissue never changes an answer: it is what the burden is a share of.
    """

    slide_id: str
    geometry: MapGeometry
    prob: np.ndarray
    tissue: np.ndarray
    truth: np.ndarray | None
    tumour: bool | None
    lesions: LesionGrid | None = None
    mpp: tuple[float, float] | None = None
    patient: str = ""
    looked: np.ndarray | None = None

    @property
    def group(self) -> str:
        """What is resampled: the patient, or the slide where none is named."""
        return self.patient or self.slide_id

    def looked_at(self, rows: slice) -> np.ndarray:
        """Return where the model has an answer in rows of the map, bool (rows, columns)."""
        return np.ones_like(self.tissue[rows]) if self.looked is None else self.looked[rows]


@dataclass(frozen=True)
class Aim:
    """What a point is judged by. positive: class indices. half_percent: false area, in percent of the tissue, at which
    a class that the slide does not have counts one half. burden_percent: from which burden on a slide is called tumour.
    """

    objective: Objective
    positive: tuple[int, ...]
    half_percent: float
    burden_percent: float


Call = tuple[bool | None, bool | None]
"""Whether it is a tumour slide, and whether it is called one; None unknown, or without tissue."""


@dataclass(frozen=True)
class Result:
    """What an operating point is worth. value: the objective; slides: slide_id -> its own score, None undefined.

    A slide's own score is its area score (dice); 1 or 0, whether it was called rightly (f1); the share of its lesions
    that some region hits (froc). calls: slide_id -> Call. outcomes: of the lesions, slide by slide (froc).
    """

    value: float | None
    slides: dict[str, float | None]
    calls: dict[str, Call] = field(default_factory=dict)
    objective: Objective = "dice"
    outcomes: dict[str, froc.Outcome] = field(default_factory=dict)

    @property
    def specificity(self) -> float | None:
        """Share of the normal slides that are called normal; None without any."""
        return self._share_called(tumour=False)

    @property
    def sensitivity(self) -> float | None:
        """Share of the tumour slides that are called tumour; None without any."""
        return self._share_called(tumour=True)

    def _share_called(self, tumour: bool) -> float | None:
        right = [call == true for true, call in self.calls.values() if true is tumour and call is not None]
        return sum(right) / len(right) if right else None

    def over(self, names: Sequence[str]) -> Statistic:
        """Return the objective as a statistic over chosen positions of `names`; one given twice counts twice."""
        if self.objective == "f1":
            calls = [self.calls[name] for name in names]
            return lambda rows: slide_f1([calls[row] for row in rows])
        if self.objective == "froc":
            outcomes = [self.outcomes.get(name) for name in names]

            def froc_score(rows: np.ndarray) -> float | None:
                curve = froc.curve([outcome for row in rows if (outcome := outcomes[row]) is not None])
                return curve.score if curve else None

            return froc_score
        values = np.array([self.slides[name] for name in names], dtype=np.float64)  # None -> NaN

        def mean(rows: np.ndarray) -> float | None:
            defined = values[rows][~np.isnan(values[rows])]
            return float(defined.mean()) if defined.size else None

        return mean


def measure(slides: Iterable[Judged], point: OperatingPoint, aim: Aim) -> Result:
    """Return the objective of a point over slides, the higher the better; None where nothing defines it.

    - dice: the mean over slides of `area_score`.
    - f1: of the slides' calls against what they are.
    - froc: the FROC score, every region a detection with its highest probability at its place.

    Whatever the objective, a slide is called tumour by the report's rule: a burden (positive px within tissue, of
    the cleaned map) above 0 that reaches aim.burden_percent.
    """
    scores, calls, outcomes = dict[str, float | None](), dict[str, Call](), dict[str, froc.Outcome]()
    for slide in slides:
        name, clean_up = slide.slide_id, point.on_map(slide.geometry.downsample, slide.mpp)
        tissue_px, called, matrix, outcome = _counted(slide, clean_up, aim)
        calls[name] = slide.tumour, called
        if aim.objective == "dice":
            scores[name] = None if matrix is None else area_score(matrix, tissue_px, aim.half_percent)
        elif aim.objective == "f1":
            scores[name] = None if None in calls[name] else float(slide.tumour == called)
        elif outcome is not None:
            outcomes[name] = outcome
            scores[name] = len(outcome.found) / outcome.targets if outcome.targets else None
    result = Result(None, scores, calls, aim.objective, outcomes)
    return replace(result, value=result.over(list(calls))(np.arange(len(calls))))


def area_score(matrix: np.ndarray, tissue_px: int, half_percent: float) -> float | None:
    """Return how well a slide's areas are met, 0 to 1: the mean over its classes but the first; None without truth.

    matrix: int64 (classes, classes), true x predicted px. A class that the truth has: its Dice. One that it has not:
    1 / (1 + a / half_percent), where a is its predicted area in percent of the tissue: 1 where none is found, one half
    at half_percent, and every px fewer is worth something. That is the Dice of an empty truth with half_percent
    of the tissue added to overlap and areas (additive smoothing): with t percent of tumour found whole, a false area a
    leaves a Dice of 1 / (1 + a / 2t), so that a slide without tumour costs what one with half_percent / 2 of it does.
    """
    if not matrix.any():
        return None
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    scores = []
    for index in range(1, len(matrix)):
        if true[index]:
            scores.append(2 * int(matrix[index, index]) / int(true[index] + predicted[index]))
        else:
            half_px = half_percent / 100 * tissue_px
            scores.append(half_px / (half_px + int(predicted[index])) if predicted[index] else 1.0)
    return float(np.mean(scores))


def tells(slide: Judged, objective: Objective, positive: tuple[int, ...]) -> bool:
    """Return whether a slide has what the objective is about: tumour to be found."""
    if objective == "froc":
        return slide.lesions is not None and bool(slide.lesions.lesions.targets)
    if objective == "f1":
        return slide.tumour is True
    return slide.truth is not None and bool(np.isin(slide.truth, positive).any())


def slide_f1(calls: Sequence[Call]) -> float | None:
    """Return F1 of the calls over slides where truth and call are known; None without tumour, true or called."""
    known = [(bool(true), bool(call)) for true, call in calls if true is not None and call is not None]
    hits, total = sum(true and call for true, call in known), sum(true + call for true, call in known)
    return 2 * hits / total if total else None


def _counted(
    slide: Judged, clean_up: CleanUp, aim: Aim
) -> tuple[int, bool | None, np.ndarray | None, froc.Outcome | None]:
    """Clean a slide's map up, a large one band by band, and count it.

    Returns its tissue px, whether it is called tumour, true x predicted px (None where no truth is known) and what
    its lesions came to (froc).
    """
    outcome = None
    if aim.objective == "froc" or slide.prob.size > LARGE:
        found = find_regions(lambda: _bands(slide), slide.geometry, clean_up, aim.positive, None)
        if aim.objective == "froc" and slide.lesions is not None:  # every region is a detection of a lesion
            name, lesions = slide.slide_id, slide.lesions
            detections = [froc.Detection(name, row["prob_max"], lesions.under(row)) for row in found.rows]
            outcome = froc.outcomes(detections, {name: len(lesions.lesions.targets)})[name]
        bands = found.classes()
    else:
        bands = iter([(0, cleaned_classes(slide.prob, slide.looked_at(slice(None)), clean_up, aim.positive))])
    classes, tissue_px, positive_px = max(2, len(slide.prob)), 0, 0
    matrix = None if slide.truth is None else np.zeros((classes, classes), dtype=np.int64)
    for top, predicted in bands:
        rows = slice(top, top + len(predicted))
        tissue_px += int(np.count_nonzero(slide.tissue[rows]))
        positive_px += int(np.count_nonzero(np.isin(predicted, aim.positive) & slide.tissue[rows]))
        if matrix is not None and slide.truth is not None:
            matrix += confusion(slide.truth[rows], predicted, classes)
    called = tumour_by_burden(burden_percent(positive_px, tissue_px), aim.burden_percent)
    return tissue_px, None if called is None else bool(called), matrix, outcome


def _bands(slide: Judged) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    for top in range(0, slide.geometry.rows, BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        yield top, slide.prob[:, rows], slide.looked_at(rows)


_ARRAYS = ("prob", "tissue", "truth", "looked")


def save_judged(folder: Path, slide: Judged) -> None:
    """Write a slide into a new folder, which is for this machine and this run only.

    Maps of many slides do not fit into memory, and a search reads them many times.
    """
    folder.mkdir()
    grid = slide.lesions
    arrays = {name: getattr(slide, name) for name in _ARRAYS} | {"lesions": grid.lesions.labels if grid else None}
    for name, values in arrays.items():
        if values is not None:
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
    facts = {
        "slide_id": slide.slide_id,
        "geometry": astuple(slide.geometry),
        "tumour": slide.tumour,
        "mpp": slide.mpp,
        "patient": slide.patient,
        "lesions": [grid.lesions.itc, grid.downsample] if grid else None,
    }
    (folder / "slide.json").write_text(json.dumps(facts), encoding="utf-8")


def open_judged(folder: Path) -> Judged:
    """Return the slide of a folder; px are read from disk where they are looked at, and may leave memory again."""
    facts = json.loads((folder / "slide.json").read_text(encoding="utf-8"))
    arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*.npy")}
    lesions = None
    if facts["lesions"] is not None:
        itc, downsample = facts["lesions"]
        lesions = LesionGrid(froc.Lesions(arrays["lesions"], tuple(itc)), downsample)
    return Judged(
        slide_id=facts["slide_id"],
        geometry=MapGeometry(*facts["geometry"]),
        tumour=facts["tumour"],
        lesions=lesions,
        mpp=tuple(facts["mpp"]) if facts["mpp"] is not None else None,
        patient=facts["patient"],
        prob=arrays["prob"],
        tissue=arrays["tissue"],
        truth=arrays.get("truth"),
        looked=arrays.get("looked"),
    )
