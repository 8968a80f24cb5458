"""The regions of a map after clean-up, band by band: which px are of which, and a row of numbers for each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from acinus.maps.geometry import MapGeometry
from acinus.regions.amounts import positive_values, tumour_mask
from acinus.regions.clean_bands import BandLabels, Bands, ClassBand, filled_bands
from acinus.regions.cleaned import best_of, others_than
from acinus.regions.operating_point import CleanUp

_SUMS = ("area", "last_column", "last_row", "corner", "row_sum", "column_sum", "value_sum")
_LEAST, _LARGEST = ("top", "left"), ("bottom", "right", "peak", "smooth_peak", "class_index", "union")
"""What is known of a piece of a mask, or of a region that pieces make up, from each of its px in rows and columns of
the map. area, and how much of it lies in the map's last column, last row and corner; sums of rows, columns and values
(0..255); smallest and largest row and column; peak: the highest value and its first px, see `_peak`; smooth_peak: the
highest value of the smoothed map. class_index and union, which all its px share: the class, and the piece of what is
8-connected of all positive classes together."""
_PLACES = (1 << 40) - 1


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
    _positive: tuple[int, ...]

    def bands(self) -> Iterator[CleanBand]:
        """Yield the cleaned map from top to bottom; each call is a pass over the map."""
        labels = BandLabels(2)
        for band in self._begin():
            regions = self._region[labels.add(band.positive_classes)[0]]
            removed = band.mask & (regions == 0)
            others = others_than(self._positive, len(band.smooth))
            band.classes[removed] = best_of(band.smooth[:, removed], others)
            yield CleanBand(band.top, band.prob, band.looked, band.classes, regions)

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
    """Return the regions of the positive classes after the clean-up of `cleaned.cleaned_classes`.

    positive: class indices; a map of one channel has classes 0 and 1. mpp: (x, y) in um per level-0 px.
    A region is what is 8-connected of one class; where positive classes touch, there are several side by side. The
    clean-up looks at what is 8-connected of all of them together: a region of fewer than point.min_region_px px, or
    that reaches point.min_peak nowhere, stays where it is part of something that is larger, or does.
    Regions count up from 1 by their first px, row by row; a region across a border of bands is one. Of a region:

    - area_px in map px; area_mm2 as in `amounts.Amounts`: a px cut by the slide's border counts by its share.
    - centroid: mean of the px centres, each px alike; bounding box of the px: all cut at the slide's border.
    - prob_max, prob_mean, peak: of the probability of any positive class as the map has it, before smoothing.
    - class_index: the class of all its px.

    Two passes over the map, three where holes are filled; another for each call of `Found.bands`.

    Raises:
        ValueError: bands that do not lie on the map's grid.
    """
    begin = filled_bands(bands, geometry.rows, point, positive)
    labels, statistics = BandLabels(2), list[dict[str, np.ndarray]]()
    # of one positive class, what is connected is of one class already
    unions = BandLabels(2) if len(positive) > 1 else labels
    for band in _fitting(begin(), geometry):
        pieces, before = labels.add(band.positive_classes)
        union = pieces if unions is labels else unions.add(band.mask)[0]
        inside = np.nonzero(pieces)
        of_px = _of_px(band, inside, positive, geometry.shape) | {"union": union[inside]}
        statistics.append(_reduced(of_px, pieces[inside] - before - 1, labels.number - before))
    component = labels.components()
    of_pieces = {name: np.concatenate([band[name] for band in statistics]) for name in statistics[0]}
    of_pieces["union"] = (component if unions is labels else unions.components())[of_pieces["union"]]
    of_regions = _reduced(of_pieces, component[1:] - 1, int(component.max()))
    union = of_regions["union"]
    area, peak = np.zeros((2, int(union.max(initial=0)) + 1), dtype=np.int64)  # of the unions
    np.add.at(area, union, of_regions["area"])
    np.maximum.at(peak, union, of_regions["smooth_peak"])
    kept = np.flatnonzero((area[union] >= point.min_region_px) & tumour_mask(peak[union], point.min_peak))
    region = np.zeros(len(union) + 1, dtype=np.int64)
    region[kept + 1] = np.arange(1, len(kept) + 1)
    of_kept = {name: values[kept] for name, values in of_regions.items()}
    boxes = np.stack([of_kept[name] for name in ("top", "left", "bottom", "right")], axis=1)
    boxes = np.concatenate([np.zeros((1, 4), dtype=np.int64), boxes])
    return Found(_rows(of_kept, geometry, mpp), boxes, geometry, begin, region[component], positive)


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


def _of_px(
    band: ClassBand, inside: tuple[np.ndarray, ...], positive: tuple[int, ...], shape: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Return the statistics of single px of a band, (n,) each; inside: their rows and columns. shape: of the map."""
    row, column = inside[0] + band.top, inside[1]
    value = positive_values(band.prob, positive)[inside]
    last_column, last_row = column == shape[1] - 1, row == shape[0] - 1
    return {
        "area": np.ones(len(row), dtype=np.int64),
        "last_column": last_column,
        "last_row": last_row,
        "corner": last_column & last_row,
        "row_sum": row,
        "column_sum": column,
        "value_sum": value,
        "top": row,
        "left": column,
        "bottom": row,
        "right": column,
        "peak": _peak(value, row * shape[1] + column),
        "smooth_peak": positive_values(band.smooth, positive)[inside],
        "class_index": band.classes[inside],
    }


