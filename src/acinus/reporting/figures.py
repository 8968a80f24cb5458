"""Pictures and charts of a report as PNG bytes. The same input gives the same bytes."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context, rcdefaults, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from sklearn.metrics import roc_curve

from acinus.errors import AcinusError

TRUTH_NORMAL, TRUTH_TUMOR, TRUTH_IGNORE = 0, 1, 255
"""Values of a truth raster."""

OUTLINE, HALO, UNKNOWN = (10, 10, 10), (255, 255, 255), (128, 128, 128)
INK, MUTED = (40, 38, 48), (110, 106, 122)
FOOT_PX = 46  # per 600 px of width
FULL_ALPHA = 0.6  # the tissue stays visible under the strongest heat
MIN_WIDTH_PX = 440  # room for scale bar and key under the narrowest slide


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
    heat = _on_thumbnail(prob, thumbnail.shape[:2], frame)
    colour, alpha = _heat(heat)
    blended = thumbnail * (1 - alpha[..., None]) + colour * alpha[..., None]
    picture = _outlined(np.rint(blended).astype(np.uint8), truth)
    return _framed(picture, frame, lambda pen: _colour_bar(pen, threshold))


def annotated(thumbnail: np.ndarray, truth: np.ndarray | None, frame: Frame) -> bytes:
    """Return the slide with the annotated tumour outlined in black, unknown areas in grey; else as `overlay`."""
    return _framed(_outlined(thumbnail, truth), frame, lambda pen: _legend(pen, truth))


def _on_thumbnail(prob: np.ndarray, shape: tuple[int, int], frame: Frame) -> np.ndarray:
    """Return the map's value at the centre of every thumbnail px."""
    centres = [
        (np.arange(edge) + 0.5) * frame.thumbnail_downsample / frame.map_downsample for edge in shape
    ]  # in map px
    rows, columns = (
        np.minimum(centre.astype(np.int64), edge - 1) for centre, edge in zip(centres, prob.shape, strict=True)
    )
    return prob[rows[:, None], columns[None, :]]


