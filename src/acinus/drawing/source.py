"""Where the pictures of a recipe's slides are drawn from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from acinus import params
from acinus.labels.labels import LabelRow, LabelRules, Labels, open_labels
from acinus.labels.palette import Colour
from acinus.labels.places import Places, mpp_of
from acinus.maps.tiff import MapReader
from acinus.maps.windows import coverage_of
from acinus.paths import Paths
from acinus.regions.operating_point import OperatingPoint
from acinus.regions.table import find_regions
from acinus.tissue.mask import TissueMask, load_tissue

Row = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """A recipe's files, classes and settings, as far as pictures need them; travels to a worker.

    rules: what the labels mean. positive: indices of the positive classes. colours: {class: RGB} in class order.
    """

    paths: Paths
    places: Places
    rules: LabelRules
    positive: tuple[int, ...]
    colours: Mapping[str, Colour]
    point: OperatingPoint
    index: params.Index
    infer: params.Infer
    picture_px: int

    def labels(self, row: Row) -> Labels | None:
        """Return the slide's labels, or None where nothing is known."""
        if row["label_kind"] == "unknown":
            return None
        return open_labels(LabelRow.of(row, self.places.label(row)), self.rules)

    def tissue(self, row: Row) -> TissueMask:
        """Return the slide's tissue."""
        return load_tissue(self.paths.tissue / f"{row['slide_id']}.png", int(row["width"]), int(row["height"]))

    def classes(self, row: Row, reader: MapReader) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (top, predicted classes after clean-up, uint8 (rows, columns)) of the map, as they were counted."""
        grid = reader.geometry
        coverage = coverage_of(self.places.image(row), row, self.tissue(row), grid, self.index, self.infer)
        point = self.point.on_map(grid.downsample, mpp_of(row))
        return find_regions(lambda: coverage.beside(reader.bands()), grid, point, self.positive, None).classes()
