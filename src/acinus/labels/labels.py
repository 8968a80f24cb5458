"""The labels of one slide behind one interface, whatever their source: outlines, a mask, an array, or nothing."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import shapely

from acinus import params
from acinus.errors import RecipeError, SlideError
from acinus.labels import asap, blocks, fold
from acinus.labels.drawn import Drawn, read_areas
from acinus.labels.masks import Mask, Values
from acinus.labels.outlines import Outlined, polygonal
from acinus.records import LABEL_KINDS
from acinus.scoring.confusion import IGNORE

ANY_PROVIDER = "*"
_ONE_PX = 1.0  # level-0 px: of less than that nothing is labelled
TISSUE = "tissue"
"""A class of this name says that an annotation tells tissue from glass: every class but the first is tissue then."""


@dataclass(frozen=True)
class LabelRow:
    """What the manifest says of one slide's label; width and height in level-0 pixels.

    path: the label file, ready to be opened (`<file>.npy#<row>` for one tile of an array), None without one.
    """

    slide_id: str
    path: Path | None
    label_kind: str
    exhaustive: bool
    provider: str
    width: int
    height: int

    @classmethod
    def of(cls, row: Mapping[str, Any], path: Path | None) -> Self:
        """Return what a manifest row (a dict of its columns) says of the label that lies at `path`."""
        width, height, exhaustive = int(row["width"]), int(row["height"]), bool(row["exhaustive"])
        return cls(row["slide_id"], path, row["label_kind"], exhaustive, row["provider"], width, height)


@dataclass(frozen=True)
class LabelRules:
    """What a recipe says of labels.

    mask_values: provider (or ANY_PROVIDER) -> pixel value of a mask -> name of a class, or "ignore".
    The groups are those of ASAP annotations. values_key: where mask_values is declared, for messages.
    tissue_values: provider -> values of a mask that are tissue, as far as the recipe says so.
    """

    classes: tuple[str, ...]
    mask_values: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    positive_groups: tuple[str, ...] = ()
    subtracted_groups: tuple[str, ...] = ()
    none_group: asap.NonePolicy = "refuse"
    values_key: str = "cohort.mask_values"
    tissue_values: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, classes: Sequence[str], cohort: params.Cohort) -> Self:
        """Return the rules of a recipe's classes and cohort section, whatever its family."""
        return cls(tuple(classes), **cohort.label_rules(classes))

    def values(self, provider: str) -> Values:
        """Return what the pixel values of a provider's masks mean.

        Raises:
            SlideError: a provider that is not declared.
            RecipeError: a name that is no class.
        """
        declared = provider if provider in self.mask_values else ANY_PROVIDER
        if declared not in self.mask_values:
            raise SlideError(
                f"provider {provider!r} has no mask values; {self.values_key} has"
                f" {', '.join(sorted(self.mask_values)) or 'none'}; declare them there or correct the provider"
            )
        named = self.mask_values[declared]
        strangers = sorted(set(named.values()) - {*self.classes, "ignore"})
        key = self.values_key if declared == ANY_PROVIDER else f"{self.values_key}.{declared}"
        if strangers:
            raise RecipeError(f"{key} names {', '.join(strangers)}; expected {', '.join(self.classes)} or ignore")
        meaning = ", ".join(f"{value} = {name}" for value, name in sorted(named.items()))
        index = {value: IGNORE if name == "ignore" else self.classes.index(name) for value, name in named.items()}
        return Values(len(self.classes), index, f"{key} has {meaning}")

    def tissue(self, provider: str) -> Values | None:
        """Return which pixel values of a provider's masks are tissue (class 1 of two); None where nothing says it.

        Values that tissue_values lists, else where a class is called TISSUE those of every class but the first.

        Raises:
            SlideError, RecipeError: as `values`.
        """
        values = self.values(provider)
        if provider in self.tissue_values:
            listed = self.tissue_values[provider]
            return Values(2, {value: int(value in listed) for value in values.of}, values.declared)
        if TISSUE not in self.classes:
            return None
        tissue = {value: label if label == IGNORE else int(label > 0) for value, label in values.of.items()}
        return Values(2, tissue, values.declared)


