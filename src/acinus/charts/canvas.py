"""What every picture of a report is made with: PNG bytes, text and the white foot under a picture."""

import io
import math
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from acinus.labels.palette import Colour

PAPER, INK, MUTED = (255, 255, 255), (40, 38, 48), (110, 106, 122)
FOOT_PX = 46  # per 600 px of width
MIN_WIDTH_PX = 440  # room for scale bar and key under the narrowest slide
TEXT_PX = 15


@dataclass(frozen=True)
class Pen:
    """Where a strip of a picture is drawn; `unit` grows with the picture, so that its text stays readable."""

    draw: ImageDraw.ImageDraw
    width: int
    unit: float

    def px(self, length: float) -> int:
        """Return a length in px of this picture."""
        return round(length * self.unit)

    def text(self, x: float, y: float, text: str, anchor: str, colour: Colour = INK) -> int:
        """Write and return the text's width in px."""
        self.draw.text((x, y), text, fill=colour, font=self._font(), anchor=anchor)
        return self.length(text)

    def length(self, text: str) -> int:
        """Return the width in px that a text would take."""
        return math.ceil(self.draw.textlength(text, font=self._font()))

    def _font(self) -> Any:
        return ImageFont.load_default(size=self.px(TEXT_PX))


def strip(width: int, height_units: float, unit: float | None = None) -> tuple[Image.Image, Pen]:
    """Return a white strip of a picture `width` px wide, with its pen; the height is in units of the pen."""
    unit = max(1.0, width / 600) if unit is None else unit
    image = Image.new("RGB", (width, round(height_units * unit)), PAPER)
    return image, Pen(ImageDraw.Draw(image), width, unit)


def with_foot(picture: Image.Image, foot: Image.Image) -> bytes:
    """Return the picture above its foot, which is as wide or wider, as PNG."""
    canvas = Image.new("RGB", (foot.width, picture.height + foot.height), PAPER)
    canvas.paste(picture, (0, 0))
    canvas.paste(foot, (0, picture.height))
    return png(canvas)


def png(image: Image.Image) -> bytes:
    """Return the image as PNG bytes."""
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=6)
    return stream.getvalue()
