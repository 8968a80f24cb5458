"""Regions and classes against a slide's truth: which lesions are hit, and the instances behind panoptic quality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from acinus.labels.labels import Labels
from acinus.maps.geometry import MapGeometry
from acinus.regions.cleaned import EIGHT
from acinus.scoring.froc import Lesions, hit, lesions
from acinus.scoring.panoptic import pq_counts

LESION_UM = 0.243 * 32
"""Um per px at which lesions are judged (CAMELYON16's evaluation: level 5 of 0.243 um per px), on any slide."""
_ROWS = 512  # rows of truth that are drawn at a time


@dataclass(frozen=True, eq=False)
class LesionGrid:
    """The lesions of a slide on their own grid. downsample: level-0 px per px of it."""

    lesions: Lesions
    downsample: float

    def under(self, row: Mapping[str, Any]) -> int:
        """Return the lesion under the peak of a row of records.REGIONS: from 1; 0 none, -1 isolated tumour cells."""
        return hit(self.lesions, row["peak_x0"] / self.downsample, row["peak_y0"] / self.downsample)


def lesion_grid(labels: Labels, size: tuple[int, int], mpp: float | None, positive: Sequence[int]) -> LesionGrid | None:
    """Return the lesions of all positive classes together, or None where mpp is not known: they are judged in um.

    size: (width, height) of the slide in level-0 px. mpp: um per level-0 px. The truth is looked at in the px centres
    of a grid of LESION_UM per px (of level 0 where that is coarser). Memory is that grid's, whatever the map is.
    """
    if mpp is None:
        return None
    grid = MapGeometry(*size, max(1.0, LESION_UM / mpp))
    tumour = np.empty(grid.shape, dtype=bool)
    for top in range(0, grid.rows, _ROWS):
        rows = min(_ROWS, grid.rows - top)
        tumour[top : top + rows] = np.isin(labels.raster(grid.columns, rows, grid.downsample, top), positive)
    return LesionGrid(lesions(tumour, grid.downsample * mpp), grid.downsample)


def pq_of_classes(true_instances: np.ndarray, classes: np.ndarray, geometry: MapGeometry) -> list[float]:
    """Return [sum of IoU, TP, FP, FN] of every class, flat; those of class 0 (background) are 0.

    true_instances: int (classes, height, width) of the whole slide, the instances of each class by its index, 0
    outside (channel 0 is not looked at). classes: uint8 predicted classes on the map's grid, brought to level 0 by
    the px under each px's centre; an instance is what is 8-connected of one class.
    """
    full = classes[np.ix_(*geometry.under(geometry.width, geometry.height, 1.0))]
    counts = [0.0] * 4
    for index in range(1, len(true_instances)):
        predicted, _ = ndimage.label(full == index, EIGHT)
        of_class = pq_counts(true_instances[index], predicted)
        counts += [float(of_class.iou_sum), float(of_class.tp), float(of_class.fp), float(of_class.fn)]
    return counts
