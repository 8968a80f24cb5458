"""The regions of a map after clean-up, band by band: which px are of which, and a row of figures for each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from acinus.maps.geometry import MapGeometry
from acinus.regions.amounts import positive_values, tumour_mask
from acinus.regions.band_labels import BandLabels
from acinus.regions.clean_bands import Bands, ClassBand, filled_bands
from acinus.regions.cleaned import EIGHT
from acinus.regions.operating_point import CleanUp
from acinus.regions.statistics import Statistics, of_components, of_pieces


@dataclass(frozen=True, eq=False)
class CleanBand:
    """Rows of a cleaned map from `top` on, all (rows, columns) but prob, uint8 (channels, rows, columns) as it was.

    classes: uint8, 0 where what was too small was removed; regions: int64, the region (from 1) of every px, 0 outside.
    """

    top: int
    prob: np.ndarray
    looked: np.ndarray
    classes: np.ndarray
    regions: np.ndarray


@dataclass(frozen=True, eq=False)
class Found:
    """What `find_regions` found.

    rows: the columns of records.REGIONS but slide_id; lesion is None. boxes: int64 (regions + 1, 4), first row,
    first column, last row, last column of each region in map px (box 0 means nothing).
    """

    rows: list[dict[str, Any]]
    boxes: np.ndarray
    geometry: MapGeometry
    _begin: Callable[[], Iterator[ClassBand]]
    _region: np.ndarray  # of every piece

    def bands(self) -> Iterator[CleanBand]:
        """Yield the cleaned map from top to bottom; each call is a pass over the map."""
        labels = BandLabels(EIGHT)
        for band in self._begin():
            regions = self._region[labels.add(band.positive_classes)[0]]
            classes = np.where(band.mask & (regions == 0), band.other, band.classes).astype(np.uint8)
            yield CleanBand(band.top, band.prob, band.looked, classes, regions)

    def classes(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (top, predicted classes after clean-up, uint8 (rows, columns)) from top to bottom."""
        for band in self.bands():
            yield band.top, band.classes


def find_regions(
    bands: Bands,
    geometry: MapGeometry,
    point: CleanUp,
    positive: tuple[int, ...],
    mpp: tuple[float, float] | None,
) -> Found:
    """Return the regions of the positive classes after the clean-up of `regions.cleaned_classes`.

    positive: class indices; a map of one channel has classes 0 and 1. mpp: (x, y) in um per level-0 px.
    A region is what is 8-connected of one class; where positive classes touch, there are several side by side. The
    clean-up looks at what is 8-connected of all of them together: a region of fewer than point.min_region_px px, or
    that reaches point.min_peak nowhere, stays where it is part of something that is larger, or does.
    Regions count up from 1 by their first px, row by row; a region across a border of bands is one. Figures per region:

    - area_px in map px; area_mm2 as in `quantify.Amounts`: a px cut by the slide's border counts by its share.
    - centroid: mean of the px centres, each px alike; bounding box of the px: all cut at the slide's border.
    - prob_max, prob_mean, peak: of the probability of any positive class as the map has it, before smoothing.
    - class_index: the class of all its px.

    Two passes over the map, three where holes are filled; another for each call of `Found.bands`.

    Raises:
        ValueError: bands that do not lie on the map's grid.
    """
    begin = filled_bands(bands, geometry.rows, point, positive)
    # of one positive class, what is connected is of one class already
    labels, pieces, whole = BandLabels(EIGHT), list[Statistics](), [np.zeros(0, dtype=np.int64)]
    peaks = [np.zeros(0, dtype=np.int64)]
    unions = BandLabels(EIGHT) if len(positive) > 1 else labels
    for band in _fitting(begin(), geometry):
        numbers, before = labels.add(band.positive_classes)
        union = numbers if unions is labels else unions.add(band.mask)[0]
        local = np.where(band.mask, numbers - before, 0)
        values, number = positive_values(band.prob, positive), labels.number - before
        pieces.append(of_pieces(local, values, band.classes, number, band.top, geometry.shape))
        whole.append(_union_of(local, union, number))
        peaks.append(_peaks(local, band.smooth, number))
    component = labels.components()
    found = of_components(pieces, component[1:] - 1, int(component.max()))
    union_of_piece = (component if unions is labels else unions.components())[np.concatenate(whole)]
    of_piece = (component[1:] - 1, union_of_piece)
    peak = np.zeros(len(found.area), dtype=np.int64)
    np.maximum.at(peak, of_piece[0], np.concatenate(peaks))
    large = _of_union(np.add, found.area, *of_piece) >= point.min_region_px
    kept = np.flatnonzero(large & tumour_mask(_of_union(np.maximum, peak, *of_piece), point.min_peak))
    region = np.zeros(len(found.area) + 1, dtype=np.int64)
    region[kept + 1] = np.arange(1, len(kept) + 1)
    boxes = np.stack([found.top, found.left, found.bottom, found.right], axis=1)[kept]
    row_of = _rows(found, geometry, mpp)
    rows = [{"region": number, **row_of(which)} for number, which in enumerate(kept.tolist(), start=1)]
    return Found(rows, np.concatenate([np.zeros((1, 4), dtype=np.int64), boxes]), geometry, begin, region[component])


