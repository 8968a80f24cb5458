"""One picture of many slides: thumbnails with their annotations over them, each above its name."""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import shapely
from PIL import Image, ImageDraw

from acinus.charts.canvas import INK, MUTED, PAPER, Pen, png, strip
from acinus.labels.palette import PALETTE, Colour
from acinus.scoring.confusion import IGNORE

LARGEST_PX, SMALLEST_PX = 480, 96
SHEET_PX = 4096
"""Width and height that the thumbnails of a sheet take at most, as far as SMALLEST_PX allows."""
_GAP_PX = 12
_FILL = 0.25  # the tissue stays visible inside an outline
_LEAST_HOLE_PX = 4  # around a hole that is drawn, px of the thumbnail
_TEXT_UNITS, _LINE_UNITS = 22, 24


class Tile(NamedTuple):
    """One slide of a sheet. picture: uint8 (h, w, 3). lines: two texts below it."""

    picture: np.ndarray
    lines: tuple[str, str]


def tile_px(count: int) -> int:
    """Return the edge of the square that each of `count` slides has on a sheet."""
    return min(LARGEST_PX, max(SMALLEST_PX, SHEET_PX // math.ceil(math.sqrt(max(1, count)))))


def colour_of(name: str) -> Colour:
    """Return the colour of a class to which its tool gives none: one of the palette, by the name alone."""
    return PALETTE[sum(name.encode()) % len(PALETTE)]


def outlined(thumbnail: np.ndarray, shapes: Iterable[tuple[shapely.Geometry, Colour]], downsample: float) -> np.ndarray:
    """Return uint8 (h, w, 3) with areas (level-0 px) drawn over it: their border, and inside a tint of their colour.

    downsample: level-0 px per px of the thumbnail.
    """
    picture = Image.fromarray(thumbnail)
    tint, border = picture.copy(), []
    draw = ImageDraw.Draw(tint)
    for area, colour in shapes:
        for polygon in shapely.get_parts(area):
            holes = [ring for ring in polygon.interiors if shapely.length(ring) > _LEAST_HOLE_PX * downsample]
            inside = Image.new("L", picture.size, 0) if holes else None
            points = [
                (shapely.get_coordinates(ring) / downsample).ravel().tolist() for ring in [polygon.exterior, *holes]
            ]
            if inside is None:
                draw.polygon(points[0], fill=colour)
            else:
                for ring, value in zip(points, [255] + [0] * len(points), strict=False):
                    ImageDraw.Draw(inside).polygon(ring, fill=value)
                tint.paste(colour, mask=inside)
            border += [(ring, colour) for ring in points]
    picture = Image.blend(picture, tint, _FILL)
    draw = ImageDraw.Draw(picture)
    for ring, colour in border:
        draw.line(ring, fill=colour, width=2, joint="curve")
    return np.asarray(picture)


def tinted(thumbnail: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return uint8 (h, w, 3) with the values of a mask, uint8 (h, w), over it; 0 and IGNORE are left clear.

    values: or the mask's own colours, uint8 (h, w, 3), of which black is left clear.
    """
    if values.ndim == 3:
        clear = (values == 0).all(axis=2, keepdims=True)
        return np.rint(np.where(clear, thumbnail, thumbnail * (1 - 2 * _FILL) + values * (2 * _FILL))).astype(np.uint8)
    colours = np.array([colour_of(str(value)) for value in range(256)], dtype=np.float64)
    strength = np.where((values > 0) & (values != IGNORE), 2 * _FILL, 0.0)[..., None]
    return np.rint(thumbnail * (1 - strength) + colours[values] * strength).astype(np.uint8)


def contact_sheet(tiles: Sequence[Tile], colours: Mapping[str, Colour]) -> bytes:
    """Return the sheet as PNG: tiles row by row, then the names of the classes with their colours."""
    edge = tile_px(len(tiles))
    columns = min(len(tiles), max(1, round(math.sqrt(len(tiles) * 1.3)))) or 1
    width, unit = columns * (edge + _GAP_PX) + _GAP_PX, max(0.8, edge / 380)
    foot = round(2 * _TEXT_UNITS * unit)
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (width, rows * (edge + foot + _GAP_PX) + _GAP_PX), PAPER)
    pen = Pen(ImageDraw.Draw(sheet), edge, unit)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        left, top = _GAP_PX + column * (edge + _GAP_PX), _GAP_PX + row * (edge + foot + _GAP_PX)
        high, wide = tile.picture.shape[:2]
        sheet.paste(Image.fromarray(tile.picture), (left + (edge - wide) // 2, top + edge - high))
        for line, (text, colour) in enumerate(zip(tile.lines, (INK, MUTED), strict=True)):
            shown = _shortened(pen, text, edge)
            pen.text(left + edge / 2, top + edge + (line + 0.5) * pen.px(_TEXT_UNITS), shown, "mm", colour)
    key = _key(colours, width, unit)
    whole = Image.new("RGB", (width, sheet.height + key.height), PAPER)
    whole.paste(sheet, (0, 0))
    whole.paste(key, (0, sheet.height))
    return png(whole)


def _key(colours: Mapping[str, Colour], width: int, unit: float) -> Image.Image:
    """Return the names of classes with their colours, in as many lines as they need."""
    _, pen = strip(width, 1, unit)
    places, x, line = [], _GAP_PX, 0
    for name in colours:
        needed = pen.px(24) + pen.length(name)
        if x > _GAP_PX and x + needed > width:
            x, line = _GAP_PX, line + 1
        places.append((x, line))
        x += needed + pen.px(18)
    image, pen = strip(width, (line + 1) * _LINE_UNITS if places else 0.0, unit)
    for (name, colour), (left, row) in zip(colours.items(), places, strict=True):
        top = pen.px(6 + row * _LINE_UNITS)
        pen.draw.rectangle((left, top, left + pen.px(12), top + pen.px(12)), fill=colour, outline=MUTED)
        pen.text(left + pen.px(18), top + pen.px(6), _shortened(pen, name, width), "lm")
    return image


def _shortened(pen: Pen, text: str, most_px: int) -> str:
    """Return a text that fits; of a longer one the middle is left out, since names differ at their ends.

    The font has plain letters only: marks go, other letters become question marks.
    """
    plain = (sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    text = "".join(sign if sign.isascii() else "?" for sign in plain)
    if pen.length(text) <= most_px:
        return text
    kept = max(2, int(len(text) * most_px / pen.length(text)) - 2)
    return f"{text[: kept // 2]}...{text[len(text) - kept // 2 :]}"
