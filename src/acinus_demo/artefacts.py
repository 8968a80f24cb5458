"""What does not belong to the tissue: folds of the section and marker strokes on the glass."""

import math

import numpy as np
from PIL import Image, ImageDraw

from acinus_demo import texture
from acinus_demo.ground import GRID_PX, Ground
from acinus_demo.render import Ink
from acinus_demo.texture import Field, ramp

# optical density of marker ink in R, G, B
INKS = ((1.5, 0.8, 0.25), (1.1, 0.45, 1.2), (1.4, 1.4, 1.3))


def _stroke(
    rng: np.random.Generator, shape: tuple[int, int], start: tuple[float, float], length: float, width: int
) -> Field:
    """Return a wavering line (1 inside, 0 outside) that starts at (x, y) and turns slowly."""
    image = Image.new("L", (shape[1], shape[0]))
    draw = ImageDraw.Draw(image)
    angle = 2 * math.pi * float(rng.random())
    bend = 0.10 * (float(rng.random()) - 0.5)
    x, y = start
    points = [(x, y)]
    for _ in range(40):
        angle += bend + 0.16 * (float(rng.random()) - 0.5)
        x, y = x + length / 40 * math.cos(angle), y + length / 40 * math.sin(angle)
        points.append((round(x, 1), round(y, 1)))
    draw.line(points, fill=255, width=width, joint="curve")
    return np.asarray(image, np.float32) * (1 / 255)


def fold(rng: np.random.Generator, ground: Ground) -> None:
    """Fold the section once: along a curved line the tissue lies double."""
    shape = ground.gain.shape
    rows, columns = np.nonzero(ground.cover > 0.9)
    if not rows.size:
        return
    k = int(rng.integers(rows.size))
    line = _stroke(rng, shape, (float(columns[k]), float(rows[k])), 0.35 * shape[1], int(rng.integers(5, 11)))
    soft = texture.soften(line, 1.2)
    ground.gain *= 1 + 0.85 * soft


def pen(rng: np.random.Generator, ground: Ground) -> Ink:
    """Draw a marker stroke that starts on the glass; it may run onto the tissue's border."""
    shape = ground.gain.shape
    near = texture.soften(ground.cover, 12)
    rows, columns = np.nonzero(near < 0.02)
    k = int(rng.integers(rows.size)) if rows.size else 0
    start = (float(columns[k]), float(rows[k])) if rows.size else (4.0, 4.0)
    width = int(rng.integers(70, 120)) // GRID_PX
    line = _stroke(rng, shape, start, 0.22 * shape[1], width)
    streak = texture.fractal(rng, shape, 14)
    edge = texture.soften(line, 1.0)
    density = ramp(edge, 0.3, 0.7) * (0.55 + 0.6 * streak) * (1 - ramp(near, 0.1, 0.5))
    return Ink(density, INKS[int(rng.integers(len(INKS)))])
