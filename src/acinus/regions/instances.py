"""Predicted instances against true ones: the counts behind panoptic quality, class by class."""

import numpy as np
from scipy import ndimage

from acinus.maps.geometry import MapGeometry
from acinus.regions.cleaned import EIGHT
from acinus.scoring.panoptic import pq_counts


def pq_of_classes(true_instances: np.ndarray, classes: np.ndarray, geometry: MapGeometry) -> list[float]:
    """Return [sum of IoU, TP, FP, FN] of every class, flat; those of class 0 (background) are 0.

    true_instances: int (classes, height, width) of the whole slide, the instances of each class by its index, 0
    outside (channel 0 is not looked at). classes: uint8 predicted classes on the map's grid, brought to level 0 by
    the px under each px's centre; an instance is what is 8-connected of one class.
    """
    row, column = (
        np.minimum(((np.arange(size) + 0.5) / geometry.downsample).astype(np.int64), count - 1)
        for size, count in ((geometry.height, geometry.rows), (geometry.width, geometry.columns))
    )
    full, counts = classes[np.ix_(row, column)], [0.0] * 4
    for index in range(1, len(true_instances)):
        predicted, _ = ndimage.label(full == index, EIGHT)
        found = pq_counts(true_instances[index], predicted)
        counts += [float(found.iou_sum), float(found.tp), float(found.fp), float(found.fn)]
    return counts
