"""Pictures of a slide with one probability as PNG bytes. The same input gives the same bytes."""

import math
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from PIL import Image
from scipy import ndimage

from acinus.charts.canvas import FOOT_PX, INK, MIN_WIDTH_PX, MUTED, Pen, strip, with_foot
from acinus.errors import AcinusError
from acinus.scoring.confusion import IGNORE

TUMOR = 1
"""Value of a truth raster where tumour is annotated; IGNORE where nothing is known."""

OUTLINE, HALO, GREY = (10, 10, 10), (255, 255, 255), (128, 128, 128)
FULL_ALPHA = 0.6  # the tissue stays visible under the strongest heat


@dataclass(frozen=True)
class Frame:
    """How the rasters of one slide lie: px (c, r) of either covers level-0 [c*d, (c+1)*d)."""

    thumbnail_downsample: float  # level-0 px per thumbnail (and truth) px
    map_downsample: float  # level-0 px per map px
    mpp: tuple[float, float] | None  # um per level-0 px (x, y); None leaves the scale bar out


def overlay(
    thumbnail: np.ndarray, prob: np.ndarray, truth: np.ndarray | None, frame: Frame, threshold: float = 0.5
) -> bytes:
    """Return the heatmap over the slide: colour by probability, the annotated tumour outlined.

    `thumbnail` is uint8 (h, w, 3); `prob` uint8 (rows, columns), 255 = certain, on the map's grid, shown
    as it is (nearest); `truth` uint8 (h, w) on the thumbnail's grid, or None. Under the picture stand a
    scale bar in mm, where mpp is known, and the colour bar with the threshold.
    """
    colour, alpha = heat(on_thumbnail(prob, thumbnail.shape[:2], frame))
    blended = thumbnail * (1 - alpha[..., None]) + colour * alpha[..., None]
    picture = _outlined(np.rint(blended).astype(np.uint8), truth)
    foot, pen = _foot(thumbnail.shape[1], frame)
    _colour_bar(pen, threshold)
    return with_foot(picture, foot)


def annotated(thumbnail: np.ndarray, truth: np.ndarray | None, frame: Frame) -> bytes:
    """Return the slide with the annotated tumour outlined in black, unknown areas in grey; else as `overlay`."""
    foot, pen = _foot(thumbnail.shape[1], frame)
    _legend(pen, truth)
    return with_foot(_outlined(thumbnail, truth), foot)


def _foot(slide_px: int, frame: Frame) -> tuple[Image.Image, Pen]:
    """Return the foot of a picture `slide_px` px wide with its scale bar, and the pen for what else stands there."""
    foot, pen = strip(max(slide_px, MIN_WIDTH_PX), FOOT_PX)
    scale_bar(pen, slide_px, frame)
    return foot, pen


def on_thumbnail(raster: np.ndarray, shape: tuple[int, int], frame: Frame) -> np.ndarray:
    """Return the map's value at the centre of every thumbnail px."""
    rows, columns = (
        np.minimum(((np.arange(count) + 0.5) * frame.thumbnail_downsample / frame.map_downsample).astype(int), size - 1)
        for count, size in zip(shape, raster.shape, strict=True)
    )
    return raster[np.ix_(rows, columns)]


