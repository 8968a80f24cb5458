"""How the pixels of a map lie on the slide."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MapGeometry:
    """The grid of a map over a slide of `width` x `height` level-0 px, `downsample` level-0 px per map px.

    Map px (c, r) covers level-0 [c*D, (c+1)*D) x [r*D, (r+1)*D), cut at the slide's border, so the
    last column and the last row may be narrower. `downsample` need not be whole.
    """

    width: int
    height: int
    downsample: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or not 1.0 <= self.downsample < math.inf:
            raise ValueError(
                f"map of a {self.width} x {self.height} px slide at downsample {self.downsample}, "
                "expected a slide of at least 1 px and a downsample of at least 1"
            )

    @property
    def columns(self) -> int:
        """Map px across."""
        return math.ceil(self.width / self.downsample)

    @property
    def rows(self) -> int:
        """Map px down."""
        return math.ceil(self.height / self.downsample)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns), as numpy has it."""
        return self.rows, self.columns

    @property
    def edges_x0(self) -> np.ndarray:
        """Borders of the columns in level-0 px, float64 (columns + 1,), the last at the slide's border."""
        return np.minimum(np.arange(self.columns + 1) * self.downsample, self.width)

    @property
    def edges_y0(self) -> np.ndarray:
        """Borders of the rows in level-0 px, float64 (rows + 1,), the last at the slide's border."""
        return np.minimum(np.arange(self.rows + 1) * self.downsample, self.height)

    def under(self, columns: int, rows: int, downsample: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the map's rows and columns under the px centres of another grid, int64 (rows,) and (columns,).

        downsample: level-0 px per px of that grid.
        """
        row, column = (
            np.minimum(((np.arange(count) + 0.5) * downsample / self.downsample).astype(np.int64), size - 1)
            for count, size in ((rows, self.rows), (columns, self.columns))
        )
        return row, column

    def sampled(
        self, bands: Iterable[tuple[int, np.ndarray]], columns: int, rows: int, downsample: float
    ) -> np.ndarray:
        """Return the map's px under the centre of every px of another grid (see `under`), (..., rows, columns).

        bands: (top, (..., rows, columns)) of the whole map, from top to bottom.
        """
        row, column = self.under(columns, rows, downsample)
        parts = []
        for top, band in bands:
            inside = row[(row >= top) & (row < top + band.shape[-2])]
            parts.append(band[..., inside - top, :][..., column])
        return np.concatenate(parts, axis=-2)

    def area_of(self, everywhere: int, last_column: int, last_row: int, corner: int) -> float:
        """Return the area of a mask in whole map px; a px cut by the slide's border counts by its share.

        everywhere, last_column, last_row, corner: how many px the mask has in all and at the two cut borders.
        """
        cut_x = 1.0 - (self.width / self.downsample - (self.columns - 1))  # missing share of the last column
        cut_y = 1.0 - (self.height / self.downsample - (self.rows - 1))
        return float(everywhere - (cut_x * last_column + cut_y * last_row) + cut_x * cut_y * corner)
