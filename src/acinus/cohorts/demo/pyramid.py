"""Write a picture as the tiled pyramid that OpenSlide, QuPath and ASAP open."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from acinus.files import atomic_path

RGB = NDArray[np.uint8]
SMALLEST_EDGE_PX = 16
LEVELS = 8


def halve(picture: RGB) -> RGB:
    """Return the 2 x 2 box mean, rounded half up in integers; an odd last row or column counts twice."""
    odd_row, odd_column = picture.shape[0] % 2, picture.shape[1] % 2
    if odd_row or odd_column:
        picture = np.pad(picture, ((0, odd_row), (0, odd_column), (0, 0)), mode="edge")
    rows = picture[0::2].astype(np.uint16) + picture[1::2]
    return ((rows[:, 0::2] + rows[:, 1::2] + 2) >> 2).astype(np.uint8)


def levels(picture: RGB) -> Iterator[RGB]:
    """Yield the picture and its halvings, up to eight levels, while both edges are at least 16 px."""
    for level in range(LEVELS):
        if level and min(picture.shape[:2]) < SMALLEST_EDGE_PX:
            return
        yield picture
        picture = halve(picture)


def write_pyramid(path: Path, level0: RGB, mpp: float, tile_px: int = 512, quality: int = 85) -> None:
    """Write `level0` (h, w, 3) as a pyramidal BigTIFF of JPEG tiles with `mpp` in its resolution tags.

    Same pixels, same bytes: neither software nor date is written. `mpp` is um per level-0 pixel.

    Raises:
        AcinusError: the file cannot be written.
    """
    with atomic_path(path) as part, tifffile.TiffWriter(part, bigtiff=True) as writer:
        for level, picture in enumerate(levels(level0)):
            pixels_per_cm = 10_000 / (mpp * 2**level)
            writer.write(
                picture,
                photometric="rgb",  # the encoder turns it into YCbCr 4:2:0 itself
                compression="jpeg",
                compressionargs={"level": quality},
                tile=(tile_px, tile_px),
                resolution=(pixels_per_cm, pixels_per_cm),
                resolutionunit="CENTIMETER",
                subfiletype=1 if level else 0,
                software=False,
                metadata=None,
            )
