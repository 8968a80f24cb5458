"""Outlines of several classes, which may overlap, as disjoint areas: which class a place is of, stated once.

An outline lies on top of another where its class stands later in `cohort.annotations.classes`, or where it is the
smaller one, as `cohort.annotations.overlap` says.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from acinus import params
from acinus.annotations.outline import Outline
from acinus.labels.outlines import polygonal
from acinus.params.cohorts import IGNORED, REGION, UNCLASSIFIED
from acinus.scoring.confusion import IGNORE


@dataclass(frozen=True)
class Areas:
    """What is outlined on one slide. by_label: class index (or IGNORE) -> its area, disjoint, level-0 px, on the slide.

    rest: the label of all other places, 0 or IGNORE.
    """

    by_label: Mapping[int, shapely.Geometry]
    rest: int

    def tissue(self) -> "Areas":
        """Return the areas of two classes: what is of any class but the first, and the rest."""
        tissue = polygonal(shapely.union_all([area for label, area in self.by_label.items() if 0 < label < IGNORE]))
        others = {label: area for label, area in self.by_label.items() if label in (0, IGNORE)}
        return Areas({**others, 1: tissue}, self.rest)


def name_of(outline: Outline) -> str:
    """Return the class as `cohort.annotations.classes` names it: UNCLASSIFIED where the tool gives none."""
    return outline.class_name or UNCLASSIFIED


def used(outlines: Iterable[Outline], drawn: params.Annotations) -> list[Outline]:
    """Return the outlines of the kinds of objects that count."""
    return [outline for outline in outlines if outline.object_type in drawn.objects]


def unmapped(outlines: Iterable[Outline], drawn: params.Annotations) -> Counter[str]:
    """Return the classes of used outlines that the recipe does not name -> how many outlines they have."""
    return Counter(name for name in map(name_of, used(outlines, drawn)) if name not in drawn.classes)


def lacks_region(outlines: Iterable[Outline], drawn: params.Annotations) -> bool:
    """Return whether the recipe knows regions, and none of the used outlines is one: the whole slide is judged then."""
    regions = {name for name, meaning in drawn.classes.items() if meaning == REGION}
    return bool(regions) and regions.isdisjoint(map(name_of, used(outlines, drawn)))


def areas_of(
    outlines: Iterable[Outline], drawn: params.Annotations, classes: Sequence[str], size: tuple[int, int]
) -> Areas:
    """Return the areas of a slide of `size` (width, height) level-0 px; `classes` are the recipe's.

    What is outside every outline is `drawn.outside`. Where the slide has a region, all beyond it is IGNORE. An outline
    of a class that the recipe does not name is IGNORE, below all others.
    """
    counted = used(outlines, drawn)
    slide = shapely.box(0, 0, *size)
    judged = [outline.area for outline in counted if drawn.classes.get(name_of(outline)) == REGION]
    inside = polygonal(shapely.intersection(shapely.disjoint_subset_union_all(judged), slide)) if judged else slide
    layers = [outline for outline in counted if drawn.classes.get(name_of(outline)) != REGION]
    labels = np.array([_label(drawn.classes.get(name_of(outline)), classes) for outline in layers], dtype=np.int64)
    shapes = np.array([outline.area for outline in layers], dtype=object)
    by_label = {
        label: area if not judged and _within(area, slide) else polygonal(shapely.intersection(area, inside))
        for label, area in disjoint(shapes, labels, _ranks(layers, shapes, drawn)).items()
    }
    rest = IGNORE if judged or drawn.outside == IGNORED else 0
    outside = IGNORE if drawn.outside == IGNORED else classes.index(drawn.outside)
    if outside not in (rest, IGNORE):
        others = [area for label, area in by_label.items() if label != outside]
        by_label[outside] = polygonal(shapely.difference(inside, shapely.disjoint_subset_union_all(others)))
    return Areas({label: area for label, area in sorted(by_label.items()) if label != rest}, rest)


def disjoint(shapes: np.ndarray, labels: np.ndarray, ranks: np.ndarray) -> dict[int, shapely.Geometry]:
    """Return label -> the area where the shape on top has it: that of the highest rank.

    shapes: valid polygons (n,). labels, ranks: int64 (n,); shapes of one rank must have one label. Takes time in
    proportion to n and to how many pairs overlap.
    """
    visible = shapes.copy()
    below, above = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    hides = (ranks[above] > ranks[below]) & (labels[above] != labels[below])
    below, above = below[hides], above[hides]
    order = np.argsort(below, kind="stable")
    hidden, starts = np.unique(below[order], return_index=True)
    for shape, on_top in zip(hidden, np.split(above[order], starts[1:]), strict=False):
        visible[shape] = shapely.difference(shapes[shape], shapely.disjoint_subset_union_all(shapes[on_top]))
    return {
        int(label): polygonal(shapely.disjoint_subset_union_all(visible[labels == label]))
        for label in np.unique(labels)
    }


def _within(area: shapely.Geometry, box: shapely.Geometry) -> bool:
    """Return whether an area lies in a box, by its bounds: to cut many polygons takes long."""
    return bool(shapely.covers(box, shapely.box(*shapely.bounds(area)))) or bool(shapely.is_empty(area))


def _label(meaning: str | None, classes: Sequence[str]) -> int:
    return IGNORE if meaning is None or meaning == IGNORED else classes.index(meaning)


def _ranks(layers: Sequence[Outline], shapes: np.ndarray, drawn: params.Annotations) -> np.ndarray:
    """Return the order in which outlines lie on each other, the highest on top, int64 (n,)."""
    if drawn.overlap == "smaller":
        by_area = np.argsort(-shapely.area(shapes), kind="stable")
        named = np.array([name_of(outline) in drawn.classes for outline in layers], dtype=bool)
        return np.where(named, np.argsort(by_area, kind="stable") + 1, 0).astype(np.int64)
    places = {name: place for place, name in enumerate(drawn.classes, start=1)}
    return np.array([places.get(name_of(outline), 0) for outline in layers], dtype=np.int64)