class Labels(Protocol):
    """Where one slide is of which class, or not to be judged (IGNORE)."""

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
        """Return float64 (classes + 1, n): each class's area share of each square patch, the last what is ignored.

        The whole square is 1 and columns sum to it: what lies beyond the slide counts as class 0 (as ignored
        where nothing is known beyond the outlines).
        """
        ...

    def raster(self, columns: int, rows: int, downsample: float, top: int = 0) -> np.ndarray:
        """Return uint8 (rows, columns): class indices, 255 ignore, each at its `geometry.pixel_centres`.

        Px (c, r) covers level-0 [c*downsample, (c+1)*downsample) across and the same down; rows are
        top..top+rows of the grid.
        """
        ...

    def windows(self, x0: np.ndarray, y0: np.ndarray, edge_px: int, downsample: float) -> Iterator[np.ndarray]:
        """Yield uint8 (edge_px, edge_px) per patch in the order given: class indices, 255 ignore and beyond the slide.

        Px (c, r) is looked at in its centre, level-0 (x0 + (c+0.5)*downsample, y0 + (r+0.5)*downsample).
        """
        ...


def open_labels(row: LabelRow, rules: LabelRules) -> Labels:
    """Return the labels of one slide.

    Kinds: asap_xml, mask, class_mask (of class indices, made at ingest), outlines (of several classes, read at ingest),
    fold (a tile of an array), none (known to be class 0 everywhere), unknown (ignore everywhere). On a slide that is
    not exhaustively annotated, whatever was not outlined is ignored; a cut-out inside an outline was looked at and
    found free of tumour, so it stays normal.

    Raises:
        SlideError: a label that cannot be used, in one line that names slide and file.
    """
    if row.label_kind in ("none", "unknown"):
        nothing = shapely.MultiPolygon()
        looked_at = None if row.label_kind == "none" else nothing
        return Outlined(nothing, nothing, looked_at, row.width, row.height, len(rules.classes))
    with _naming(row.slide_id):
        if row.path is None:
            raise SlideError(f"label kind {row.label_kind} without a label_source; ingest the cohort again")
        if row.label_kind == "asap_xml":
            return _outlined(row, row.path, rules)
        if row.label_kind == "mask":
            return _checked(row, Mask(row.path, row.width, row.height, rules.values(row.provider), row.exhaustive))
        if row.label_kind == "class_mask":
            values = Values(len(rules.classes), {**{i: i for i in range(len(rules.classes))}, IGNORE: IGNORE}, "ingest")
            return _checked(row, Mask(row.path, row.width, row.height, values))
        if row.label_kind == "outlines":
            return Drawn(read_areas(row.path), row.width, row.height, len(rules.classes))
        if row.label_kind == "fold":
            if len(rules.classes) != fold.CLASSES:
                raise RecipeError(f"classes: {len(rules.classes)} of them, but a fold array has {fold.CLASSES}")
            return _checked(row, fold.FoldLabels(row.path, row.width, row.height))
        raise SlideError(f"label kind {row.label_kind!r}; expected {', '.join(LABEL_KINDS)}")


def open_tissue(row: LabelRow, rules: LabelRules) -> Labels | None:
    """Return where one slide's label has tissue (class 1) and none (class 0); None where it does not tell.

    A mask tells as `LabelRules.tissue` says. Outlines tell where a class is called TISSUE: then all but the first are.

    Raises:
        SlideError: as `open_labels`.
    """
    if row.label_kind not in ("mask", "class_mask", "outlines") or row.path is None:
        return None
    with _naming(row.slide_id):
        if row.label_kind != "mask" and TISSUE not in rules.classes:
            return None
        if row.label_kind == "outlines":
            return Drawn(read_areas(row.path).tissue(), row.width, row.height, 2)
        if row.label_kind == "class_mask":
            tissue = {label: int(label > 0) for label in range(len(rules.classes))}
            return _checked(row, Mask(row.path, row.width, row.height, Values(2, {**tissue, IGNORE: IGNORE}, "ingest")))
        values = rules.tissue(row.provider)
        return None if values is None else _checked(row, Mask(row.path, row.width, row.height, values))


