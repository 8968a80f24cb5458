"""Patches of a slide as its map and its labels have them: how good each is, and rows of pictures of those chosen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acinus.charts.classes import patch_view
from acinus.drawing.source import Row, Source
from acinus.maps.geometry import MapGeometry
from acinus.maps.tiff import open_map
from acinus.pages.views import PatchResult, View
from acinus.regions.amounts import positive_values
from acinus.scoring.confusion import IGNORE, confusion, image_dice
from acinus.slides.geometry import at_downsample
from acinus.slides.open import open_slide

Place = tuple[int, int, float]
"""Level-0 x0 and y0 of a patch's corner, and its downsample."""


@dataclass(frozen=True)
class Crop:
    """One patch on the map's grid, uint8 (edge, edge): predicted classes, truth (255 unknown), positive probability."""

    predicted: np.ndarray
    truth: np.ndarray
    prob: np.ndarray


@dataclass(frozen=True)
class PatchJob:
    """Patches of one slide, and those of them to draw (in the folder); travels to a worker."""

    source: Source
    row: Row
    places: tuple[Place, ...]
    views: tuple[View, ...] = ()
    folder: Path | None = None


def patch_results(job: PatchJob) -> list[PatchResult]:
    """Return what a choice among the patches needs; those whose truth is not known are left out."""
    results = []
    for (x0, y0, _), crop in zip(job.places, _crops(job), strict=True):
        matrix = confusion(crop.truth, crop.predicted, len(job.source.colours))
        if matrix.sum():
            filled, false_px = bool(matrix[1:].sum()), int(matrix[0, 1:].sum())
            results.append(PatchResult(job.row["slide_id"], x0, y0, image_dice(matrix), filled, false_px))
    return results


def draw_views(job: PatchJob) -> None:
    """Write one row of pictures per view; places and views go together."""
    assert job.folder is not None
    source = job.source
    with open_slide(source.places.image(job.row), job.row["slide_id"]) as slide:
        for view, (x0, y0, downsample), crop in zip(job.views, job.places, _crops(job), strict=True):
            edge, at = source.index.patch_px, at_downsample(slide.level_downsamples, downsample)
            image = slide.read(x0, y0, edge, edge, at)
            png = patch_view(image, crop.predicted, crop.truth, crop.prob, source.colours)
            (job.folder / view.file).write_bytes(png)


def _crops(job: PatchJob) -> list[Crop]:
    """Return the part of the slide's map, and of its truth on the map's grid, that lies under every patch."""
    labels, crops = job.source.labels(job.row), []
    with open_map(job.source.paths.maps / f"{job.row['slide_id']}.tif") as reader:
        windows = [_Window.of(place, job.source.index.patch_px, reader.geometry) for place in job.places]
        for top, classes in job.source.classes(job.row, reader) if windows else ():
            for window in windows:
                window.take(top, classes)
        for window in windows:
            prob = reader.window(window.top, window.left, window.rows, window.columns)
            beyond = ((0, 0), (0, window.edge - window.rows), (0, window.edge - window.columns))
            truth = np.full((window.edge, window.edge), IGNORE, dtype=np.uint8)
            if labels is not None:
                downsample = reader.geometry.downsample
                x0, y0 = (np.array([round(at * downsample)]) for at in (window.left, window.top))
                truth = next(labels.windows(x0, y0, window.edge, downsample))
            positive = positive_values(np.pad(prob, beyond), job.source.positive)
            crops.append(Crop(window.predicted, truth, positive))
    return crops


@dataclass(frozen=True, eq=False)
class _Window:
    """Where a patch lies on the map; predicted is uint8 (edge, edge), 0 where the patch is padded, so is the map."""

    top: int
    left: int
    rows: int
    columns: int
    edge: int
    predicted: np.ndarray

    @classmethod
    def of(cls, place: Place, patch_px: int, grid: MapGeometry) -> "_Window":
        """Return the window of a patch."""
        x0, y0, downsample = place
        edge = round(patch_px * downsample / grid.downsample)
        left = min(max(0, round(x0 / grid.downsample)), grid.columns - 1)
        top = min(max(0, round(y0 / grid.downsample)), grid.rows - 1)
        rows, columns = min(edge, grid.rows - top), min(edge, grid.columns - left)
        return cls(top, left, rows, columns, edge, np.zeros((edge, edge), dtype=np.uint8))

    def take(self, top: int, classes: np.ndarray) -> None:
        """Copy what a band of the map, from row `top` on, has of the window."""
        first, last = max(top, self.top), min(top + len(classes), self.top + self.rows)
        if first < last:
            part = classes[first - top : last - top, self.left : self.left + self.columns]
            self.predicted[first - self.top : last - self.top, : self.columns] = part
