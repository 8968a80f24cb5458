"""Transparent pictures that lie over a slide's thumbnail: classes, heat and attention, as PNG or JPEG bytes."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

from acinus.charts.canvas import png
from acinus.charts.classes import HATCH, TISSUE_LINE, Colours, borders, colour_table, hatched
from acinus.charts.heatmaps import heat
from acinus.errors import AcinusError
from acinus.labels.palette import Colour
from acinus.scoring.confusion import IGNORE

JPEG_QUALITY = 88
TINT = 150  # opacity (of 255) inside a class; its border is solid, and the page's slider fades both

GLASS: Colour = (90, 100, 110)

Square = tuple[int, int, int, int, float]
"""Left, top, right and bottom in px of the thumbnail, and a value of 0 or more."""


def photograph(thumbnail: np.ndarray) -> bytes:
    """Return uint8 (h, w, 3) as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(thumbnail).save(stream, format="JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()


def class_layer(classes: np.ndarray, colours: Colours) -> bytes:
    """Return uint8 (h, w) classes as RGBA: class 0 clear, others tinted with a solid border, 255 hatched.

    Raises:
        AcinusError: a value that is no class.
    """
    shown = (classes > 0) & (classes != IGNORE)
    result = np.zeros((*classes.shape, 4), dtype=np.uint8)
    result[..., :3] = colour_table(classes, colours)[classes]
    result[..., 3] = np.where(shown, np.where(borders(classes), 255, TINT), 0)
    result[hatched(classes)] = (*HATCH, 255)
    return _rgba(result)


def tissue_layer(tissue: np.ndarray) -> bytes:
    """Return bool (h, w) as RGBA: tissue clear, what is none shaded, a solid line between them."""
    result = np.zeros((*tissue.shape, 4), dtype=np.uint8)
    result[~tissue] = (*GLASS, TINT)
    result[borders(tissue)] = (*TISSUE_LINE, 255)
    return _rgba(result)


def heat_layer(prob: np.ndarray) -> bytes:
    """Return uint8 (h, w), 255 = certain, as RGBA in the colours of `heatmaps.heat`."""
    colour, alpha = heat(prob)
    return _rgba(np.dstack([colour, 255 * alpha]))


def attention_layer(shape: tuple[int, int], squares: Iterable[Square]) -> bytes:
    """Return RGBA of `shape` (h, w): every square in the colour of its value over the largest of them.

    Of squares that overlap the strongest is seen.

    Raises:
        AcinusError: a value below 0.
    """
    weakest_first = sorted(squares, key=lambda square: (square[4], square))
    result = np.zeros((*shape, 4), dtype=np.uint8)
    if weakest_first and weakest_first[0][4] < 0:
        raise AcinusError(f"attention {weakest_first[0][4]} found, expected 0 or more; run stage grade again")
    for left, upper, right, lower, value in weakest_first:
        share = value / weakest_first[-1][4] if value else 0.0
        colour = (*colormaps["viridis"](share, bytes=True)[:3], round(70 + 150 * share))
        result[max(0, upper) : max(0, lower), max(0, left) : max(0, right)] = colour
    return _rgba(result)


def square(patch: Mapping[str, Any], downsample: float) -> Square:
    """Return a patch of records.ATTENTION in px of a thumbnail of `downsample` level-0 px per px."""
    edge0 = patch["patch_px"] * patch["downsample"]
    corners = (patch["x0"], patch["y0"], patch["x0"] + edge0, patch["y0"] + edge0)
    left, top, right, bottom = (round(corner / downsample) for corner in corners)
    return left, top, right, bottom, patch["attention"]


def png_size(data: bytes) -> tuple[int, int]:
    """Return width and height in px of a PNG, as its first chunk has them."""
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def _rgba(values: np.ndarray) -> bytes:
    return png(Image.fromarray(np.rint(values).astype(np.uint8)))
