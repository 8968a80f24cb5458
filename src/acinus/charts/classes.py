"""Pictures of classes over slides and patches as PNG bytes. The same input gives the same bytes.

Colours are {class: RGB} in class order; class 0 is left clear, and what is not known (IGNORE) is hatched.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from acinus.charts.canvas import FOOT_PX, MIN_WIDTH_PX, MUTED, PAPER, Pen, png, strip, with_foot
from acinus.charts.heatmaps import Frame, heat, on_thumbnail, scale_bar
from acinus.errors import AcinusError
from acinus.labels.palette import Colour
from acinus.scoring.confusion import IGNORE

Colours = Mapping[str, Colour]

CLEAR: Colour = (240, 239, 244)  # class 0 where no slide shines through
HATCH: Colour = (120, 120, 120)
TISSUE_LINE: Colour = (0, 110, 60)
ALPHA = 0.45  # the tissue stays visible inside a class; its border is solid
PANEL_PX = 224
GAP_PX = 6
CAPTION_PX, KEY_PX, KEY_LEFT_PX = 22, 24, 152  # in units of the pen


def class_overlay(
    thumbnail: np.ndarray, classes: np.ndarray, colours: Colours, tissue: np.ndarray | None = None
) -> bytes:
    """Return the plain slide beside the same slide with its classes over it, with a key.

    `thumbnail` is uint8 (h, w, 3), `classes` uint8 (h, w) on the same grid; the border of `tissue`,
    bool (h, w), is drawn over its classes.

    Raises:
        AcinusError: another size, or a value that is no class.
    """
    panels, keys = [thumbnail, _tinted(thumbnail, classes, colours)], dict(colours)
    if tissue is not None:
        panels[1][borders(tissue)] = TISSUE_LINE
        keys["border of the tissue"] = TISSUE_LINE
    return _with_key(_row(panels), keys, bool((classes == IGNORE).any()), thumbnail.shape[1])


def class_pair(
    thumbnail: np.ndarray, predicted: np.ndarray, truth: np.ndarray | None, frame: Frame, colours: Colours
) -> bytes:
    """Return the slide beside its predicted classes beside its true ones, with a scale bar and a key.

    `thumbnail` is uint8 (h, w, 3); `predicted` uint8 (rows, columns) on the map's grid, shown as it is
    (nearest); `truth` uint8 (h, w) on the thumbnail's grid, or None, which leaves it out.
    """
    drawn = on_thumbnail(predicted, thumbnail.shape[:2], frame)
    panels = {"slide": thumbnail, "predicted": _tinted(thumbnail, drawn, colours)}
    if truth is not None:
        panels["truth"] = _tinted(thumbnail, truth, colours)
    unknown = truth is not None and bool((truth == IGNORE).any())
    return _with_key(_row(list(panels.values()), list(panels)), colours, unknown, thumbnail.shape[1], frame)


def patch_view(
    image: np.ndarray, predicted: np.ndarray, truth: np.ndarray | None, prob: np.ndarray, colours: Colours
) -> bytes:
    """Return one patch as a row: image, predicted classes, those over the image, truth, heatmap.

    `image` is uint8 (h, w, 3); `predicted` and `truth` (None: not known) uint8 class indices and
    `prob` uint8 (255 = certain) of the positive classes together, each (h, w) at a resolution of its own.
    """
    shown = _panel(image)
    classes = _panel(predicted, Image.Resampling.NEAREST)
    colour, alpha = heat(_panel(prob, Image.Resampling.NEAREST))
    warm = np.rint(shown * (1 - alpha[..., None]) + colour * alpha[..., None]).astype(np.uint8)
    true = np.full_like(classes, IGNORE) if truth is None else _panel(truth, Image.Resampling.NEAREST)
    panels = {
        "image": shown,
        "predicted": _solid(classes, colours),
        "overlay": _tinted(shown, classes, colours),
        "truth": _solid(true, colours),
        "heatmap": warm,
    }
    return png(_row(list(panels.values()), list(panels)))


def patch_strip(images: Sequence[np.ndarray], captions: Sequence[str]) -> bytes:
    """Return patches, each uint8 (h, w, 3), side by side in one size, each under its caption."""
    return png(_row([_panel(image) for image in images], captions))


def _panel(raster: np.ndarray, by: Image.Resampling = Image.Resampling.BICUBIC) -> np.ndarray:
    return np.asarray(Image.fromarray(raster).resize((PANEL_PX, PANEL_PX), by))


def colour_table(classes: np.ndarray, colours: Colours) -> np.ndarray:
    """Return uint8 (256, 3), the colour of every value, or refuse a raster with a value that is no class."""
    strange = classes[(classes >= len(colours)) & (classes != IGNORE)]
    if strange.size:
        raise AcinusError(
            f"class {strange.flat[0]} found in a picture, expected 0..{len(colours) - 1} ({', '.join(colours)}) or "
            f"{IGNORE}; give a colour to every class"
        )
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(colours)] = list(colours.values())
    return table


def _tinted(picture: np.ndarray, classes: np.ndarray, colours: Colours) -> np.ndarray:
    """Return the picture with every class but 0 in its colour, solid along its border."""
    if classes.shape != picture.shape[:2]:
        raise AcinusError(f"classes of {classes.shape} px over a picture of {picture.shape[:2]} px, expected one size")
    colour = colour_table(classes, colours)[classes]
    strength = np.where((classes > 0) & (classes != IGNORE), np.where(borders(classes), 1.0, ALPHA), 0.0)[..., None]
    result = np.rint(picture * (1 - strength) + colour * strength).astype(np.uint8)
    result[hatched(classes)] = HATCH
    return result


def _solid(classes: np.ndarray, colours: Colours) -> np.ndarray:
    """Return the classes alone as a picture."""
    table = colour_table(classes, colours)
    table[[0, IGNORE]] = CLEAR
    result = table[classes]
    result[hatched(classes)] = HATCH
    return result


def borders(classes: np.ndarray) -> np.ndarray:
    """Return the px with another class above, below, left or right; the picture's own edge is no border."""
    result = np.zeros(classes.shape, dtype=bool)
    down, right = classes[1:] != classes[:-1], classes[:, 1:] != classes[:, :-1]
    result[1:] |= down
    result[:-1] |= down
    result[:, 1:] |= right
    result[:, :-1] |= right
    return result


