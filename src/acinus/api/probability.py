"""A probability map in memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acinus.maps.tiff import read_map


@dataclass(frozen=True, eq=False)
class ProbabilityMap:
    """Class probabilities over a slide of `width` x `height` level-0 px.

    pixels: uint8, 255 is 1: (rows, columns) of the second of two classes, (classes, rows, columns) of more; 0 where
    the model did not look. classes: names of what `pixels` has. downsample: level-0 px per px of the map.
    mpp: (x, y) um per level-0 px, None where not known.
    """

    pixels: np.ndarray
    classes: tuple[str, ...]
    width: int
    height: int
    downsample: float
    mpp: tuple[float, float] | None

    @property
    def probability(self) -> np.ndarray:
        """`pixels` as float32 in [0, 1]."""
        return self.pixels.astype(np.float32) / np.float32(255)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) of the map in level-0 px, as matplotlib's imshow takes it.

        The last column and row may pass the slide's border.
        """
        rows, columns = self.pixels.shape[-2:]
        return 0.0, columns * self.downsample, rows * self.downsample, 0.0

    @classmethod
    def of_file(cls, path: Path) -> "ProbabilityMap":
        """Return the map of a file that stage infer or `acinus predict` wrote; all of it is held in memory.

        Raises:
            AcinusError: no such file, no map, or damaged.
        """
        pixels, geometry, info = read_map(path)
        return cls(pixels, info.classes, geometry.width, geometry.height, geometry.downsample, info.mpp)
