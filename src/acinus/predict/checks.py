"""What makes a prediction doubtful: an unknown or far resolution, a stain unlike those of the training, no tissue."""

import numpy as np

from acinus.errors import SlideError
from acinus.learning.card import Card
from acinus.learning.colour import TrainingStain
from acinus.regions.operating_point import ASSUMED_MPP, ENGINE, PRECISION, Maps, OperatingPoint
from acinus.slides.geometry import MPP_TOLERANCE, Resolution, resolve
from acinus.slides.open import SlidePixels

Mpp = tuple[float, float]

MPP_RATIO = 1.25
"""A working resolution off by more than this factor, either way, is worth a warning."""

STAIN_FAR = 3.0
STAIN_FLOOR = 0.05
"""Least deviation of a slide's mean optical density that counts as one: a few slides alike say little of others."""


def resolution(slide: SlidePixels, card: Card, mpp: Mpp | None) -> Resolution:
    """Return the working resolution of a model on a slide.

    Raises:
        SlideError: um/px unknown where the model is defined by them, or more resolution than the slide has.
    """
    name, mean = slide.slide_id, sum(mpp) / 2 if mpp else None
    if card.mpp is None and card.level is not None and card.level >= len(slide.level_downsamples):
        raise SlideError(
            f"slide {name}: the model works at level {card.level}, the slide has levels 0 to "
            f"{len(slide.level_downsamples) - 1}; use a model that is defined by um/px or works at such a level"
        )
    if card.mpp is not None and mean is None:
        raise SlideError(
            f"slide {name}: the model works at {card.mpp:g} um/px, and the slide does not tell its um/px "
            f"({tag(slide)}); give it by --mpp"
        )
    if card.mpp is not None and mean is not None and card.mpp < mean * (1.0 - MPP_TOLERANCE):
        raise SlideError(
            f"slide {name}: the model works at {card.mpp:g} um/px, the slide has {mean:g} um/px at best; "
            "scan it finer, or use a model trained at that resolution"
        )
    return resolve(slide.level_downsamples, mean, level=card.level, mpp=card.mpp)


def tag(slide: SlidePixels) -> str:
    """Return what the slide's own resolution tag says, for a sentence."""
    found = slide.properties.get("openslide.mpp-x")
    return "no tag" if found is None else f"its tag says {found[:20]}"


def mpp_warnings(slide: SlidePixels, card: Card, at: Resolution, mpp: Mpp | None, assumed: bool) -> list[str]:
    """Return what is doubtful about a slide's resolution. assumed: it was given, not read from the slide."""
    found = []
    if mpp is None:
        found.append(f"um/px unknown ({tag(slide)}): areas in mm2 are null; give it by --mpp")
    elif assumed:
        found.append(f"um/px assumed: {mpp[0]:g} as given by --mpp ({tag(slide)})")
    if mpp is not None and card.mpp_mean is not None:
        works = sum(mpp) / 2 * at.downsample
        ratio = max(works / card.mpp_mean, card.mpp_mean / works)
        if ratio > MPP_RATIO:
            found.append(
                f"um/px far from training: the model sees {works:.3g} um/px, it was trained at {card.mpp_mean:.3g} "
                f"({ratio:.2f} x off, more than {MPP_RATIO:g})"
            )
    return found


def size_warnings(point: OperatingPoint, mpp: Mpp | None) -> list[str]:
    """Return what is doubtful about sizes in um2 on a slide that does not tell its um/px."""
    if mpp is not None or not (point.min_region_um2 or point.max_hole_um2):
        return []
    return [
        f"regions below {point.min_region_um2:g} um2 are removed and holes up to {point.max_hole_um2:g} um2 filled as "
        f"at {ASSUMED_MPP:g} um/px: um/px unknown"
    ]


def running_warnings(maps: Maps) -> list[str]:
    """Return what is doubtful about an operating point that was chosen on maps that were run in another way."""
    if (maps.precision, maps.engine) == (PRECISION, ENGINE):
        return []
    return [
        f"maps of another kind: the operating point was chosen on maps by {maps.engine} at {maps.precision}, "
        f"this one is by {ENGINE} at {PRECISION}"
    ]


def stain_distance(density: np.ndarray, training: TrainingStain | None) -> float | None:
    """Return the Mahalanobis distance of a slide's mean optical density (3,) from the training slides'.

    STAIN_FLOOR squared is added to every variance. None where training tells nothing of how stains vary.
    """
    if training is None or training.mean is None or training.covariance is None:
        return None
    apart = density - np.array(training.mean, dtype=np.float64)
    covariance = np.array(training.covariance, dtype=np.float64) + STAIN_FLOOR**2 * np.eye(3)
    return float(np.sqrt(apart @ np.linalg.solve(covariance, apart)))


def stain_warnings(distance: float | None, training: TrainingStain | None) -> list[str]:
    """Return what is doubtful about a slide's stain. distance: of `stain_distance`."""
    if training is None:
        return ["stain not judged: no stain.json beside the model's weights; copy it there, or train again"]
    if distance is None:
        slides = f"{training.n} slide{'' if training.n == 1 else 's'}"
        return [f"stain not judged: the model was trained on {slides}, which does not tell how stains vary"]
    if distance <= STAIN_FAR:
        return []
    return [
        f"stain far from training: mean optical density is {distance:.1f} deviations (Mahalanobis) from the training "
        f"slides', more than {STAIN_FAR:g}; look at the picture before trusting the figures"
    ]