def hatched(classes: np.ndarray) -> np.ndarray:
    """Return the px of the lines through what is not known."""
    diagonal = np.arange(classes.shape[0])[:, None] + np.arange(classes.shape[1])[None, :]
    return (classes == IGNORE) & (diagonal % 8 < 2)


def _unit(panel_px: int) -> float:
    """Return the size of the text beside panels of this width."""
    return max(1.2, panel_px / 400)


def _row(panels: Sequence[np.ndarray], captions: Sequence[str] = ()) -> Image.Image:
    """Return pictures of one size side by side, each under its caption."""
    height, width = panels[0].shape[:2]
    whole = len(panels) * width + (len(panels) - 1) * GAP_PX
    head, pen = strip(whole, CAPTION_PX if captions else 0, _unit(width))
    canvas = Image.new("RGB", (whole, head.height + height), PAPER)
    for place, caption in enumerate(captions):
        pen.text(place * (width + GAP_PX) + width / 2, head.height / 2, caption, "mm", MUTED)
    canvas.paste(head, (0, 0))
    for place, panel in enumerate(panels):
        canvas.paste(Image.fromarray(panel), (place * (width + GAP_PX), head.height))
    return canvas


def _with_key(row: Image.Image, colours: Colours, unknown: bool, panel_px: int, frame: Frame | None = None) -> bytes:
    """Return the row above the names of its classes, in as many lines as they need, after a scale bar."""
    width, unit = max(row.width, MIN_WIDTH_PX), _unit(panel_px)
    _, trial = strip(width, 1, unit)
    edge = trial.px(12)
    entries: list[tuple[str, Colour | Image.Image]] = [*list(colours.items())[1:]]
    if unknown:
        lines_through = hatched(np.full((edge, edge), IGNORE))[..., None]
        entries.append(("not known", Image.fromarray(np.where(lines_through, HATCH, PAPER).astype(np.uint8))))
    places, lines = _places(trial, [name for name, _ in entries], trial.px(KEY_LEFT_PX) if frame else 0)
    foot, pen = strip(width, max(lines * KEY_PX, FOOT_PX if frame else 0) + 6, unit)
    if frame:
        scale_bar(pen, panel_px, frame)
    for (name, sample), (x, line) in zip(entries, places, strict=True):
        top = pen.px(10 + line * KEY_PX)
        foot.paste(sample, (x, top, x + edge, top + edge))
        pen.draw.rectangle((x, top, x + edge - 1, top + edge - 1), outline=MUTED)
        pen.text(x + pen.px(18), top + edge / 2, name, "lm")
    return with_foot(row, foot)


def _places(pen: Pen, names: Sequence[str], left: int) -> tuple[list[tuple[int, int]], int]:
    """Return (x, line) of every name of a key and the number of its lines; a line starts at `left`."""
    places, x, line = [], left, 0
    for name in names:
        needed = pen.px(18) + pen.length(name)
        if x > left and x + needed > pen.width:
            x, line = left, line + 1
        places.append((x, line))
        x += needed + pen.px(18)
    return places, line + 1
