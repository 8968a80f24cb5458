"""ASAP XML annotations as areas in level-0 pixels: tumour, cut-outs, ignored regions.

Source: the files that CAMELYON16/17 ship and that ASAP writes. Groups, not names, carry the meaning.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import shapely

from acinus.annotations import asap
from acinus.annotations.areas import MAX_CROSSINGS, crossings_left, distinct_points, made_valid, polygonal, rectangle
from acinus.errors import RecipeError, SlideError

Role = Literal["tumor", "subtract", "ignore"]
NonePolicy = Literal["refuse", "tumor", "subtract", "ignore"]


@dataclass(frozen=True)
class Outline:
    """One annotation that has an area: its name in the file, what its group means, its valid area."""

    name: str
    role: Role
    area: shapely.Geometry


@dataclass(frozen=True)
class TumourArea:
    """What one annotation file says, in level-0 pixels, not yet clipped to any slide.

    tumour: union of the positive outlines, less cut-outs and ignored regions.
    ignored: union of the outlines to ignore; it wins over tumour and cut-outs.
    outlined: union of the positive outlines with their cut-outs, less ignored regions: what was looked at.
    outlines: every annotation with an area, in file order.  points: how many had none (Dot, PointSet, Measurement).
    """

    tumour: shapely.Geometry
    ignored: shapely.Geometry
    outlined: shapely.Geometry
    outlines: tuple[Outline, ...]
    points: int


def parse(
    path: Path,
    positive: Collection[str],
    subtracted: Collection[str],
    none_group: NonePolicy,
) -> TumourArea:
    """Return the areas of an ASAP XML file; subtracted groups are cut out of the union of the positive ones.

    Vertices are taken by their Order, which must count up without gap or repetition. A Spline is the
    polygon through its control points, not the smooth curve. A self-intersecting outline is repaired to
    all that it goes around at least once (non-zero winding), so both halves of a bow-tie are kept and an
    overlap is no hole. An annotation without a group is in group None, for which `none_group` is the policy.

    Raises:
        SlideError: unreadable, malformed or hostile XML, another format, an unknown group or type, a
            vertex that is no number, an outline without area, more than MAX_CROSSINGS of rings with themselves. One
            line with the file and the annotation.
    """
    roles = _roles(positive, subtracted, none_group)
    outlines: list[Outline] = []
    points, left = 0, MAX_CROSSINGS
    for name, annotation, where in asap.annotations(path):
        kind = asap.checked_type(annotation, where)
        if kind in asap.POINT_TYPES:
            points += 1
        else:
            role = _role(roles, annotation.get("PartOfGroup") or "None", where)
            polygon = _polygon(kind, asap.vertices(annotation, where), where)
            left = crossings_left([polygon], path.name, left)
            outlines.append(Outline(name, role, _area(kind, polygon, where)))
    union = {
        role: polygonal(shapely.union_all([outline.area for outline in outlines if outline.role == role]))
        for role in ("tumor", "subtract", "ignore")
    }
    outlined = polygonal(shapely.difference(union["tumor"], union["ignore"]))
    tumour = polygonal(shapely.difference(outlined, union["subtract"]))
    return TumourArea(tumour, union["ignore"], outlined, tuple(outlines), points)


def _roles(positive: Collection[str], subtracted: Collection[str], none_group: NonePolicy) -> dict[str, Role]:
    """Return what each known group means; a group may mean one thing only."""
    both = sorted(set(positive) & set(subtracted))
    if both:
        raise RecipeError(
            f"group {both[0]!r} stands in cohort.positive_groups and cohort.subtracted_groups; keep it in one"
        )
    roles: dict[str, Role] = {**dict.fromkeys(positive, "tumor"), **dict.fromkeys(subtracted, "subtract")}
    if "None" in roles:
        raise RecipeError("group None may not be listed in cohort's groups; say what it means in cohort.none_group")
    return roles if none_group == "refuse" else roles | {"None": none_group}


def _role(roles: dict[str, Role], group: str, where: str) -> Role:
    """Return what a group means, or refuse it by name."""
    if group in roles:
        return roles[group]
    if group == "None":
        raise SlideError(
            f"{where} is in group None, which has no meaning by itself; give it a group in ASAP,"
            " or set cohort.none_group to tumor, subtract or ignore"
        )
    raise SlideError(
        f"{where} is in unknown group {group!r}; allowed: {', '.join(sorted(roles)) or 'none'};"
        " add it to cohort.positive_groups or cohort.subtracted_groups"
    )


def _polygon(kind: str, vertices: np.ndarray, where: str) -> shapely.Polygon:
    """Return what an outline goes around, which may cross itself."""
    if kind == "Rectangle":
        return shapely.Polygon(rectangle(vertices, where))
    distinct = distinct_points(vertices)
    if distinct < 3:
        raise SlideError(f"{where}: {distinct} distinct points enclose no area; delete it in ASAP, or draw at least 3")
    return shapely.Polygon(vertices)


def _area(kind: str, polygon: shapely.Polygon, where: str) -> shapely.Geometry:
    """Return the valid area of an outline."""
    area: shapely.Geometry = polygon if kind == "Rectangle" else made_valid(polygon)
    if not shapely.area(area) > 0:
        raise SlideError(f"{where}: its points lie on a line and enclose no area; delete it in ASAP, or redraw it")
    return area
