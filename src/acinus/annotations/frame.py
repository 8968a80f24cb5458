"""The frame of a slide that annotations are laid over, and whether they can belong to it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from acinus.annotations.outline import Outline
from acinus.errors import SlideError

OTHER_LEVEL = 4
"""All coordinates in the first 1/4 of width and height (1/16 of the area) look like those of another level."""
DEGREES = (180.0, 90.0)
_BORDER_PX0 = 2.0
"""Tools round; so far over the border is no finding."""


@dataclass(frozen=True)
class Frame:
    """A slide of width x height level-0 px, as OpenSlide has it.

    mpp_x, mpp_y: um per level-0 px.  bounds: (x, y, width, height) of the part that holds pixels, where the file
    says so: QuPath shows that part only, and counts from its corner.  hamamatsu_offset: (x, y) nm of the image's
    centre from the centre of the physical slide (NDPI).
    """

    width: int
    height: int
    mpp_x: float | None = None
    mpp_y: float | None = None
    bounds: tuple[int, int, int, int] | None = None
    hamamatsu_offset: tuple[float, float] | None = None

    @classmethod
    def of(
        cls, size: tuple[int, int], properties: Mapping[str, str], mpp: tuple[float, float] | None = None
    ) -> "Frame":
        """Return the frame of a slide of `size` (width, height) with OpenSlide's properties.

        mpp: um per px as the project has it (a tag may be wrong, and a table may correct it).
        """
        offset = _numbers(properties, *(f"hamamatsu.{axis}OffsetFromSlideCentre" for axis in "XY"))
        return cls(
            width=size[0],
            height=size[1],
            mpp_x=mpp[0] if mpp else None,
            mpp_y=mpp[1] if mpp else None,
            bounds=bounds_of(properties),
            hamamatsu_offset=(offset[0], offset[1]) if offset else None,
        )

    @property
    def corner(self) -> tuple[int, int]:
        """Level-0 px (x0, y0) of the corner that QuPath counts from."""
        return self.bounds[:2] if self.bounds else (0, 0)


def bounds_of(properties: Mapping[str, str]) -> tuple[int, int, int, int] | None:
    """Return (x, y, width, height) in level-0 px of the part that holds pixels, where OpenSlide's properties say so."""
    bounds = _numbers(properties, *(f"openslide.bounds-{side}" for side in ("x", "y", "width", "height")))
    return (round(bounds[0]), round(bounds[1]), round(bounds[2]), round(bounds[3])) if bounds else None


def qupath_corner(properties: Mapping[str, str]) -> tuple[int, int]:
    """Return the level-0 px (x0, y0) that QuPath counts from, which its GeoJSON is relative to."""
    bounds = bounds_of(properties)
    return bounds[:2] if bounds else (0, 0)


def _numbers(properties: Mapping[str, str], *names: str) -> list[float] | None:
    """Return finite numbers of properties, or None where one is absent or none."""
    try:
        values = [float(properties[name]) for name in names]
    except (KeyError, ValueError):
        return None
    return values if all(math.isfinite(value) for value in values) else None


def placement(path: Path, outlines: Sequence[Outline], frame: Frame, counts_from_bounds: bool) -> list[str]:
    """Return warnings about where outlines lie.

    Raises:
        SlideError: an outline lies wholly beyond the slide, or the coordinates are degrees.
    """
    if not outlines:
        return []
    boxes = shapely.bounds(np.array([outline.area for outline in outlines]))  # (n, 4): x0, y0, x1, y1
    left, top, width, height = 0, 0, frame.width, frame.height
    if counts_from_bounds and frame.bounds:
        left, top, width, height = frame.bounds
    drawn = boxes - np.array([left, top, left, top])  # as the file has them
    _refuse_degrees(path, outlines, drawn, (width, height))
    outside = (boxes[:, 0] >= frame.width) | (boxes[:, 1] >= frame.height) | (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)
    if outside.any():
        first = int(np.argmax(outside))
        box = ", ".join(f"{value:.0f}" for value in boxes[first])
        raise SlideError(
            f"{path.name}: {int(outside.sum())} of {len(outlines)} outlines lie wholly outside the slide of"
            f" {frame.width} x {frame.height} level-0 pixels, first {outlines[first].source_id}"
            f" (x0, y0, x1, y1 = {box}); is the file another slide's, or of another level?"
        )
    warnings = []
    over = np.maximum(-drawn[:, :2], drawn[:, 2:] - np.array([width, height])).max(axis=1)
    if (over > _BORDER_PX0).any():
        what = "the slide"
        if (left, top) != (0, 0):
            what = f"the part of the slide that holds pixels and that QuPath counts from (corner at {left}, {top}),"
        first = int(np.argmax(over > _BORDER_PX0))
        warnings.append(
            f"{path.name}: {int((over > _BORDER_PX0).sum())} of {len(outlines)} outlines pass the border of {what}"
            f" {width} x {height} px, by up to {over.max():.0f} px, first {outlines[first].source_id}; what lies beyond"
            " the slide has no label; check that the file is this slide's"
        )
    warnings += _of_another_level(path, drawn, (width, height))
    return warnings


def _refuse_degrees(path: Path, outlines: Sequence[Outline], drawn: np.ndarray, size: tuple[int, int]) -> None:
    """Refuse longitude and latitude: all within degrees, on a slide that is far larger, and none a px."""
    most = np.abs(drawn).reshape(-1, 2, 2).max(axis=(0, 1))  # of x, of y
    if not (most <= DEGREES).all() or min(size) < 4 * DEGREES[0]:
        return
    points = shapely.get_coordinates([outline.area for outline in outlines])
    if (drawn < 0).any() and (points != np.round(points)).any(axis=1).mean() > 0.5:
        raise SlideError(
            f"{path.name}: all x lie within 180 and all y within 90, some of them negative, on a slide of"
            f" {size[0]} x {size[1]} px: these look like longitude and latitude; export level-0 pixels"
        )


def _of_another_level(path: Path, drawn: np.ndarray, size: tuple[int, int]) -> list[str]:
    right, bottom = drawn[:, 2].max(), drawn[:, 3].max()
    factor = min(size[0] / max(right, 1.0), size[1] / max(bottom, 1.0))
    if factor < OTHER_LEVEL:
        return []
    level = 2 ** math.floor(math.log2(factor))
    return [
        f"{path.name}: all coordinates lie in the first 1/{level} of the slide (x to {right:.0f} of {size[0]},"
        f" y to {bottom:.0f} of {size[1]} px):"
        f" if they are of a level {level} times smaller, or degrees, export level-0 pixels"
    ]


def resolution_warning(path: Path, written_mpp: float, frame: Frame) -> list[str]:
    """Return a warning where the um per px that a file states are more than 5 % off the slide's."""
    if frame.mpp_x is None or not written_mpp > 0 or abs(written_mpp / frame.mpp_x - 1) <= 0.05:
        return []
    return [
        f"{path.name}: was drawn at {written_mpp:g} um per px, the slide has {frame.mpp_x:g}"
        f" (factor {written_mpp / frame.mpp_x:.3g}); check that the file is this slide's and of level 0"
    ]
