"""Amounts of a slide from its probability map, band by band: classes, burden, areas, the counts behind Dice."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from acinus.mapping.geometry import MapGeometry
from acinus.scoring.burden import burden_percent
from acinus.scoring.confusion import IGNORE, confusion, positive_overlap

ColourClasses = Callable[[np.ndarray], np.ndarray]
"""Mean colours (n, 3) of map px -> the class index of each, (n,), as a baseline sees it."""


@dataclass(frozen=True)
class Terms:
    """What is counted. classes: how many; positive: those that are tumour (foreground), never 0.

    threshold: on p of the one channel where there are two classes. majority: the commonest class of training,
    for the baseline that says nothing else. colour_classes: the colour-only baseline.
    """

    classes: int = 2
    positive: tuple[int, ...] = (1,)
    threshold: float = 0.5
    majority: int | None = None
    colour_classes: ColourClasses | None = None

    def __post_init__(self) -> None:
        if self.classes < 2 or not self.positive or not set(self.positive) <= set(range(1, self.classes)):
            raise ValueError(f"positive classes {self.positive} of {self.classes}, expected some of 1 and up")

    @property
    def channels(self) -> int:
        """Channels of the map: two classes need one."""
        return 1 if self.classes == 2 else self.classes


class Amounts:
    """Counts over the bands of one slide, from top to bottom; memory does not grow with them.

    - Predicted class: as it is given after clean-up (`region_table.Found`), else see `predicted_classes`; outside
      tissue nothing but class 0 is predicted, by the baselines neither.
    - confusion and the counts of Dice (intersection_px, pred_px, true_px: any positive class): over every px
      of the slide whose truth is known, inside tissue or not, so tumour that the tissue mask lost counts as
      missed. None where no truth is known.
    - true_tumour_px and burden_true: true positive classes inside tissue; None if the truth of any tissue px
      is unknown, since a part of the tumour might lie there.
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
        self._true_tumour_px, self._unknown_px = 0, 0  # inside tissue
        square = (terms.classes, terms.classes)
        self._confusions = {"confusion": np.zeros(square, dtype=np.int64)}
        if terms.majority is not None:
            self._confusions["confusion_majority"] = np.zeros(square, dtype=np.int64)
        if terms.colour_classes is not None:
            self._confusions["confusion_colour"] = np.zeros(square, dtype=np.int64)

    def add(
        self,
        prob: np.ndarray,
        tissue: np.ndarray,
        truth: np.ndarray | None = None,
        colour: np.ndarray | None = None,
        predicted: np.ndarray | None = None,
    ) -> np.ndarray:
        """Count the next rows of the map and return their predicted classes, uint8 (rows, columns).

        prob: uint8 (channels, rows, columns), p * 255; tissue: bool; truth: uint8 class indices, 255 unknown, None
        where no px is known; colour: mean colour of every px (rows, columns, 3), needed for a colour baseline;
        predicted: uint8 classes after clean-up, 0 outside tissue, None for those of `predicted_classes`.

        Raises:
            ValueError: arrays that do not lie on the map's grid, or an index that is no class.
        """
        self._check(prob, tissue, truth, colour)
        terms = self._terms
        if predicted is None:
            predicted = predicted_classes(prob, tissue, terms.threshold, terms.classes)
        elif predicted.shape != tissue.shape or predicted.dtype != np.uint8 or predicted[~tissue].any():
            raise ValueError(f"predicted is {predicted.dtype} {predicted.shape}, expected uint8, 0 outside tissue")
        positive = np.isin(predicted, terms.positive) & tissue
        self._row += tissue.shape[0]
        last = self._row == self._geometry.rows
        self._tissue += _border_counts(tissue, last)
        self._tumour += _border_counts(positive, last)
        self._class_px += np.bincount(predicted[tissue], minlength=terms.classes)
        self._scores += np.bincount(positive_values(prob, terms.positive)[tissue], minlength=256)
        if truth is None:
            self._unknown_px += int(np.count_nonzero(tissue))
            return predicted
        self._unknown_px += int(np.count_nonzero(tissue & (truth == IGNORE)))
        self._true_tumour_px += int(np.count_nonzero(tissue & np.isin(truth, terms.positive)))
        for name, matrix in self._confusions.items():
            matrix += confusion(truth, self._said(name, predicted, tissue, colour), terms.classes)
        return predicted

    def result(self) -> dict[str, Any]:
        """Return the columns of records.QUANTITIES but slide_id and those of regions, lesions and instances.

        Raises:
            ValueError: rows of the map are missing.
        """
        geometry, terms, mpp = self._geometry, self._terms, self._mpp
        if self._row != geometry.rows:
            raise ValueError(f"bands end at row {self._row}, expected {geometry.rows} rows")
        tissue_px, tumour_px = int(self._tissue[0]), int(self._tumour[0])
        px_mm2 = mpp[0] * mpp[1] * geometry.downsample**2 / 1e6 if mpp else None
        return {
            "tumour_px": tumour_px,
            "tissue_px": tissue_px,
            "map_downsample": float(geometry.downsample),
            "burden_pred": burden_percent(tumour_px, tissue_px),
            "tumour_mm2": _area(geometry, self._tumour) * px_mm2 if px_mm2 else None,
            "tissue_mm2": _area(geometry, self._tissue) * px_mm2 if px_mm2 else None,
            "mpp_source": self._mpp_source if mpp else None,
            "class_px": self._class_px.tolist(),
            "score_max": float(np.flatnonzero(self._scores)[-1]) / 255 if tissue_px else None,
            "score_p99": percentile(self._scores, 99) / 255 if tissue_px else None,
            **self._against_truth(tissue_px, terms.positive),
        }

    def _said(self, name: str, predicted: np.ndarray, tissue: np.ndarray, colour: np.ndarray | None) -> np.ndarray:
        """Return the classes that the model or a baseline says, uint8 (rows, columns)."""
        if name == "confusion":
            return predicted
        said = np.zeros_like(predicted)
        if name == "confusion_majority":
            said[tissue] = self._terms.majority
        elif colour is not None and self._terms.colour_classes is not None and tissue.any():
            said[tissue] = self._terms.colour_classes(colour[tissue])
        return said

    def _against_truth(self, tissue_px: int, positive: tuple[int, ...]) -> dict[str, Any]:
        """Return the columns that need the truth, all None where there is none."""
        names = ("true_tumour_px", "burden_true", "intersection_px", "pred_px", "true_px")
        matrices = ("confusion", "confusion_majority", "confusion_colour")
        result: dict[str, Any] = dict.fromkeys((*names, *matrices))
        if not self._confusions["confusion"].any():
            return result
        counts = positive_overlap(self._confusions["confusion"], positive)
        result |= {"intersection_px": counts.intersection, "pred_px": counts.predicted, "true_px": counts.true}
        if not self._unknown_px:
            burden_true = burden_percent(self._true_tumour_px, tissue_px)
            result |= {"true_tumour_px": self._true_tumour_px, "burden_true": burden_true}
        return result | {name: matrix.ravel().tolist() for name, matrix in self._confusions.items()}

    def _check(self, prob: np.ndarray, tissue: np.ndarray, truth: np.ndarray | None, colour: np.ndarray | None) -> None:
        """Refuse arrays that do not lie on one grid."""
        rows = tissue.shape[0]
        grid = (rows, self._geometry.columns)
        if rows < 1 or self._row + rows > self._geometry.rows:
            raise ValueError(f"band of {rows} rows at row {self._row}, the map has {self._geometry.rows}")
        for name, values, dtype, shape in (
            ("tissue", tissue, np.bool_, grid),
            ("prob", prob, np.uint8, (self._terms.channels, *grid)),
            ("truth", truth, np.uint8, grid),
        ):
            if values is not None and (values.shape != shape or values.dtype != dtype):
                raise ValueError(f"{name} is {values.dtype} {values.shape}, expected {np.dtype(dtype)} {shape}")
        if truth is not None and self._terms.colour_classes and (colour is None or colour.shape != (*grid, 3)):
            found = None if colour is None else colour.shape
            raise ValueError(f"colour is {found}, expected {(*grid, 3)} for the colour baseline")


