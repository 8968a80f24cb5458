"""Giant PNGs, written in a stream: a picture to cut into patches and a colour-coded mask of classes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyvips

from acinus.files import atomic_path
from acinus.regions.mask_png import write_mask

COLOURS = ((0, 0, 0), (255, 255, 0), (150, 150, 150), (0, 255, 0), (0, 0, 255), (0, 150, 255))
BAND_ROWS = 64
BLOCK_PX = 8


def draw(path: Path, size: tuple[int, int]) -> None:
    """Write an RGB PNG of (width, height) px: smooth noise, no two stripes of it alike."""
    width, height = size
    channels = [pyvips.Image.perlin(width, height, cell_size=96, uchar=True, seed=seed) for seed in (1, 2, 3)]
    with atomic_path(path) as part:
        picture = channels[0].bandjoin(channels[1:]).copy(interpretation="srgb")
        picture.pngsave(str(part), compression=1)


def draw_mask(path: Path, size: tuple[int, int]) -> None:
    """Write a PNG of (width, height) px: random classes in blocks, in COLOURS."""
    write_mask(path, _bands(size), size, COLOURS)


def _bands(size: tuple[int, int]) -> Iterator[np.ndarray]:
    width, height = size
    rng = np.random.default_rng(1)
    for top in range(0, height, BAND_ROWS):
        blocks = rng.integers(0, len(COLOURS), (BAND_ROWS // BLOCK_PX, -(-width // BLOCK_PX)), dtype=np.uint8)
        yield np.kron(blocks, np.ones((BLOCK_PX, BLOCK_PX), np.uint8))[: height - top, :width]
