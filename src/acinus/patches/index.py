"""Every candidate patch of one slide: tissue fraction, class fractions, label."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from acinus import params
from acinus.errors import SlideError
from acinus.labels.labels import Labels
from acinus.patches.grid import cell_margin, positions
from acinus.patches.index_file import slide_rows
from acinus.records import IGNORE, NORMAL, TUMOR
from acinus.scoring.confusion import IGNORE as UNKNOWN
from acinus.slides.geometry import Resolution
from acinus.tissue.mask import TissueMask

ROUNDING = 1e-9
"""Area shares closer than this are equal: areas are float sums over coordinates of up to 10^5 px."""


@dataclass(frozen=True)
class SlideFacts:
    """What the index needs to know of a slide besides its pixels. width, height: level-0 px."""

    slide_id: str
    split: str
    width: int
    height: int


@dataclass(frozen=True)
class LabelRule:
    """What class fractions mean. classes: how many there are. positive: indices of those that count as tumour."""

    classes: int
    positive: tuple[int, ...]
    task: Literal["patch_classification", "segmentation", "slide_labels"]


@dataclass(frozen=True)
class Squares:
    """The patches of one slide and the part of each that is looked at: all of it, or its central cell.

    x0, y0: int64 (n,), corners of the patches. inner_x0, inner_y0, inner_edge0: the squares looked at. Level-0 px.
    """

    x0: np.ndarray
    y0: np.ndarray
    inner_x0: np.ndarray
    inner_y0: np.ndarray
    inner_edge0: float

    def on_slide(self, width: int, height: int) -> np.ndarray:
        """Return float64 (n,): the share of each inner square that lies on the slide."""
        edge = self.inner_edge0
        wide = np.clip(np.minimum(self.inner_x0 + edge, width) - np.maximum(self.inner_x0, 0), 0.0, edge)
        high = np.clip(np.minimum(self.inner_y0 + edge, height) - np.maximum(self.inner_y0, 0), 0.0, edge)
        share: np.ndarray = wide * high / edge**2
        return share


def index_slide(
    slide: SlideFacts,
    at: Resolution,
    tissue: TissueMask,
    labels: Labels,
    settings: params.Index,
    rule: LabelRule,
) -> pa.Table:
    """Return records.INDEX rows of a slide's candidate patches by y0, then x0 (an empty, valid table for none).

    A candidate has enough tissue *or* any tumour (any positive class): a coarse tissue mask must not lose a small
    lesion. A segmentation may ask for a share of foreground besides (settings.min_foreground_fraction). The label
    is never a reason to drop a patch. With settings.cell_px the fractions and the label are those of the
    cell in the middle of the patch, which may begin left of or above the slide.

    Raises:
        AcinusError: settings of less than one level-0 px.
        SlideError: labels of another number of classes than the rule's.
    """
    at_squares = squares(slide, at, settings)
    inner = at_squares.inner_x0, at_squares.inner_y0, at_squares.inner_edge0
    # shares of areas, which rounding may take out of [0, 1]
    tissue_fraction = np.clip(tissue.fractions(*inner), 0.0, 1.0)
    shares = np.clip(labels.fractions(*inner), 0.0, 1.0)
    if len(shares) != rule.classes + 1:
        raise SlideError(
            f"slide {slide.slide_id}: labels of {len(shares) - 1} classes, the recipe has {rule.classes}; mend classes"
        )
    tumour, ignored = np.clip(shares[list(rule.positive)].sum(axis=0), 0.0, 1.0), shares[-1]
    keep = (tissue_fraction >= settings.min_tissue_fraction) | (tumour > ROUNDING)
    if rule.task == "segmentation":
        keep &= tumour >= settings.min_foreground_fraction - ROUNDING
        unknown = ignored >= at_squares.on_slide(slide.width, slide.height) - ROUNDING
        label = foreground_of(tumour, unknown, settings.tumor_min_fraction)
    else:
        label = labels_of(shares, settings)
    columns: dict[str, np.ndarray | float] = {
        "x0": at_squares.x0[keep],
        "y0": at_squares.y0[keep],
        "downsample": at.downsample,
        "patch_px": settings.patch_px,
        "tissue_fraction": tissue_fraction[keep],
        "tumour_fraction": tumour[keep],
        "label": label[keep],
    }
    return slide_rows(slide.slide_id, slide.split, columns, shares[:-1, keep])


def squares(slide: SlideFacts, at: Resolution, settings: params.Index) -> Squares:
    """Return every patch of a slide, row by row, with what is looked at in it.

    Of cells, windows near the left and top border begin at negative px. AcinusError: an edge below one level-0 px.
    """
    step0, patch0 = settings.stride_px * at.downsample, settings.patch_px * at.downsample
    if settings.cell_px is None:
        x0, y0 = positions(slide.width, slide.height, patch0, step0)
        return Squares(x0, y0, x0, y0, patch0)
    # windows hang over the border, so that the cell stays in the middle of its own
    margin0, cell0 = cell_margin(settings.patch_px, settings.cell_px, at.downsample), settings.cell_px * at.downsample
    x0, y0 = positions(slide.width, slide.height, cell0, step0, "cell_px")
    return Squares(x0 - margin0, y0 - margin0, x0, y0, cell0)


def cell_truth(labels: Labels, columns: int, rows: int, edge0: float, top: int, settings: params.Index) -> np.ndarray:
    """Return the truth of cells, uint8 (rows, columns): a class or 255 (not known). edge0: of a cell, level-0 px.

    top: the first row. The rule is the index's own (any tumour in a cell may be enough), which a look at the
    cell's centre would miss.
    """
    x0, y0 = _cell_corners(columns, rows, edge0, top)
    label = labels_of(np.clip(labels.fractions(x0, y0, edge0), 0.0, 1.0), settings)
    return np.where(label == IGNORE, UNKNOWN, label).astype(np.uint8).reshape(rows, columns)


def cell_tissue(tissue: TissueMask, columns: int, rows: int, edge0: float, top: int, min_fraction: float) -> np.ndarray:
    """Return which cells have at least `min_fraction` tissue, bool (rows, columns); else as cell_truth."""
    x0, y0 = _cell_corners(columns, rows, edge0, top)
    return (tissue.fractions(x0, y0, edge0) >= min_fraction).reshape(rows, columns)


def _cell_corners(columns: int, rows: int, edge0: float, top: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tile(np.arange(columns) * edge0, rows), np.repeat((top + np.arange(rows)) * edge0, columns)


def labels_of(shares: np.ndarray, settings: params.Index) -> np.ndarray:
    """Return int64 (n,) labels of patches from area shares (classes + 1, n), the last what is ignored."""
    if len(shares) > 3:
        return class_of(shares[:-1], settings.min_class_fraction)
    return label_of(shares[TUMOR], shares[-1], settings.tumor_min_fraction, settings.normal_max_fraction)


def class_of(shares: np.ndarray, min_class_fraction: float) -> np.ndarray:
    """Return int64 labels from the area shares of more than two classes (classes, n): the class of the largest share.

    IGNORE where that is below `min_class_fraction` of the patch, what is ignored in it included, and where two
    classes have it alike.
    """
    largest = shares.max(axis=0)
    alone = (shares >= largest - ROUNDING).sum(axis=0) == 1
    return np.where(alone & (largest >= min_class_fraction - ROUNDING), shares.argmax(axis=0), IGNORE).astype(np.int64)


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


def foreground_of(tumour: np.ndarray, unknown: np.ndarray, tumor_min_fraction: float) -> np.ndarray:
    """Return int64 labels of a segmentation's patches: 1 from `tumor_min_fraction` up, else 0.

    IGNORE only where `unknown` (bool: no pixel of the patch has a truth to learn from).
    """
    label = np.where(tumour >= tumor_min_fraction - ROUNDING, TUMOR, NORMAL).astype(np.int64)
    label[unknown] = IGNORE
    return label
