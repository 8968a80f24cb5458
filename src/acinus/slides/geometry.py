"""Which pyramid level serves a working resolution, and by how much it still has to shrink."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acinus.errors import SlideError

MPP_TOLERANCE = 0.01
"""Resolutions closer than this share are one: tags are rounded (0.2499 is 0.25)."""

LEVEL_TOLERANCE = 1e-3
"""A level may be this much coarser than asked: pyramids round their sizes (4.000147 is 4)."""


@dataclass(frozen=True)
class Resolution:
    """A working resolution of one slide.

    downsample: level-0 px per working px. level: pyramid level to read from. level_downsample: its
    level-0 px per px, at most `downsample` (within LEVEL_TOLERANCE).
    """

    downsample: float
    level: int
    level_downsample: float


def resolve(
    level_downsamples: Sequence[float],
    mpp0: float | None,
    *,
    level: int | None = None,
    mpp: float | None = None,
) -> Resolution:
    """Return the resolution that a recipe asks for: a level of the pyramid, or um per px.

    mpp0: um per level-0 px, needed for `mpp` only. A level whose own resolution is within
    MPP_TOLERANCE of the one asked for is taken as it is, without resampling.

    Raises:
        SlideError: no such level; mpp asked for but mpp0 unknown; more resolution than the slide has.
    """
    if (level is None) == (mpp is None):
        raise SlideError(f"level = {level} and mpp = {mpp}: give exactly one of level and mpp")
    if level is not None:
        if not 0 <= level < len(level_downsamples):
            raise SlideError(
                f"level {level} asked for, but the slide has levels 0 to {len(level_downsamples) - 1} "
                f"(downsamples {', '.join(f'{value:g}' for value in level_downsamples)}); choose one of them or give "
                "mpp instead"
            )
        return Resolution(level_downsamples[level], level, level_downsamples[level])
    assert mpp is not None
    if mpp0 is None:
        raise SlideError(
            f"{mpp} um/px asked for, but the slide's own um/px is unknown; set cohort.mpp or ask for a level"
        )
    downsample = mpp / mpp0
    if downsample < 1.0 - MPP_TOLERANCE:
        raise SlideError(
            f"{mpp:g} um/px asked for, but the slide has {mpp0:g} um/px at best; ask for {mpp0:g} or coarser"
        )
    for index, level_downsample in enumerate(level_downsamples):
        if abs(level_downsample / downsample - 1.0) <= MPP_TOLERANCE:
            return Resolution(level_downsample, index, level_downsample)
    return at_downsample(level_downsamples, downsample)


def at_downsample(level_downsamples: Sequence[float], downsample: float) -> Resolution:
    """Return the resolution of `downsample` level-0 px per px, read from the coarsest level that is fine enough.

    Raises:
        SlideError: a downsample below 1, which is more resolution than the slide has.
    """
    finest = downsample * (1.0 + LEVEL_TOLERANCE)
    fits = [index for index, level_downsample in enumerate(level_downsamples) if level_downsample <= finest]
    if not fits:
        raise SlideError(
            f"downsample {downsample:g} asked for, which is finer than the slide's level 0; ask for 1 or more"
        )
    level = max(fits, key=lambda index: level_downsamples[index])
    return Resolution(downsample, level, level_downsamples[level])


def pixel_centres(count: int, downsample: float, extent: int, first: int = 0) -> np.ndarray:
    """Return where px first..first+count of a grid are looked at, level-0 px, float64 (count,).

    Px c covers [c*d, (c+1)*d); one that the slide's border (at `extent`) cuts is looked at in the centre
    of its part on the slide, as the probability map does, so that map, truth and tissue agree there.
    """
    starts = np.arange(first, first + count) * float(downsample)
    ends = starts + downsample
    return (starts + np.where(starts < extent, np.minimum(ends, extent), ends)) / 2


def window_centres(start0: float, count: int, downsample: float, extent: int) -> tuple[slice, np.ndarray]:
    """Return which of the `count` px of a patch from `start0` on have their centre on the slide, and those centres.

    Px c is looked at in start0 + (c + 0.5) * downsample, level-0 px, wherever the slide ends.
    """
    centres = start0 + (np.arange(count) + 0.5) * downsample
    first, stop = np.searchsorted(centres, (0.0, float(extent))).tolist()
    return slice(first, stop), centres[first:stop]
