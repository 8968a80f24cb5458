"""Probabilities -> predicted classes, smoothed and cleaned up: of a small map held whole, the rule for all others.

`table.find_regions` gives the same band by band, whatever the size of the slide.
"""

import numpy as np
from scipy import ndimage

from acinus.regions.amounts import positive_values, tumour_mask
from acinus.regions.operating_point import CleanUp
from acinus.tissue.pixels import holes

EIGHT = np.ones((3, 3), dtype=bool)
"""Px that touch by a side or a corner are of one region."""
FOUR = ndimage.generate_binary_structure(2, 1)
"""Px that touch by a side are of one hole: what separates a region's px joined by a corner is no way out."""
_TRUNCATE = 4.0  # sigmas on either side that a Gaussian is summed over


def cleaned_classes(prob: np.ndarray, looked: np.ndarray, point: CleanUp, positive: tuple[int, ...]) -> np.ndarray:
    """Return the class of every px, uint8 (rows, columns), of uint8 (channels, rows, columns) p * 255.

    looked: bool, px that a window covered: elsewhere there is no answer, and nothing is positive. Steps, all px of
    the map:

    1. `smoothed` by a Gaussian of sigma point.smoothing_px;
    2. of one channel, class 1 where the value reaches point.threshold (`amounts.tumour_mask`); of several the class
       of the largest value, whatever the threshold; where the model looked;
    3. holes (4-connected px that are not positive and do not reach the map's border) of at most point.max_hole_px px
       are filled, where the model looked: by the positive class of the largest value there, of equal ones the first;
    4. regions (8-connected) of fewer than point.min_region_px px are removed, and those that reach
       point.min_peak nowhere on the smoothed map: their px take the likeliest other class.

    Holes and regions are those of all `positive` classes together.
    """
    smooth = smoothed(prob, point.smoothing_px)
    classes = predicted_classes(smooth, looked, point.threshold)
    mask = np.isin(classes, positive)
    if point.max_hole_px:
        filled = holes(mask, point.max_hole_px) & looked
        classes[filled] = best_of(smooth[:, filled], positive)
        mask |= filled
    regions, number = ndimage.label(mask, EIGHT)
    kept = np.bincount(regions.ravel(), minlength=number + 1) >= point.min_region_px
    if point.min_peak:
        peaks = ndimage.maximum(positive_values(smooth, positive), regions, np.arange(number + 1))
        kept &= tumour_mask(np.asarray(peaks), point.min_peak)
    removed = mask & ~kept[regions]
    classes[removed] = best_of(smooth[:, removed], others_than(positive, len(smooth)))
    return classes


def others_than(positive: tuple[int, ...], channels: int) -> tuple[int, ...]:
    """Return the classes of a map of so many channels that are not positive, class 0 first."""
    return tuple(index for index in range(max(2, channels)) if index not in positive)


def predicted_classes(prob: np.ndarray, looked: np.ndarray, threshold: float) -> np.ndarray:
    """Return the class of every px before clean-up, uint8 (rows, columns), of uint8 (channels, rows, columns) p * 255.

    One channel: 1 where p >= threshold (`tumour_mask`). More: the channel of the largest value, of equal ones the
    lower. Where the model did not look (bool), 0.
    """
    if len(prob) == 1:
        return (tumour_mask(prob[0], threshold) & looked).astype(np.uint8)
    return np.where(looked, prob.argmax(axis=0), 0).astype(np.uint8)


def best_of(smooth: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    """Return which of `classes` has the largest value, uint8 (...), of uint8 (channels, ...); of two the only one."""
    if len(classes) == 1:
        return np.full(smooth.shape[1:], classes[0], dtype=np.uint8)
    return np.array(classes, dtype=np.uint8)[smooth[list(classes)].argmax(axis=0)]


def smoothed(prob: np.ndarray, sigma_px: float) -> np.ndarray:
    """Return uint8 (channels, rows, columns) convolved with a Gaussian (4 sigmas, reflecting borders), rounded."""
    if sigma_px <= 0:
        return prob
    values = prob.astype(np.float64)  # in place from here on: of a band of a large slide it is the largest array
    ndimage.gaussian_filter(values, (0.0, sigma_px, sigma_px), output=values, mode="reflect", truncate=_TRUNCATE)
    np.rint(values, out=values)
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


def reach(sigma_px: float) -> int:
    """Return how many rows above and below a px of the smoothed map depends on."""
    return int(_TRUNCATE * sigma_px + 0.5) if sigma_px > 0 else 0
