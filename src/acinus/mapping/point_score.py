"""How good an operating point is on slides whose truth is known: the figure that the search raises."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from acinus.mapping.geometry import MapGeometry
from acinus.mapping.lesion_grid import LesionGrid
from acinus.mapping.operating_point import OperatingPoint
from acinus.mapping.region_table import find_regions
from acinus.mapping.regions import cleaned_classes
from acinus.scoring import froc
from acinus.scoring.confusion import confusion, image_dice, positive_overlap
from acinus.scoring.defined import mean_defined
from acinus.scoring.dice import dice

Objective = Literal["dice", "f1", "froc"]
LARGE, BAND_ROWS = 1 << 26, 512
"""Values of a map from which it is cleaned band by band (slower, but its memory does not grow), and rows of a band."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One slide's map beside what is known of the slide, all on the map's grid.

    prob: uint8 (channels, rows, columns), p * 255. tissue: bool (rows, columns). truth: uint8 class indices, 255
    unknown, or None where nothing is known. tumour: whether it is a tumour slide, None unknown. lesions: None where
    they are not asked for or not known.
    """

    slide_id: str
    geometry: MapGeometry
    prob: np.ndarray
    tissue: np.ndarray
    truth: np.ndarray | None
    tumour: bool | None
    lesions: LesionGrid | None = None


@dataclass(frozen=True)
class Result:
    """What an operating point is worth. value: the objective; slides: slide_id -> its own figure, None undefined.

    A slide's own figure is its Dice; 1 or 0, whether it was called rightly (f1); the share of its lesions that some
    region hits (froc).
    """

    value: float | None
    slides: dict[str, float | None]


def measure(slides: Iterable[Judged], point: OperatingPoint, objective: Objective, positive: tuple[int, ...]) -> Result:
    """Return the objective of a point over slides, the higher the better; None where nothing defines it.

    - dice: the mean over slides. Two classes: Dice of the tumour over px of known truth; more: the mean Dice of an
      image's foreground classes. A slide with none, in which none is found, counts 1 here: else a point that leaves
      a normal slide clean would be judged on fewer slides, not better.
    - f1: of "any region is left" against tumour slides.
    - froc: the FROC score, every region a detection with its highest probability at its place.
    """
    if objective == "dice":
        own = {slide.slide_id: _dice(slide, point, positive) for slide in slides}
        return Result(mean_defined(own.values()).value, own)
    if objective == "f1":
        calls = {one.slide_id: (one.tumour, _any_region(one, point, positive)) for one in slides}
        right = {name: None if true is None else float(true == said) for name, (true, said) in calls.items()}
        return Result(slide_f1(list(calls.values())), right)
    outcomes = {one.slide_id: _outcome(one, point, positive) for one in slides if one.lesions is not None}
    curve = froc.curve(list(outcomes.values()))
    found = {name: len(one.found) / one.targets if one.targets else None for name, one in outcomes.items()}
    return Result(curve.score if curve else None, found)


def tells(slide: Judged, objective: Objective, positive: tuple[int, ...]) -> bool:
    """Return whether a slide has what the objective is about: tumour to be found."""
    if objective == "froc":
        return slide.lesions is not None and bool(slide.lesions.lesions.targets)
    if objective == "f1":
        return slide.tumour is True
    return slide.truth is not None and bool(np.isin(slide.truth, positive).any())


def slide_f1(calls: Sequence[tuple[bool | None, bool]]) -> float | None:
    """Return F1 of (true, said) "tumour slide" over slides whose truth is known; None without tumour, true or said."""
    known = [(true, said) for true, said in calls if true is not None]
    hits, total = sum(true and said for true, said in known), sum(true + said for true, said in known)
    return 2 * hits / total if total else None


def _dice(slide: Judged, point: OperatingPoint, positive: tuple[int, ...]) -> float | None:
    if slide.truth is None:
        return None
    matrix = _confusion(slide, slide.truth, point, positive)
    found = dice(positive_overlap(matrix, positive)) if len(matrix) == 2 else image_dice(matrix)
    return 1.0 if found is None and matrix.any() else found


def _confusion(slide: Judged, truth: np.ndarray, point: OperatingPoint, positive: tuple[int, ...]) -> np.ndarray:
    """Return int64 (classes, classes) of the cleaned map against its truth; a large map is taken band by band."""
    classes = max(2, len(slide.prob))
    if slide.prob.size <= LARGE:
        return confusion(truth, cleaned_classes(slide.prob, slide.tissue, point, positive), classes)
    found = find_regions(lambda: _bands(slide), slide.geometry, point, positive, None)
    matrix = np.zeros((classes, classes), dtype=np.int64)
    for top, said in found.classes():
        matrix += confusion(truth[top : top + len(said)], said, classes)
    return matrix


def _bands(slide: Judged) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    for top in range(0, slide.geometry.rows, BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        yield top, slide.prob[:, rows], slide.tissue[rows]


def _any_region(slide: Judged, point: OperatingPoint, positive: tuple[int, ...]) -> bool:
    return bool(np.isin(cleaned_classes(slide.prob, slide.tissue, point, positive), positive).any())


def _outcome(slide: Judged, point: OperatingPoint, positive: tuple[int, ...]) -> froc.Outcome:
    """Return what came of a slide's regions as detections of its lesions."""
    assert slide.lesions is not None
    name, grid = slide.slide_id, slide.lesions
    whole = [(0, slide.prob, slide.tissue)]
    found = find_regions(lambda: iter(whole), slide.geometry, point, positive, None)  # no mpp: areas are not asked for
    detections = [froc.Detection(name, row["prob_max"], grid.under(row)) for row in found.rows]
    return froc.outcomes(detections, {name: len(grid.lesions.targets)})[name]
