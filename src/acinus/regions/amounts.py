"""Amounts of a slide from its probability map, band by band: classes, burden, areas, the counts behind Dice."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from acinus.maps.geometry import MapGeometry
from acinus.scoring.burden import burden_percent
from acinus.scoring.confusion import IGNORE, confusion, positive_overlap

ColourClasses = Callable[[np.ndarray], np.ndarray]
"""Mean colours (n, 3) of map px -> the class index of each, (n,), as a baseline sees it."""

ANNOTATION, TISSUE_MASK = "annotation", "tissue mask"
"""Whose tissue the annotated burden is a share of."""


@dataclass(frozen=True)
class Terms:
    """What is counted. classes: how many; positive: those that are tumour (foreground), never 0.

    majority: the commonest class of training, for the baseline that says nothing else. colour_classes: the
    colour-only baseline.
    """

    classes: int = 2
    positive: tuple[int, ...] = (1,)
    majority: int | None = None
    colour_classes: ColourClasses | None = None

    def __post_init__(self) -> None:
        if self.classes < 2 or not self.positive or not set(self.positive) <= set(range(1, self.classes)):
            raise ValueError(f"positive classes {self.positive} of {self.classes}, expected some of 1 and up")

    @property
    def channels(self) -> int:
        """Channels of the map: two classes need one."""
        return 1 if self.classes == 2 else self.classes


@dataclass(frozen=True, eq=False)
class Rows:
    """The next rows of a slide on its map's grid, each (rows, columns) but prob.

    prob: uint8 (channels, rows, columns), p * 255. tissue: bool. predicted: uint8 classes after clean-up. looked:
    bool, where the model has an answer. truth: uint8 class indices, 255 unknown, None where no px is known.
    true_tissue: bool, where the annotation has tissue, None where it does not tell. colour: mean colour of every px
    (rows, columns, 3), needed for a colour baseline.
    """

    prob: np.ndarray
    tissue: np.ndarray
    predicted: np.ndarray
    looked: np.ndarray
    truth: np.ndarray | None = None
    true_tissue: np.ndarray | None = None
    colour: np.ndarray | None = None


class Amounts:
    """Counts over the bands of one slide, from top to bottom; memory does not grow with them.

    - Predicted class: as it is after clean-up (`table.Found`). Tissue changes none of them; the colour baseline
      answers where the model does, the majority in all tissue.
    - tumour_px, burden_pred, class_px: of predictions inside tissue.
    - confusion and the counts of Dice (intersection_px, pred_px, true_px: any positive class): over every px
      of the slide whose truth is known, inside tissue or not, so tumour where no window looked counts as
      missed. confusion_ceiling: of a model that is right wherever it looked. None where no truth is known.
    - outside_px, outside_mm2: true positive classes outside tissue.
    - true_tumour_px and burden_true: true positive classes inside true_tissue_px of tissue: the annotation's own
      where it tells (burden_source annotation), else the mask's (tissue mask). None if the truth of any of these
      px is unknown, since a part of the tumour might lie there.
    - Areas: px * mpp_x * mpp_y * downsample^2 / 1e6; a px cut by the slide's border counts by its share.
      None without mpp.
    - score_max, score_p99: maximum and 99th percentile (linear) over tissue px of the positive probability: the
      sum of the positive channels' uint8 values, at most 255, over 255. None without tissue.
    """

    def __init__(
        self, geometry: MapGeometry, terms: Terms, mpp: tuple[float, float] | None, mpp_source: str | None = None
    ) -> None:
        """mpp: (x, y) in um per level-0 px."""
        if mpp is not None and not all(0 < value < math.inf for value in mpp):
            raise ValueError(f"mpp is {mpp}, expected two numbers above 0, or None where it is unknown")
        self._geometry, self._terms, self._mpp, self._mpp_source = geometry, terms, mpp, mpp_source
        self._row = 0
        self._class_px = np.zeros(terms.classes, dtype=np.int64)
        self._scores = np.zeros(256, dtype=np.int64)  # tissue px by their positive probability
        self._tissue, self._tumour = np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64)  # see _border_counts
        self._outside = np.zeros(4, dtype=np.int64)  # true tumour
        self._true_tumour_px, self._true_tissue_px, self._unknown_px = 0, 0, 0  # in the tissue of the true burden
        self._annotated = False  # whether that is the annotation's
        square = (terms.classes, terms.classes)
        self._confusions = {name: np.zeros(square, dtype=np.int64) for name in ("confusion", "confusion_ceiling")}
        if terms.majority is not None:
            self._confusions["confusion_majority"] = np.zeros(square, dtype=np.int64)
        if terms.colour_classes is not None:
            self._confusions["confusion_colour"] = np.zeros(square, dtype=np.int64)

    def add(self, rows: Rows) -> None:
        """Count the next rows of the map.

        Raises:
            ValueError: arrays that do not lie on the map's grid, or an index that is no class.
        """
        self._check(rows)
        terms, tissue, truth, predicted = self._terms, rows.tissue, rows.truth, rows.predicted
        positive = np.isin(predicted, terms.positive) & tissue
        self._row += tissue.shape[0]
        last = self._row == self._geometry.rows
        self._tissue += _border_counts(tissue, last)
        self._tumour += _border_counts(positive, last)
        self._class_px += np.bincount(predicted[tissue], minlength=terms.classes)
        self._scores += np.bincount(positive_values(rows.prob, terms.positive)[tissue], minlength=256)
        true_tissue = tissue if rows.true_tissue is None else rows.true_tissue
        self._annotated |= rows.true_tissue is not None
        self._true_tissue_px += int(np.count_nonzero(true_tissue))
        if truth is None:
            self._unknown_px += int(np.count_nonzero(true_tissue))
            return
        true = np.isin(truth, terms.positive)
        self._outside += _border_counts(true & ~tissue, last)
        self._unknown_px += int(np.count_nonzero(true_tissue & (truth == IGNORE)))
        self._true_tumour_px += int(np.count_nonzero(true_tissue & true))
        for name, matrix in self._confusions.items():
            matrix += confusion(truth, self._answers(name, rows, truth), terms.classes)

    def result(self) -> dict[str, Any]:
        """Return the columns of records.QUANTITIES but slide_id and those of regions, lesions and instances.

        Raises:
            ValueError: rows of the map are missing.
        """
        geometry, mpp = self._geometry, self._mpp
        if self._row != geometry.rows:
            raise ValueError(f"bands end at row {self._row}, expected {geometry.rows} rows")
        tissue_px, tumour_px = int(self._tissue[0]), int(self._tumour[0])
        px_mm2 = mpp[0] * mpp[1] * geometry.downsample**2 / 1e6 if mpp else None
        return {
            "tumour_px": tumour_px,
            "tissue_px": tissue_px,
            "map_downsample": float(geometry.downsample),
            "burden_pred": burden_percent(tumour_px, tissue_px),
            "tumour_mm2": geometry.area_of(*self._tumour.tolist()) * px_mm2 if px_mm2 else None,
            "tissue_mm2": geometry.area_of(*self._tissue.tolist()) * px_mm2 if px_mm2 else None,
            "mpp_source": self._mpp_source if mpp else None,
            "class_px": self._class_px.tolist(),
            "score_max": float(np.flatnonzero(self._scores)[-1]) / 255 if tissue_px else None,
            "score_p99": percentile(self._scores, 99) / 255 if tissue_px else None,
            **self._against_truth(px_mm2),
        }

    def _answers(self, name: str, rows: Rows, truth: np.ndarray) -> np.ndarray:
        """Return the classes that the model, a perfect one or a baseline says, uint8 (rows, columns)."""
        if name == "confusion":
            return rows.predicted
        answers, colour_classes = np.zeros_like(rows.predicted), self._terms.colour_classes
        if name == "confusion_ceiling":
            right = rows.looked & (truth != IGNORE)
            answers[right] = truth[right]
        elif name == "confusion_majority":
            answers[rows.tissue] = self._terms.majority
        elif rows.colour is not None and colour_classes is not None and rows.looked.any():
            answers[rows.looked] = colour_classes(rows.colour[rows.looked])
        return answers

    def _against_truth(self, px_mm2: float | None) -> dict[str, Any]:
        """Return the columns that need the truth, all None where there is none."""
        names = ("true_tumour_px", "true_tissue_px", "burden_true", "burden_source", "outside_px", "outside_mm2")
        counts_px = ("intersection_px", "pred_px", "true_px")
        matrices = ("confusion", "confusion_ceiling", "confusion_majority", "confusion_colour")
        result: dict[str, Any] = dict.fromkeys((*names, *counts_px, *matrices))
        if not self._confusions["confusion"].any():
            return result
        counts = positive_overlap(self._confusions["confusion"], self._terms.positive)
        result |= {"intersection_px": counts.intersection, "pred_px": counts.predicted, "true_px": counts.true}
        result["outside_px"] = int(self._outside[0])
        result["outside_mm2"] = self._geometry.area_of(*self._outside.tolist()) * px_mm2 if px_mm2 else None
        if not self._unknown_px:
            result |= {
                "true_tumour_px": self._true_tumour_px,
                "true_tissue_px": self._true_tissue_px,
                "burden_true": burden_percent(self._true_tumour_px, self._true_tissue_px),
                "burden_source": ANNOTATION if self._annotated else TISSUE_MASK,
            }
        return result | {name: matrix.ravel().tolist() for name, matrix in self._confusions.items()}

    def _check(self, band: Rows) -> None:
        """Refuse arrays that do not lie on one grid."""
        rows = band.tissue.shape[0]
        grid = (rows, self._geometry.columns)
        if rows < 1 or self._row + rows > self._geometry.rows:
            raise ValueError(f"band of {rows} rows at row {self._row}, the map has {self._geometry.rows}")
        for name, values, dtype, shape in (
            ("tissue", band.tissue, np.bool_, grid),
            ("prob", band.prob, np.uint8, (self._terms.channels, *grid)),
            ("predicted", band.predicted, np.uint8, grid),
            ("looked", band.looked, np.bool_, grid),
            ("truth", band.truth, np.uint8, grid),
            ("true_tissue", band.true_tissue, np.bool_, grid),
        ):
            if values is not None and (values.shape != shape or values.dtype != dtype):
                raise ValueError(f"{name} is {values.dtype} {values.shape}, expected {np.dtype(dtype)} {shape}")
        colour = band.colour
        if band.truth is not None and self._terms.colour_classes and (colour is None or colour.shape != (*grid, 3)):
            colour_shape = None if colour is None else colour.shape
            raise ValueError(f"colour is {colour_shape}, expected {(*grid, 3)} for the colour baseline")


def positive_values(prob: np.ndarray, positive: tuple[int, ...]) -> np.ndarray:
    """Return p * 255 of "any positive class", uint8 (rows, columns): the sum of their channels, at most 255."""
    if len(prob) == 1:
        return prob[0]
    return np.minimum(prob[list(positive)].sum(axis=0, dtype=np.uint16), 255).astype(np.uint8)


def tumour_mask(prob: np.ndarray, threshold: float) -> np.ndarray:
    """Return where the map says tumour: value v (p = v / 255) with v >= threshold * 255, bool.

    The bound is the smallest whole v that is not below threshold * 255 (within 1e-9, so that a threshold
    of k / 255 means v >= k); 0.5 means v >= 128.
    """
    return prob >= math.ceil(threshold * 255 - 1e-9)


def percentile(histogram: np.ndarray, percent: float) -> float:
    """Return numpy's linear percentile of the values 0, 1, 2... that occur `histogram` times (at least one in all)."""
    below = np.cumsum(histogram)
    rank = (int(below[-1]) - 1) * (percent / 100)
    low = math.floor(rank)
    first, second = np.searchsorted(below, [low, min(low + 1, int(below[-1]) - 1)], side="right").tolist()
    share = rank - low  # numpy interpolates from the nearer end, so that the result is exact at both
    return second - (second - first) * (1 - share) if share >= 0.5 else first + (second - first) * share


def _border_counts(mask: np.ndarray, last: bool) -> np.ndarray:
    """Return px of a mask in all, in the last column, in the map's last row and in its corner; last: it ends there."""
    ends = (np.count_nonzero(mask[-1]), mask[-1, -1]) if last else (0, 0)
    return np.array([np.count_nonzero(mask), np.count_nonzero(mask[:, -1]), *ends], dtype=np.int64)