def _peak(value: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return value and place of a px in one number, int64, that is the larger the higher the value, then the earlier.

    place: row * columns + column, below 2^40.
    """
    return (value.astype(np.int64) << 40) | (_PLACES - place)


def _reduced(of_parts: Mapping[str, np.ndarray], group: np.ndarray, number: int) -> dict[str, np.ndarray]:
    """Return the statistics of the groups 0..number-1, int64 (number,), from those of their parts, none empty."""
    result = {}
    for names, ufunc, start in ((_SUMS, np.add, 0), (_LEAST, np.minimum, _PLACES), (_LARGEST, np.maximum, 0)):
        for name in names:
            result[name] = np.full(number, start, dtype=np.int64)
            ufunc.at(result[name], group, of_parts[name].astype(np.int64, copy=False))
    return result


def _rows(
    regions: Mapping[str, np.ndarray], geometry: MapGeometry, mpp: tuple[float, float] | None
) -> list[dict[str, Any]]:
    """Return the statistics of all regions as rows of records.REGIONS but slide_id."""
    edges_x0, edges_y0, downsample = geometry.edges_x0, geometry.edges_y0, geometry.downsample
    # a px that the border cuts has its centre in the middle of what is left
    cut_x0, cut_y0 = geometry.columns * downsample - geometry.width, geometry.rows * downsample - geometry.height
    rows = []
    for number in range(len(regions["area"])):
        of = {name: int(values[number]) for name, values in regions.items()}
        area = of["area"]
        x0_sum = (of["column_sum"] + area / 2) * downsample - of["last_column"] * cut_x0 / 2
        y0_sum = (of["row_sum"] + area / 2) * downsample - of["last_row"] * cut_y0 / 2
        peak_row, peak_column = divmod(_PLACES - (of["peak"] & _PLACES), geometry.columns)
        whole_px = geometry.area_of(area, of["last_column"], of["last_row"], of["corner"])
        rows.append(
            {
                "region": number + 1,
                "class_index": of["class_index"],
                "area_px": area,
                "area_mm2": whole_px * mpp[0] * mpp[1] * downsample**2 / 1e6 if mpp else None,
                "centroid_x0": x0_sum / area,
                "centroid_y0": y0_sum / area,
                "x0": float(edges_x0[of["left"]]),
                "y0": float(edges_y0[of["top"]]),
                "x1": float(edges_x0[of["right"] + 1]),
                "y1": float(edges_y0[of["bottom"] + 1]),
                "prob_max": (of["peak"] >> 40) / 255,
                "prob_mean": of["value_sum"] / area / 255,
                "peak_x0": float(edges_x0[peak_column] + edges_x0[peak_column + 1]) / 2,
                "peak_y0": float(edges_y0[peak_row] + edges_y0[peak_row + 1]) / 2,
                "lesion": None,
            }
        )
    return rows
