"""Lesion-level FROC after the CAMELYON16 evaluation protocol.

Source: Ehteshami Bejnordi et al., JAMA 318 (2017) 2199-2210, and the challenge's evaluation code.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.measure import label, regionprops

MERGED_BELOW_UM = 75.0  # lesions nearer than five tumour cells are one
ITC_BELOW_UM = 275.0  # 200 um of tumour and the 75 um by which the mask makes it longer
FALSE_POSITIVES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Mean false positives per slide at which the score takes its sensitivities."""
_ROWS = 256
"""Rows whose distances are in memory at a time: 8 bytes a px and more, where a mask has one."""
NO_LESION, ITC = 0, -1
"""What `hit` returns outside lesions and inside isolated tumour cells."""


@dataclass(frozen=True)
class Lesions:
    """The evaluation mask of one slide: `labels` int32 (rows, cols), 0 none, else the id in raster order."""

    labels: np.ndarray
    itc: tuple[int, ...]  # ids of isolated tumour cells: neither to be found nor wrong to find

    @property
    def targets(self) -> tuple[int, ...]:
        """Ids of the lesions to be found."""
        return tuple(id_ for id_ in range(1, int(self.labels.max(initial=0)) + 1) if id_ not in self.itc)


def lesions(tumour: np.ndarray, um_per_px: float) -> Lesions:
    """Return the lesions of a bool tumour mask (rows, cols) whose pixels are `um_per_px` wide.

    The protocol asks for about 7.8 um (0.243 um at level 5). Pixels nearer than 75 / (2 um_per_px) px to
    tumour (distance of pixel centres) join it, so tumours less than 75 um apart become one; holes are
    filled; what touches, corners included, is one lesion. Isolated tumour cells are the lesions whose
    major axis is below 275 / um_per_px px: that of the ellipse with the second moments of the lesion
    *in the grown and filled mask* (regionprops' axis_major_length, as in the challenge's code).
    """
    if not (um_per_px > 0 and math.isfinite(um_per_px)):
        raise ValueError(f"{um_per_px} um per px, expected a number above 0")
    labels = np.zeros(tumour.shape, dtype=np.int32)
    rows, columns = np.flatnonzero(tumour.any(axis=1)), np.flatnonzero(tumour.any(axis=0))
    if not rows.size:
        return Lesions(labels, ())
    reach = MERGED_BELOW_UM / (2 * um_per_px)
    margin = math.ceil(reach) + 1  # the grown tumour ends inside it, so the rest of the slide changes nothing
    box = tuple(slice(max(0, int(at[0]) - margin), int(at[-1]) + margin + 1) for at in (rows, columns))
    grown = _grown(tumour[box], reach)
    labels[box] = label(ndimage.binary_fill_holes(grown), connectivity=2)
    shortest = ITC_BELOW_UM / um_per_px
    itc = sorted(int(region.label) for region in regionprops(labels[box]) if region.axis_major_length < shortest)
    return Lesions(labels, tuple(itc))


def _grown(tumour: np.ndarray, reach: float) -> np.ndarray:
    """Return which px are nearer than `reach` px to tumour, strip by strip: what lies further off changes nothing."""
    margin, grown = math.ceil(reach), np.zeros(tumour.shape, dtype=bool)
    for top in range(0, len(tumour), _ROWS):
        start = max(0, top - margin)
        strip = tumour[start : top + _ROWS + margin]
        if strip.any():
            near = ndimage.distance_transform_edt(~strip) < reach
            grown[top : top + _ROWS] = near[top - start :][:_ROWS]
    return grown


def hit(lesions: Lesions, x: float, y: float) -> int:
    """Return the lesion at (x right, y down) px of the mask: its id, 0 where there is none, -1 for ITC.

    Raises:
        ValueError: a place outside the mask.
    """
    row, column = math.floor(y), math.floor(x)
    rows, columns = lesions.labels.shape
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(f"detection at ({x}, {y}) outside the evaluation mask of {columns} x {rows} px")
    lesion = int(lesions.labels[row, column])
    return ITC if lesion in lesions.itc else lesion


