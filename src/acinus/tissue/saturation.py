"""Tissue by Otsu's cut of the saturation of an overview: the older rule, which loses what is pale."""

import numpy as np
from skimage.filters import threshold_otsu

from acinus.tissue.pixels import DARK, extremes, inked

SATURATION_CAP = 0.4  # what is more saturated is tissue anyway
OTSU_BINS = 256
BIMODAL = 0.7  # share of the variance between Otsu's classes; see saturation_threshold
GLASS_FACTOR = 2.0  # glass may be this many floors grey in the mean (old slides are tinted)


def classify(rgb: np.ndarray, min_saturation: float) -> np.ndarray:
    """Return bool (rows, columns): which px of an overview (uint8 rgb) are tissue.

    Never tissue, and no part of the histogram: px whose brightest channel is below DARK (scanner
    border, black pen, black filling), whose saturation is noise; and ink (`pixels.inked`).
    """
    high, low = extremes(rgb)
    pair = (high.astype(np.uint16) << 8) | low  # all that value and saturation depend on
    value, least = (levels / 255.0 for levels in np.divmod(np.arange(65536), 256))
    saturation = (value - least) / np.maximum(value, 1e-9)  # of HSV, by pair
    stained = (high >= DARK) & ~inked(rgb, high, low)
    counts = np.bincount(pair[stained], minlength=saturation.size)
    seen = counts > 0
    limit = saturation_threshold(saturation[seen], min_saturation, counts[seen])
    tissue: np.ndarray = stained & (saturation >= limit)[pair]
    return tissue


def saturation_threshold(saturation: np.ndarray, min_saturation: float, counts: np.ndarray) -> float:
    """Return the saturation from which on a px is tissue: Otsu's, or the floor where Otsu has no say.

    saturation: float64 (n,). counts: how many px have each of them.
    Otsu always cuts a histogram in two. The cut is believed only where it separates glass from
    tissue: the lower class is as grey as glass (mean below GLASS_FACTOR floors) and the two classes
    stand apart (share of the variance between them at least BIMODAL; one Gaussian has 0.64).
    Otherwise the slide is nearly all tissue (both classes coloured) or nearly all glass (one grey
    hump) and the floor decides: it keeps all of the one and none of the other.
    Saturation is capped first, so that a few vivid px cannot pull the cut above the tissue.
    Source: Otsu 1979, IEEE Trans. SMC 9(1), equation 12 for the share of the variance.
    """
    capped = np.minimum(saturation, SATURATION_CAP)
    if capped.size == 0 or float(np.ptp(capped)) < 1e-3:
        return min_saturation
    weights = counts.astype(np.float64)
    histogram, edges = np.histogram(capped, bins=OTSU_BINS, weights=weights)
    cut = float(threshold_otsu(hist=(histogram, (edges[:-1] + edges[1:]) / 2.0)))
    upper = capped > cut
    if not upper.any() or upper.all():
        return min_saturation
    high, low = np.average(capped[upper], weights=weights[upper]), np.average(capped[~upper], weights=weights[~upper])
    share, variance = weights[upper].sum() / weights.sum(), np.cov(capped, aweights=weights, ddof=0)
    between = share * (1.0 - share) * (high - low) ** 2 / variance
    if low <= GLASS_FACTOR * min_saturation and between >= BIMODAL:
        return max(cut, min_saturation)
    return min_saturation
