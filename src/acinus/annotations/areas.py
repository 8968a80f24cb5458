"""Rings as valid polygons, and the collector that every reader fills."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely

from acinus.annotations.frame import Frame, placement
from acinus.annotations.outline import AnnotationFile, Colour, Outline
from acinus.errors import SlideError

MAX_COORDINATE = 1e8
"""Level-0 pixels; no slide is larger."""
MAX_CLASS_NAME = 200
"""Characters."""
MAX_CROSSINGS = 200_000
"""Of the rings of one file with themselves; repairing so many takes about 10 s and 400 MB."""
NO_AREA = "without area"
_PAIRS_AT_ONCE = 2_000_000
_ELLIPSE_VERTICES = 128


def polygonal(geometry: shapely.Geometry) -> shapely.Polygon | shapely.MultiPolygon:
    """Return the polygons of a geometry as one (Multi)Polygon; points and lines, which have no area, are dropped."""
    if isinstance(geometry, shapely.Polygon | shapely.MultiPolygon):
        return geometry
    parts = geometry.geoms if isinstance(geometry, shapely.GeometryCollection) else ()
    polygons = [polygon for part in parts for polygon in shapely.get_parts(polygonal(part))]
    return shapely.MultiPolygon(polygons)


def made_valid(geometry: shapely.Geometry) -> shapely.Polygon | shapely.MultiPolygon:
    """Return all that the rings go around at least once (non-zero winding): both halves of a bow-tie, no new hole."""
    # "structure" fills what a ring goes around more than once; "linework" would punch a hole there.
    return polygonal(shapely.make_valid(geometry, method="structure", keep_collapsed=False))


def distinct_points(vertices: np.ndarray) -> int:
    """Return how many different points (n, 2) there are."""
    return np.unique(vertices[:, 0] + 1j * vertices[:, 1]).size


def rectangle(vertices: np.ndarray, where: str) -> np.ndarray:
    """Return the ring of a rectangle from 2 opposite corners, or 4 in any order; `where` begins a refusal."""
    distinct = distinct_points(vertices)
    if distinct not in (2, 4):
        raise SlideError(f"{where}: a Rectangle with {distinct} distinct corners; expected 2 or 4; redraw it")
    if distinct == 2:
        return shapely.get_coordinates(shapely.box(*vertices.min(0), *vertices.max(0)))
    hull = shapely.convex_hull(shapely.MultiPoint(vertices))
    return shapely.get_coordinates(hull) if isinstance(hull, shapely.Polygon) else vertices  # on a line: no area


def ellipse(centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return a ring (n, 2) of the area of an ellipse (pi a b), within 0.03 % of its radii (2,)."""
    turn = 2 * math.pi / _ELLIPSE_VERTICES
    angles = turn * np.arange(_ELLIPSE_VERTICES)
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1) * math.sqrt(turn / math.sin(turn))
    return centre + radii * unit


def cleaned_name(name: str) -> str:
    """Return a name on one line; what cannot be printed becomes the replacement character."""
    line = " ".join(name.split())
    if line.isprintable():
        return line
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)