def _heat(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return colour (0..255) and opacity (0..1) of uint8 probabilities: clear at 0, full from 0.5 on."""
    steps = np.arange(256) / 255 * 0.94  # turbo ends in a brown that reads as tissue
    colour = colormaps["turbo"](steps, bytes=True)[:, :3].astype(np.float64)
    alpha = FULL_ALPHA * np.clip(np.arange(256) / 127.5, 0.0, 1.0)
    return colour[value], alpha[value]


def _outlined(picture: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """Return the picture with the truth's borders drawn: grey round the unknown, black in white round the tumour."""
    if truth is None:
        return picture
    if truth.shape != picture.shape[:2]:
        raise AcinusError(f"truth of {truth.shape} px over a thumbnail of {picture.shape[:2]} px, expected one size")
    result = picture.copy()
    thick = max(1, round(max(truth.shape) / 450))
    for value, colour in ((TRUTH_IGNORE, UNKNOWN), (TRUTH_TUMOR, OUTLINE)):
        region = truth == value
        if region.all() or not region.any():
            continue
        result[_border(region, 2 * thick)] = HALO
        result[_border(region, thick)] = colour
    return result


def _border(region: np.ndarray, thick: int) -> np.ndarray:
    """Return the px within `thick` px of the region's edge, on both sides; the picture's own edge is none."""
    square = np.ones((3, 3), dtype=bool)
    grown = ndimage.binary_dilation(region, square, iterations=thick)
    shrunk = ndimage.binary_erosion(region, square, iterations=thick, border_value=1)
    return grown & ~shrunk


@dataclass(frozen=True)
class _Pen:
    """Where the foot of a picture is drawn; `unit` grows with the picture, so that its text stays readable."""

    draw: ImageDraw.ImageDraw
    width: int
    unit: float

    def px(self, length: float) -> int:
        return round(length * self.unit)

    def text(self, x: float, y: float, text: str, anchor: str, colour: tuple[int, int, int] = INK) -> int:
        """Write and return the text's width in px."""
        font: Any = ImageFont.load_default(size=self.px(15))
        self.draw.text((x, y), text, fill=colour, font=font, anchor=anchor)
        return math.ceil(self.draw.textlength(text, font=font))


def _framed(picture: np.ndarray, frame: Frame, key: Callable[[_Pen], None]) -> bytes:
    """Return the picture above a white foot that holds the scale bar (left) and the key (right)."""
    height, width = max(picture.shape[0], 1), max(picture.shape[1], MIN_WIDTH_PX)
    unit = max(1.0, width / 600)
    foot = Image.new("RGB", (width, round(FOOT_PX * unit)), (255, 255, 255))
    pen = _Pen(ImageDraw.Draw(foot), width, unit)
    _scale_bar(pen, picture.shape[1], frame)
    key(pen)
    canvas = Image.new("RGB", (width, height + foot.height), (255, 255, 255))
    canvas.paste(Image.fromarray(picture), (0, 0))
    canvas.paste(foot, (0, height))
    stream = io.BytesIO()
    canvas.save(stream, format="PNG", compress_level=6)
    return stream.getvalue()


def nice_length_mm(at_most_mm: float) -> float:
    """Return the longest of 1, 2, 5 times a power of ten that is not above `at_most_mm` (> 0)."""
    power = 10.0 ** math.floor(math.log10(at_most_mm))
    return max(step * power for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if step * power <= at_most_mm * (1 + 1e-9))


def _scale_bar(pen: _Pen, slide_px: int, frame: Frame) -> None:
    if frame.mpp is None:
        pen.text(2, pen.px(20), "pixel size unknown", "lm", MUTED)
        return
    mm_per_px = frame.mpp[0] * frame.thumbnail_downsample / 1000
    length_mm = nice_length_mm(mm_per_px * slide_px * 0.25)
    right = 2 + round(length_mm / mm_per_px)
    pen.draw.rectangle((2, pen.px(12), right, pen.px(15)), fill=INK)
    pen.text(2, pen.px(21), f"{length_mm:g} mm", "la")


def _colour_bar(pen: _Pen, threshold: float) -> None:
    """Draw the colours as they look on glass, with 0, the threshold and 1 marked."""
    colour, alpha = _heat(np.arange(256, dtype=np.uint8))
    shown = np.rint(255 * (1 - alpha[:, None]) + colour * alpha[:, None]).astype(np.uint8)
    bar, top, bottom = pen.px(190), pen.px(10), pen.px(20)
    left = pen.width - bar - 3
    for step in range(bar):
        red, green, blue = (int(part) for part in shown[step * 256 // bar])
        pen.draw.line((left + step, top, left + step, bottom), fill=(red, green, blue))
    pen.draw.rectangle((left - 1, top - 1, left + bar, bottom + 1), outline=MUTED)
    mark = left + round(threshold * (bar - 1))
    pen.draw.line((mark, top - 3, mark, bottom + 3), fill=INK, width=2)
    for x, text, anchor in ((left, "0", "la"), (mark, f"{threshold:g}", "ma"), (left + bar, "1", "ra")):
        pen.text(x, pen.px(24), text, anchor)
    if pen.width >= 600:
        pen.text(left - pen.px(10), pen.px(15), "tumour probability", "rm")


def _legend(pen: _Pen, truth: np.ndarray | None) -> None:
    """Name the outlines that were drawn, from the right edge to the left."""
    drawn = [("annotated tumour", OUTLINE, TRUTH_TUMOR), ("not annotated", UNKNOWN, TRUTH_IGNORE)]
    entries = [(text, colour) for text, colour, value in drawn if truth is not None and (truth == value).any()]
    x, y = pen.width - 2, pen.px(15)
    if not entries:
        pen.text(x, y, "annotation unknown" if truth is None else "no tumour annotated", "rm", MUTED)
    for text, colour in reversed(entries):
        x -= pen.text(x, y, text, "rm") + pen.px(6)
        pen.draw.line((x - pen.px(20), y, x, y), fill=colour, width=pen.px(4))
        x -= pen.px(36)


# ------------------------------------------------------------------ charts

ACCENT, SECOND = "#4b3f8f", "#d0476f"
_STYLE: Any = {
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8798",
    "axes.labelcolor": "#28262f",
    "xtick.color": "#6e6a7a",
    "ytick.color": "#6e6a7a",
    "legend.frameon": False,
    "axes.grid": True,
    "grid.color": "#e6e4ee",
    "axes.axisbelow": True,
}


def roc_figure(curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """Return ROC curves, one per name of {name: (scores, labels 0/1)}; one with a single class says so."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#a5a2b3", linestyle=":", linewidth=1.2, label="chance")
        for (name, (scores, labels)), colour in zip(curves.items(), (ACCENT, SECOND), strict=False):
            if np.unique(labels).size < 2:
                axes.plot([], [], color=colour, label=f"{name}: undefined, one class only")
                continue
            false_rate, true_rate, _ = roc_curve(labels, scores)
            axes.plot(false_rate, true_rate, color=colour, linewidth=2, label=name)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_aspect("equal")
        axes.legend(loc="lower right")

    return _chart(draw, (5.2, 5.2))


def training_figure(log: pd.DataFrame) -> bytes:
    """Return loss and accuracy by epoch from the columns epoch, train_loss, train_acc, val_loss, val_acc."""
    needed = ["epoch", "train_loss", "train_acc", "val_loss", "val_acc"]
    missing = sorted(set(needed) - set(log.columns))
    if missing:
        raise AcinusError(f"training log: columns {', '.join(missing)} are missing, expected {', '.join(needed)}")

    def draw(figure: Figure) -> None:
        loss, accuracy = figure.subplots(1, 2)
        for axes, name, title in ((loss, "loss", "loss"), (accuracy, "acc", "accuracy")):
            for part, colour, text in (("train", ACCENT, "training"), ("val", SECOND, "validation")):
                axes.plot(log["epoch"], log[f"{part}_{name}"], color=colour, marker="o", markersize=4, label=text)
            axes.set(xlabel="epoch", ylabel=title)
            axes.xaxis.get_major_locator().set_params(integer=True)
        accuracy.set_ylim(top=1.01)
        loss.legend()

    return _chart(draw, (9.0, 3.8))


def burden_figure(predicted: np.ndarray, true: np.ndarray) -> bytes:
    """Return predicted against annotated tumour burden in percent of tissue, one dot per slide (NaN: left out)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        known = np.isfinite(predicted) & np.isfinite(true)
        top = max(1.0, float(np.max(np.r_[predicted[known], true[known], 0.0])) * 1.08)
        axes.plot([0, top], [0, top], color="#a5a2b3", linestyle=":", linewidth=1.2, label="equal")
        axes.scatter(true[known], predicted[known], color=ACCENT, s=42, alpha=0.8, linewidths=0, clip_on=False)
        axes.set(xlabel="annotated burden, % of tissue", ylabel="predicted burden, % of tissue")
        axes.set(xlim=(0, top), ylim=(0, top))
        axes.set_aspect("equal")
        axes.legend(loc="upper left")

    return _chart(draw, (5.2, 5.2))


def _chart(draw: Callable[[Figure], None], size_inch: tuple[float, float]) -> bytes:
    """Draw on a figure of its own and return PNG bytes without the writer's version in them."""
    with rc_context():
        rcdefaults()  # not what the user's matplotlibrc says: pictures are outputs, the same everywhere
        rcParams.update(_STYLE)
        figure = Figure(figsize=size_inch, dpi=130, layout="constrained")
        draw(figure)
        stream = io.BytesIO()
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
    return stream.getvalue()