def check_source(row: LabelRow, rules: LabelRules) -> np.ndarray | None:
    """Hold one slide's label against every rule that a later stage would find broken.

    Outlines are parsed whole; of a mask every stored tile is read and every value checked, though equal
    tiles (most of a mask is empty) are decoded once.

    Returns:
        int64 (classes + 1): exactly how many pixels of a mask or array are of each class, the last of
        those ignored (on a slide that is not exhaustively annotated that is all of class 0). None for
        labels without pixels.

    Raises:
        SlideError: names slide, file, what was found and the remedy.
    """
    labels = open_labels(row, rules)
    if not isinstance(labels, RasterLabels):
        return None
    with _naming(row.slide_id):
        return labels.source.counts()


def tumour_left(row: LabelRow, rules: LabelRules) -> float | None:
    """Return the share of what an ASAP file outlines as tumour that cut-outs and ignored regions leave, [0, 1].

    None where it outlines no tumour; 0 where less than a level-0 px is left.

    Raises:
        SlideError: see open_labels.
    """
    with _naming(row.slide_id):
        if row.path is None:
            raise SlideError("an annotation without a label_source; ingest the cohort again")
        area = asap.parse(row.path, rules.positive_groups, rules.subtracted_groups, rules.none_group)
    drawn = [outline.area for outline in area.outlines if outline.role == "tumor"]
    if not drawn:
        return None
    slide = shapely.box(0, 0, row.width, row.height)
    left = float(shapely.area(_clip(area.tumour, slide)))
    outlined = float(shapely.area(_clip(polygonal(shapely.union_all(drawn)), slide)))
    return left / outlined if left >= _ONE_PX else 0.0


@dataclass(frozen=True)
class RasterLabels:
    """Labels from a raster that is opened whenever something is asked; failures name the slide."""

    slide_id: str
    source: Mask | fold.FoldLabels

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
        """See Labels; the shares are exact, also where a patch cuts through pixels of the raster."""
        with _naming(self.slide_id), self.source.opened() as tiles:
            return blocks.fractions(tiles, self.source.frame, x0, y0, edge0)

    def raster(self, columns: int, rows: int, downsample: float, top: int = 0) -> np.ndarray:
        """See Labels."""
        with _naming(self.slide_id), self.source.opened() as tiles:
            return blocks.raster(tiles, self.source.frame, columns, rows, downsample, top)

    def windows(self, x0: np.ndarray, y0: np.ndarray, edge_px: int, downsample: float) -> Iterator[np.ndarray]:
        """See Labels."""
        with _naming(self.slide_id), self.source.opened() as tiles:
            yield from blocks.windows(tiles, self.source.frame, x0, y0, edge_px, downsample)


def _checked(row: LabelRow, source: Mask | fold.FoldLabels) -> RasterLabels:
    source.open_check()
    return RasterLabels(row.slide_id, source)


@contextlib.contextmanager
def _naming(slide_id: str) -> Iterator[None]:
    """Put the slide's name before the text of a SlideError from inside the block."""
    try:
        yield
    except SlideError as error:
        raise SlideError(f"slide {slide_id}: {error}") from error


def _outlined(row: LabelRow, path: Path, rules: LabelRules) -> Outlined:
    """Clip the areas to the slide; an outline wholly beyond it belongs to another slide or level."""
    area = asap.parse(path, rules.positive_groups, rules.subtracted_groups, rules.none_group)
    slide = shapely.box(0, 0, row.width, row.height)
    for outline in area.outlines:
        left, top, right, bottom = shapely.bounds(outline.area)
        if left >= 0 and top >= 0 and right <= row.width and bottom <= row.height:
            continue  # wholly on the slide: nothing to cut, and it has an area
        if not shapely.area(shapely.intersection(outline.area, slide)) > 0:
            bounds = ", ".join(f"{value:.0f}" for value in shapely.bounds(outline.area))
            raise SlideError(
                f"{path.name}: annotation {outline.name!r} (x0, y0, x1, y1 = {bounds}) lies wholly outside the slide"
                f" of {row.width} x {row.height} level-0 pixels; is the file another slide's, or of another level?"
            )
    looked_at = None if row.exhaustive else _clip(area.outlined, slide)
    tumour, ignored = _clip(area.tumour, slide), _clip(area.ignored, slide)
    return Outlined(tumour, ignored, looked_at, row.width, row.height, len(rules.classes))


def _clip(geometry: shapely.Geometry, slide: shapely.Geometry) -> shapely.Geometry:
    return polygonal(shapely.intersection(geometry, slide))