def quantify(
    prob: np.ndarray,
    tissue: np.ndarray,
    truth: np.ndarray | None,
    threshold: float,
    geometry: MapGeometry,
    mpp: tuple[float, float] | None,
    mpp_source: str | None = None,
) -> dict[str, Any]:
    """Return the amounts of a small map of two classes held whole, all arrays (rows, columns); see Amounts."""
    amounts = Amounts(geometry, Terms(threshold=threshold), mpp, mpp_source)
    amounts.add(prob[None], tissue, truth)
    return amounts.result()


def predicted_classes(prob: np.ndarray, tissue: np.ndarray, threshold: float, classes: int) -> np.ndarray:
    """Return the class of every px, uint8 (rows, columns), of uint8 (channels, rows, columns) p * 255.

    Two classes (one channel): 1 where p >= threshold (`tumour_mask`). More: the channel of the largest value, of
    equal ones the lower. Outside tissue, and where no window ran (all channels 0), 0.
    """
    if classes == 2:
        return (tumour_mask(prob[0], threshold) & tissue).astype(np.uint8)
    return np.where(tissue, prob.argmax(axis=0), 0).astype(np.uint8)


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


def _area(geometry: MapGeometry, counts: np.ndarray) -> float:
    everywhere, last_column, last_row, corner = counts.tolist()
    return geometry.area_of(everywhere, last_column, last_row, bool(corner))
