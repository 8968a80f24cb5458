"""The labels of one slide behind one interface, whatever their source: outlines, a mask, or nothing to draw."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, Self

import numpy as np
import shapely

from acinus import params
from acinus.errors import SlideError
from acinus.slides import asap, polygons
from acinus.slides.geometry import pixel_centres
from acinus.slides.masks import IGNORE, NORMAL, TUMOUR, Mask


@dataclass(frozen=True)
class LabelRow:
    """What the manifest says of one slide's label; width and height in level-0 pixels."""

    slide_id: str
    label_source: str | None
    label_kind: str
    exhaustive: bool
    width: int
    height: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return what a manifest row (a dict of its columns) says of the label."""
        source = row["label_source"]
        return cls(
            slide_id=row["slide_id"],
            label_source=source if isinstance(source, str) else None,
            label_kind=row["label_kind"],
            exhaustive=bool(row["exhaustive"]),
            width=int(row["width"]),
            height=int(row["height"]),
        )


class Labels(Protocol):
    """Where one slide is tumour, normal, or not to be judged."""

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (tumour, ignored) area shares of each square patch, float64 (n,); the whole square is 1."""
        ...

    def raster(self, columns: int, rows: int, downsample: float) -> np.ndarray:
        """Return uint8 (rows, columns): 0 normal, 1 tumour, 255 ignore, each at its `geometry.pixel_centres`.

        Pixel (c, r) covers level-0 [c*downsample, (c+1)*downsample) across and the same down.
        """
        ...


def open_labels(row: LabelRow, root: Path, rules: params.Cohort) -> Labels:
    """Return the labels of one slide; paths of the row are relative to the cohort's `root`.

    Kinds: asap_xml, mask, none (known to be normal everywhere), unknown (ignore everywhere). On a slide
    that is not exhaustively annotated, whatever was not outlined is ignored; a cut-out inside an outline
    was looked at and found free of tumour, so it stays normal.

    Raises:
        SlideError: a label that cannot be used, in one line that names slide and file.
    """
    if row.label_kind == "none":
        return Uniform(NORMAL)
    if row.label_kind == "unknown":
        return Uniform(IGNORE)
    with _naming(row.slide_id):
        path = _source(row, root)
        if row.label_kind == "asap_xml":
            area = asap.parse(path, rules.positive_groups, rules.subtracted_groups, rules.none_group)
            return _outlined(area, row, path.name)
        if row.label_kind == "mask":
            mask = Mask(path, row.width, row.height, rules.mask_values, row.exhaustive)
            mask.open_check()
            return NamedMask(row.slide_id, mask)
        raise SlideError(f"label kind {row.label_kind!r}; expected asap_xml, mask, none or unknown")


def check_source(row: LabelRow, root: Path, rules: params.Cohort) -> None:
    """Hold one slide's label against every rule that a later stage would find broken.

    Outlines are parsed whole; of a mask every stored tile is read and every value checked, though equal
    tiles (most of a mask is empty) are decoded once.

    Raises:
        SlideError: names slide, file, what was found and the remedy.
    """
    labels = open_labels(row, root, rules)
    if isinstance(labels, NamedMask):
        with _naming(row.slide_id):
            labels.mask.check_values()


@dataclass(frozen=True)
class Uniform:
    """The same label everywhere."""

    value: int

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> tuple[np.ndarray, np.ndarray]:
        """See Labels."""
        n = len(x0)
        return np.full(n, float(self.value == TUMOUR)), np.full(n, float(self.value == IGNORE))

    def raster(self, columns: int, rows: int, downsample: float) -> np.ndarray:
        """See Labels."""
        return np.full((rows, columns), self.value, dtype=np.uint8)


@dataclass(frozen=True)
class Outlined:
    """Labels from outlines in level-0 pixels. What is neither tumour nor ignored is normal.

    `looked_at` is the area outside which nothing is known; None means that all of the slide is known.
    """

    tumour: shapely.Geometry
    ignored: shapely.Geometry
    looked_at: shapely.Geometry | None
    width: int
    height: int

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> tuple[np.ndarray, np.ndarray]:
        """See Labels."""
        tumour = polygons.area_fractions(self.tumour, x0, y0, edge0)
        if self.looked_at is None:
            ignored = polygons.area_fractions(self.ignored, x0, y0, edge0)
        else:
            ignored = 1.0 - polygons.area_fractions(self.looked_at, x0, y0, edge0)
        return tumour, np.minimum(ignored, 1.0 - tumour)

    def raster(self, columns: int, rows: int, downsample: float) -> np.ndarray:
        """See Labels."""
        labels = np.zeros((rows, columns), dtype=np.uint8)
        x, y = pixel_centres(columns, downsample, self.width), pixel_centres(rows, downsample, self.height)
        if self.looked_at is None:
            labels[polygons.rasterise(self.ignored, x, y)] = IGNORE
        else:
            labels[~polygons.rasterise(self.looked_at, x, y)] = IGNORE
        labels[polygons.rasterise(self.tumour, x, y)] = TUMOUR
        return labels


@dataclass(frozen=True)
class NamedMask:
    """Labels from a mask file, whose failures name the slide."""

    slide_id: str
    mask: Mask

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> tuple[np.ndarray, np.ndarray]:
        """See Labels."""
        with _naming(self.slide_id):
            return self.mask.fractions(x0, y0, edge0)

    def raster(self, columns: int, rows: int, downsample: float) -> np.ndarray:
        """See Labels."""
        with _naming(self.slide_id):
            return self.mask.raster(columns, rows, downsample)


@contextlib.contextmanager
def _naming(slide_id: str) -> Iterator[None]:
    """Put the slide's name before the text of a SlideError from inside the block."""
    try:
        yield
    except SlideError as error:
        raise SlideError(f"slide {slide_id}: {error}") from error


def _source(row: LabelRow, root: Path) -> Path:
    """Return the label file's path, which must lie below the cohort's root."""
    if not row.label_source:
        raise SlideError(f"label kind {row.label_kind} without a label_source; ingest the cohort again")
    relative = PurePosixPath(row.label_source)
    if relative.is_absolute() or ".." in relative.parts:
        raise SlideError(f"label_source {row.label_source!r} leaves the cohort; move the file below cohort.root")
    return root / relative


def _outlined(area: asap.TumourArea, row: LabelRow, file_name: str) -> Outlined:
    """Clip the areas to the slide; an outline wholly beyond it belongs to another slide or level."""
    slide = shapely.box(0, 0, row.width, row.height)
    for outline in area.outlines:
        if not shapely.area(shapely.intersection(outline.area, slide)) > 0:
            found = ", ".join(f"{value:.0f}" for value in shapely.bounds(outline.area))
            raise SlideError(
                f"{file_name}: annotation {outline.name!r} (x0, y0, x1, y1 = {found}) lies wholly outside the slide"
                f" of {row.width} x {row.height} level-0 pixels; is the file another slide's, or of another level?"
            )
    looked_at = None if row.exhaustive else _clip(area.outlined, slide)
    return Outlined(_clip(area.tumour, slide), _clip(area.ignored, slide), looked_at, row.width, row.height)


def _clip(geometry: shapely.Geometry, slide: shapely.Geometry) -> shapely.Geometry:
    return polygons.polygonal(shapely.intersection(geometry, slide))