class Drawing:
    """Collects the objects of one file.

    tool: reading.Tool.  counts_from_bounds: its coordinates, already moved, were relative to the slide's bounds.
    """

    def __init__(self, path: Path, tool: str, counts_from_bounds: bool = False) -> None:
        self.path, self.tool, self._from_bounds = path, tool, counts_from_bounds
        self.passed_over: Counter[str] = Counter()
        self.warnings: list[str] = []
        self._outlines: list[Outline] = []
        self._names: dict[str, str] = {}
        self._cuts: list[tuple[int, int, shapely.Polygon]] = []

    def add(
        self,
        polygons: Iterable[Sequence[np.ndarray]],
        class_name: str | None,
        source_id: str,
        colour: Colour | None = None,
        object_type: str = "annotation",
    ) -> None:
        """Add one object: polygons, each rings (n, 2) in level-0 px of the full frame, the outer one first."""
        parts = [part for rings in polygons if (part := self._polygon(rings)) is not None]
        if not parts:
            return
        area = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
        name = None if class_name is None else self._name(class_name)
        self._outlines.append(Outline(area, name or None, cleaned_name(source_id)[:100], colour, object_type))

    def _polygon(self, rings: Sequence[np.ndarray]) -> shapely.Polygon | None:
        opened = [ring[:-1] if len(ring) and (ring[0] == ring[-1]).all() else ring for ring in rings]
        usable = [len(ring) >= 3 for ring in opened]
        if not usable or not usable[0]:
            self.passed_over[NO_AREA] += 1
            return None
        holes = [ring for ring, good in zip(opened[1:], usable[1:], strict=True) if good]
        self.passed_over[NO_AREA] += len(opened) - 1 - len(holes)
        return shapely.Polygon(opened[0], holes)

    def _name(self, name: str) -> str:
        if name not in self._names:
            clean = cleaned_name(name)
            if len(clean) > MAX_CLASS_NAME:
                raise SlideError(
                    f"{self.path.name}: a class name of {len(clean)} characters ({clean[:40]!r} ...); a class may have"
                    f" {MAX_CLASS_NAME}; rename it in the tool"
                )
            if clean != " ".join(name.split()):
                self.warnings.append(
                    f"{self.path.name}: class {clean!r} had characters that cannot be printed; rename it in the tool"
                )
            self._names[name] = clean
        return self._names[name]

    def cut(self, since: int, rings: Sequence[np.ndarray]) -> None:
        """Take rings (n, 2) out of the outlines that were added since there were `since` of them."""
        polygons = [polygon for ring in rings if (polygon := self._polygon([ring])) is not None]
        self._cuts += [(since, len(self._outlines), polygon) for polygon in polygons]

    def pass_over(self, kind: str, count: int = 1) -> None:
        """Count objects of a kind that give no area."""
        self.passed_over[kind] += count

    def __len__(self) -> int:
        return len(self._outlines)

    def file(self, frame: Frame) -> AnnotationFile:
        """Return what was collected, with every area valid and in place.

        Raises:
            SlideError: see `frame.placement`.
        """
        areas = np.array([outline.area for outline in self._outlines], dtype=object)
        repaired = self._repair(areas)
        repaired += self._take_out(areas)
        kept = [
            outline if area is outline.area else replace(outline, area=area)
            for outline, area, size in zip(self._outlines, areas, shapely.area(areas), strict=True)
            if size > 0
        ]
        self.passed_over[NO_AREA] += len(areas) - len(kept)
        where = placement(self.path, kept, frame, self._from_bounds)
        passed_over = {kind: count for kind, count in sorted(self.passed_over.items()) if count}
        return AnnotationFile(self.path, self.tool, tuple(kept), passed_over, repaired, (*self.warnings, *where))

    def _repair(self, areas: np.ndarray) -> int:
        """Make polygons valid in place; return how many were not."""
        broken = np.flatnonzero(~shapely.is_valid(areas))
        crossings_left(areas[broken], self.path.name)
        for place in broken:
            areas[place] = made_valid(areas[place])
        return len(broken)

    def _take_out(self, areas: np.ndarray) -> int:
        """Take the cuts out of `areas`; return how many of their rings were repaired."""
        if not self._cuts:
            return 0
        holes = np.array([polygon for *_, polygon in self._cuts], dtype=object)
        repaired = self._repair(holes)
        first, last = (np.array(places) for places in list(zip(*self._cuts, strict=True))[:2])
        which_hole, which_area = shapely.STRtree(areas).query(holes, predicate="intersects")
        same = (which_area >= first[which_hole]) & (which_area < last[which_hole])
        order = np.argsort(which_area[same], kind="stable")
        places, starts = np.unique(which_area[same][order], return_index=True)
        for place, cuts in zip(places, np.split(holes[which_hole[same][order]], starts[1:]), strict=False):
            areas[place] = polygonal(shapely.difference(areas[place], shapely.union_all(cuts)))
        self.passed_over["cut-outs over no outline"] += len(holes) - np.unique(which_hole[same]).size
        return repaired


def crossings_left(areas: Iterable[shapely.Geometry], name: str, left: int = MAX_CROSSINGS) -> int:
    """Return how often more than in these areas the rings of file `name` may cross themselves, of `left` times.

    Raises:
        SlideError: they cross more often: to make them valid would take without end.
    """
    for area in areas:
        if not shapely.is_valid(area):
            left -= _crossings(area, left)
        if left < 0:
            raise SlideError(
                f"{name}: its rings cross themselves more than {MAX_CROSSINGS} times; they are no outlines: export the"
                " file again, or redraw them"
            )
    return left


def _crossings(area: shapely.Geometry, most: int) -> int:
    """Return how often edges of the rings cross or touch, beside at their common ends; it stops counting at `most`."""
    corners, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(area)), return_index=True)
    ends = np.stack([corners[:-1], corners[1:]], axis=1)[ring[:-1] == ring[1:]]
    edges = np.asarray(shapely.linestrings(ends))
    tree, step = shapely.STRtree(edges), max(1, _PAIRS_AT_ONCE // len(edges))
    count = 0
    for start in range(0, len(edges), step):
        asked = edges[start : start + step]
        count += tree.query(asked, predicate="intersects").shape[1] - 3 * len(asked)  # itself and its neighbours
        if count > 2 * most:
            break
    return count // 2