def heat(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return colour (0..255) and opacity (0..1) of uint8 probabilities: clear at 0, full from 0.5 on."""
    steps = np.arange(256) / 255 * 0.94  # turbo ends in a brown that reads as tissue
    colour = colormaps["turbo"](steps, bytes=True)[:, :3].astype(np.float64)
    alpha = FULL_ALPHA * np.clip(np.arange(256) / 127.5, 0.0, 1.0)
    return colour[value], alpha[value]


def _outlined(picture: np.ndarray, truth: np.ndarray | None) -> Image.Image:
    """Return the picture with the truth's borders drawn: grey round the unknown, black in white round the tumour."""
    if truth is None:
        return Image.fromarray(picture)
    if truth.shape != picture.shape[:2]:
        raise AcinusError(f"truth of {truth.shape} px over a thumbnail of {picture.shape[:2]} px, expected one size")
    result = picture.copy()
    thick = max(1, round(max(truth.shape) / 450))
    for value, colour in ((IGNORE, GREY), (TUMOR, OUTLINE)):
        region = truth == value
        if region.all() or not region.any():
            continue
        result[_border(region, 2 * thick)] = HALO
        result[_border(region, thick)] = colour
    return Image.fromarray(result)


def _border(region: np.ndarray, thick: int) -> np.ndarray:
    """Return the px within `thick` px of the region's edge, on both sides; the picture's own edge is none."""
    square = np.ones((3, 3), dtype=bool)
    grown = ndimage.binary_dilation(region, square, iterations=thick)
    shrunk = ndimage.binary_erosion(region, square, iterations=thick, border_value=1)
    return grown & ~shrunk


def nice_length_mm(at_most_mm: float) -> float:
    """Return the longest of 1, 2, 5 times a power of ten that is not above `at_most_mm` (> 0)."""
    power = 10.0 ** math.floor(math.log10(at_most_mm))
    return max(step * power for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if step * power <= at_most_mm * (1 + 1e-9))


def scale_bar(pen: Pen, slide_px: int, frame: Frame) -> None:
    """Draw a bar of a round length in mm, at most a quarter of the slide's `slide_px` columns, at the left."""
    if frame.mpp is None:
        pen.text(2, pen.px(20), "pixel size unknown", "lm", MUTED)
        return
    mm_per_px = frame.mpp[0] * frame.thumbnail_downsample / 1000
    length_mm = nice_length_mm(mm_per_px * slide_px * 0.25)
    right = 2 + round(length_mm / mm_per_px)
    pen.draw.rectangle((2, pen.px(12), right, pen.px(15)), fill=INK)
    pen.text(2, pen.px(21), f"{length_mm:g} mm", "la")


def _colour_bar(pen: Pen, threshold: float) -> None:
    """Draw the colours as they look on glass, with 0, the threshold and 1 marked."""
    colour, alpha = heat(np.arange(256, dtype=np.uint8))
    shown = np.rint(255 * (1 - alpha[:, None]) + colour * alpha[:, None]).astype(np.uint8)
    bar, top, bottom = pen.px(190), pen.px(10), pen.px(20)
    left = pen.width - bar - 3
    for step in range(bar):
        pen.draw.line((left + step, top, left + step, bottom), fill=tuple(shown[step * 256 // bar].tolist()))
    pen.draw.rectangle((left - 1, top - 1, left + bar, bottom + 1), outline=MUTED)
    mark = left + round(threshold * (bar - 1))
    pen.draw.line((mark, top - 3, mark, bottom + 3), fill=INK, width=2)
    for x, text, anchor in ((left, "0", "la"), (mark, f"{threshold:g}", "ma"), (left + bar, "1", "ra")):
        pen.text(x, pen.px(24), text, anchor)
    if pen.width >= 600:
        pen.text(left - pen.px(10), pen.px(15), "tumour probability", "rm")


def _legend(pen: Pen, truth: np.ndarray | None) -> None:
    """Name the outlines that were drawn, from the right edge to the left."""
    outlines = [("annotated tumour", OUTLINE, TUMOR), ("not annotated", GREY, IGNORE)]
    entries = [(text, colour) for text, colour, value in outlines if truth is not None and (truth == value).any()]
    x, y = pen.width - 2, pen.px(15)
    if not entries:
        pen.text(x, y, "annotation unknown" if truth is None else "no tumour annotated", "rm", MUTED)
    for text, colour in reversed(entries):
        x -= pen.text(x, y, text, "rm") + pen.px(6)
        pen.draw.line((x - pen.px(20), y, x, y), fill=colour, width=pen.px(4))
        x -= pen.px(36)