class Detection(NamedTuple):
    """One found place: its slide, its probability, and what it hit (the `hit` of that slide's lesions)."""

    slide: str
    prob: float
    lesion: int


@dataclass(frozen=True)
class Outcome:
    """The sufficient statistics of one slide: of any set of slides, `curve` of their outcomes is exact."""

    found: tuple[float, ...]  # highest probability of every lesion that was hit
    wrong: tuple[float, ...]  # probability of every false positive
    targets: int  # lesions to be found


@dataclass(frozen=True)
class Froc:
    """The curve from no detection to all: mean false positives per slide against the share of lesions found."""

    score: float  # mean of `at`
    fps: tuple[float, ...]  # rising
    sensitivity: tuple[float, ...]  # of `fps`, rising
    at: tuple[float, ...]  # sensitivity at FALSE_POSITIVES


def outcomes(detections: Sequence[Detection], lesions_per_slide: Mapping[str, int]) -> dict[str, Outcome]:
    """Return what came of the detections on each slide, in the order of `lesions_per_slide`.

    That mapping gives for EVERY evaluated slide, normal ones and those without detections included, the
    number of its target lesions. A lesion is found with its highest probability; further hits of it count
    nothing. Every detection outside lesions is a false positive, on any slide; hits of isolated tumour
    cells count nothing.

    Raises:
        ValueError: a detection on a slide that is not evaluated, one without a finite probability, or more
            lesions hit on a slide than it has.
    """
    best: dict[str, dict[int, float]] = {slide: {} for slide in lesions_per_slide}
    wrong: dict[str, list[float]] = {slide: [] for slide in lesions_per_slide}
    for slide, prob, lesion in detections:
        if slide not in best:
            raise ValueError(f"detection on slide {slide}, which is not among the evaluated slides")
        if not math.isfinite(prob):
            raise ValueError(f"detection of probability {prob} on slide {slide}, expected a finite number")
        if lesion == NO_LESION:
            wrong[slide].append(prob)
        elif lesion > NO_LESION:
            best[slide][lesion] = max(prob, best[slide].get(lesion, prob))
    for slide, targets in lesions_per_slide.items():
        if len(best[slide]) > targets:
            raise ValueError(f"slide {slide}: {len(best[slide])} lesions were hit, expected at most its {targets}")
    return {
        slide: Outcome(tuple(best[slide].values()), tuple(wrong[slide]), targets)
        for slide, targets in lesions_per_slide.items()
    }


def curve(slides: Sequence[Outcome]) -> Froc | None:
    """Return the curve over the given slides, one given twice counting twice; None without a lesion to be found.

    Sensitivity is pooled over all lesions, false positives are a mean over all slides. The curve has a
    point per distinct probability (equal ones enter together) after (0, 0). Between points the
    sensitivity is interpolated linearly (np.interp, as in the challenge's code); where several points
    have the same false positives the highest counts, beyond the last one it stays. One difference to
    that code: it leaves the lowest probability out of the curve, which is meant for the 0 of missed
    lesions, but takes a true point away where none was missed.
    """
    total = sum(slide.targets for slide in slides)
    if not total:
        return None
    hits = np.sort(np.array([prob for slide in slides for prob in slide.found], dtype=np.float64))
    wrong = np.sort(np.array([prob for slide in slides for prob in slide.wrong], dtype=np.float64))
    thresholds = np.unique(np.concatenate([hits, wrong]))[::-1]
    true, false = ([0, *(probs.size - np.searchsorted(probs, thresholds)).tolist()] for probs in (hits, wrong))
    fps = tuple(count / len(slides) for count in false)
    sensitivity = tuple(count / total for count in true)
    at = tuple(np.interp(FALSE_POSITIVES, fps, sensitivity).tolist())
    return Froc(math.fsum(at) / len(at), fps, sensitivity, at)
