"""What every reader of annotations gives: outlines with a class, and what the file holds beside them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import shapely

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Outline:
    """One object that has an area.

    area: valid (Multi)Polygon with holes, in level-0 px of OpenSlide's full frame; it may pass the slide's border.
    class_name: as the tool has it, without control characters; None where it has no class.
    source_id: the object in its file, for messages and links; unique where the tool makes it so.
    colour: of the class or object in the tool.  object_type: QuPath's (annotation, detection, tile, cell, tma_core).
    """

    area: shapely.Polygon | shapely.MultiPolygon
    class_name: str | None
    source_id: str
    colour: Colour | None = None
    object_type: str = "annotation"


@dataclass(frozen=True)
class AnnotationFile:
    """What one annotation file says about a slide.

    outlines: in file order.  passed_over: kind -> number of objects without an area that is used (points, lines,
    rulers, arrows, without area, ...).  repaired: outlines whose rings touched or crossed themselves, made valid.
    warnings: one sentence each, with figures and the remedy.
    """

    path: Path
    tool: str
    outlines: tuple[Outline, ...]
    passed_over: dict[str, int]
    repaired: int
    warnings: tuple[str, ...] = ()


class ClassCount(NamedTuple):
    """A class of outlines: how many, and the sum of their areas in level-0 px (overlaps count twice)."""

    class_name: str | None
    outlines: int
    area_px0: float
    colour: Colour | None


def class_counts(outlines: Iterable[Outline]) -> list[ClassCount]:
    """Return the classes by name, those without one last; the colour is that of the first outline that has one."""
    by_name: dict[str | None, list[Outline]] = defaultdict(list)
    for outline in outlines:
        by_name[outline.class_name].append(outline)
    return [
        ClassCount(
            name,
            len(by_name[name]),
            float(sum(shapely.area([outline.area for outline in by_name[name]]))),
            next((outline.colour for outline in by_name[name] if outline.colour), None),
        )
        for name in sorted(by_name, key=lambda name: (name is None, name or ""))
    ]
