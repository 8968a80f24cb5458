"""Every candidate patch of one slide: tissue fraction, tumour fraction, label."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from acinus import params
from acinus.patches.grid import positions
from acinus.records import IGNORE, INDEX, NORMAL, TUMOR, check
from acinus.slides.geometry import Resolution
from acinus.slides.labels import Labels
from acinus.slides.tissue import TissueMask

ROUNDING = 1e-9
"""Area shares closer than this are equal: areas are float sums over coordinates of up to 10^5 px."""


@dataclass(frozen=True)
class SlideFacts:
    """What the index needs to know of a slide besides its pixels. width, height: level-0 px."""

    slide_id: str
    split: str
    width: int
    height: int


def index_slide(
    slide: SlideFacts, at: Resolution, tissue: TissueMask, labels: Labels, settings: params.Index
) -> pd.DataFrame:
    """Return records.INDEX rows of a slide's candidate patches (an empty, valid table where there are none).

    A candidate has enough tissue *or* any tumour: a coarse tissue mask must not lose a small lesion.
    The label is never a reason to drop a patch; a patch between the two limits is kept as IGNORE.
    """
    edge0 = settings.patch_px * at.downsample
    x0, y0 = positions(slide.width, slide.height, edge0, settings.stride_px * at.downsample)
    tissue_fraction = _share(tissue.fractions(x0, y0, edge0))
    tumour, ignored = (_share(fraction) for fraction in labels.fractions(x0, y0, edge0))
    keep = (tissue_fraction >= settings.min_tissue_fraction) | (tumour > ROUNDING)
    label = label_of(tumour, ignored, settings.tumor_min_fraction, settings.normal_max_fraction)
    rows = {
        "slide_id": slide.slide_id,
        "x0": x0[keep],
        "y0": y0[keep],
        "downsample": at.downsample,
        "patch_px": settings.patch_px,
        "tissue_fraction": tissue_fraction[keep],
        "tumour_fraction": tumour[keep],
        "label": label[keep],
        "split": slide.split,
    }
    return check(INDEX, pd.DataFrame(rows))


def label_of(
    tumour: np.ndarray, ignored: np.ndarray, tumor_min_fraction: float, normal_max_fraction: float
) -> np.ndarray:
    """Return int64 labels from area shares: TUMOR, NORMAL, or IGNORE in between and where the truth is unknown.

    Tumour from `tumor_min_fraction` up, whatever the rest of the patch is. Normal up to
    `normal_max_fraction`, and only where nothing of the patch is ignored.
    """
    label = np.full(tumour.shape, IGNORE, dtype=np.int64)
    label[(tumour <= normal_max_fraction + ROUNDING) & (ignored <= ROUNDING)] = NORMAL
    label[tumour >= tumor_min_fraction - ROUNDING] = TUMOR
    return label


def _share(fraction: np.ndarray) -> np.ndarray:
    """Return area shares without the rounding that leaves [0, 1]."""
    return np.clip(fraction, 0.0, 1.0)