def _fitting(bands: Iterator[ClassBand], geometry: MapGeometry) -> Iterator[ClassBand]:
    """Yield the bands; ValueError where they do not lie on the map's grid."""
    row = 0
    for band in bands:
        if band.top != row or band.mask.shape[1] != geometry.columns:
            raise ValueError(f"band {band.mask.shape} at row {band.top}, expected {geometry.columns} columns at {row}")
        row += len(band.mask)
        yield band
    if row != geometry.rows:
        raise ValueError(f"bands end at row {row}, expected {geometry.rows} rows")


def _union_of(pieces: np.ndarray, unions: np.ndarray, number: int) -> np.ndarray:
    """Return which piece of the union each of a band's `number` pieces lies in, int64 (number,)."""
    result = np.zeros(number + 1, dtype=np.int64)
    result[pieces] = unions
    return result[1:]


def _peaks(pieces: np.ndarray, values: np.ndarray, number: int) -> np.ndarray:
    """Return the largest value of each of a band's `number` pieces, int64 (number,)."""
    result = np.zeros(number + 1, dtype=np.int64)
    inside = pieces > 0
    np.maximum.at(result, pieces[inside], values[inside])
    return result[1:]


def _of_union(joined: np.ufunc, values: np.ndarray, component: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Return the sum (or maximum) of the values within the union that each component lies in, int64 (components,).

    values: of the components, none below 0; component and union: those of each piece.
    """
    union_of = np.zeros(len(values), dtype=np.int64)
    union_of[component] = union
    total = np.zeros(int(union_of.max(initial=0)) + 1, dtype=np.int64)
    joined.at(total, union_of, values)
    return total[union_of]


def _rows(found: Statistics, geometry: MapGeometry, mpp: tuple[float, float] | None) -> Callable[[int], dict[str, Any]]:
    """Return what gives the figures of one component as a row of records.REGIONS but slide_id and region."""
    edges_x0, edges_y0, downsample = geometry.edges_x0, geometry.edges_y0, geometry.downsample
    # a px that the border cuts has its centre in the middle of what is left
    cut_x0, cut_y0 = geometry.columns * downsample - geometry.width, geometry.rows * downsample - geometry.height

    def row(which: int) -> dict[str, Any]:
        area, last_column, last_row = (int(of[which]) for of in (found.area, found.last_column, found.last_row))
        x0_sum = (int(found.column_sum[which]) + area / 2) * downsample - last_column * cut_x0 / 2
        y0_sum = (int(found.row_sum[which]) + area / 2) * downsample - last_row * cut_y0 / 2
        peak_row, peak_column = divmod(int(found.peak_at[which]), geometry.columns)
        whole_px = geometry.area_of(area, last_column, last_row, bool(found.corner[which]))
        return {
            "class_index": int(found.class_index[which]),
            "area_px": area,
            "area_mm2": whole_px * mpp[0] * mpp[1] * downsample**2 / 1e6 if mpp else None,
            "centroid_x0": x0_sum / area,
            "centroid_y0": y0_sum / area,
            "x0": float(edges_x0[found.left[which]]),
            "y0": float(edges_y0[found.top[which]]),
            "x1": float(edges_x0[found.right[which] + 1]),
            "y1": float(edges_y0[found.bottom[which] + 1]),
            "prob_max": int(found.peak_value[which]) / 255,
            "prob_mean": int(found.value_sum[which]) / area / 255,
            "peak_x0": float(edges_x0[peak_column] + edges_x0[peak_column + 1]) / 2,
            "peak_y0": float(edges_y0[peak_row] + edges_y0[peak_row + 1]) / 2,
            "lesion": None,
        }

    return row
