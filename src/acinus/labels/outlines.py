"""Labels that need no pixels: the same everywhere, or drawn as outlines."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely

from acinus.labels import polygons
from acinus.scoring.confusion import IGNORE
from acinus.slides.geometry import pixel_centres, window_centres

OUTLINED = 1
"""The class of what an outline goes around."""


@dataclass(frozen=True)
class Uniform:
    """The same label (class index or IGNORE) everywhere on a slide of width x height level-0 px."""

    value: int
    classes: int
    width: int
    height: int

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
        """See labels.Labels; a patch beyond the slide too is what the slide is."""
        shares = np.zeros((self.classes + 1, len(x0)))
        shares[-1 if self.value == IGNORE else self.value] = 1.0
        return shares

    def raster(self, columns: int, rows: int, downsample: float, top: int = 0) -> np.ndarray:
        """See labels.Labels."""
        return np.full((rows, columns), self.value, dtype=np.uint8)

    def windows(self, x0: np.ndarray, y0: np.ndarray, edge_px: int, downsample: float) -> Iterator[np.ndarray]:
        """See labels.Labels."""
        for left0, top0 in zip(np.asarray(x0).tolist(), np.asarray(y0).tolist(), strict=True):
            window = np.full((edge_px, edge_px), IGNORE, dtype=np.uint8)
            c, _ = window_centres(left0, edge_px, downsample, self.width)
            r, _ = window_centres(top0, edge_px, downsample, self.height)
            window[r, c] = self.value
            yield window


@dataclass(frozen=True)
class Outlined:
    """Labels from outlines in level-0 pixels. What is neither tumour (class 1) nor ignored is class 0.

    `looked_at` is the area outside which nothing is known; None means that all of the slide is known.
    """

    tumour: shapely.Geometry
    ignored: shapely.Geometry
    looked_at: shapely.Geometry | None
    width: int
    height: int
    classes: int = 2

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
        """See labels.Labels."""
        tumour = polygons.area_fractions(self.tumour, x0, y0, edge0)
        if self.looked_at is None:
            ignored = polygons.area_fractions(self.ignored, x0, y0, edge0)
        else:
            ignored = 1.0 - polygons.area_fractions(self.looked_at, x0, y0, edge0)
        shares = np.zeros((self.classes + 1, len(tumour)))
        shares[OUTLINED] = tumour
        shares[-1] = np.minimum(ignored, 1.0 - tumour)
        shares[0] = polygons.snapped(1.0 - tumour - shares[-1])
        return shares

    def raster(self, columns: int, rows: int, downsample: float, top: int = 0) -> np.ndarray:
        """See labels.Labels."""
        x = pixel_centres(columns, downsample, self.width)
        return self._at(x, pixel_centres(rows, downsample, self.height, top))

    def windows(self, x0: np.ndarray, y0: np.ndarray, edge_px: int, downsample: float) -> Iterator[np.ndarray]:
        """See labels.Labels."""
        for left0, top0 in zip(np.asarray(x0).tolist(), np.asarray(y0).tolist(), strict=True):
            window = np.full((edge_px, edge_px), IGNORE, dtype=np.uint8)
            c, x = window_centres(left0, edge_px, downsample, self.width)
            r, y = window_centres(top0, edge_px, downsample, self.height)
            window[r, c] = self._at(x, y)
            yield window

    def _at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the labels at a grid of level-0 points, uint8 (len(y), len(x))."""
        labels = np.zeros((len(y), len(x)), dtype=np.uint8)
        if self.looked_at is None:
            labels[polygons.rasterise(self.ignored, x, y)] = IGNORE
        else:
            labels[~polygons.rasterise(self.looked_at, x, y)] = IGNORE
        labels[polygons.rasterise(self.tumour, x, y)] = OUTLINED
        return labels
