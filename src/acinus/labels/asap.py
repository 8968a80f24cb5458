"""ASAP XML annotations as areas in level-0 pixels: tumour, cut-outs, ignored regions.

Source: the files that CAMELYON16/17 ship and that ASAP writes. Groups, not names, carry the meaning.
"""

import itertools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal
from xml.etree.ElementTree import Element, ParseError

import numpy as np
import shapely
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from acinus.errors import RecipeError, SlideError
from acinus.labels.outlines import polygonal

MAX_BYTES = 200_000_000
"""No annotation file is larger; the largest of CAMELYON16 has a few megabytes."""
MAX_COORDINATE = 1e8
"""Level-0 pixels; no slide is larger."""

Role = Literal["tumor", "subtract", "ignore"]
NonePolicy = Literal["refuse", "tumor", "subtract", "ignore"]
_AREA_TYPES = ("Polygon", "Spline", "Rectangle")
_POINT_TYPES = ("Dot", "PointSet", "Measurement")
_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*\Z")
_PLAIN = re.compile(r"[0-9.eE+-]*", re.ASCII)
"""Of these characters Python's float() takes what _NUMBER does, and no more."""
_ORDER = re.compile(r"\s*\d{1,9}\s*\Z")


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
            vertex that is no number, an outline without area. One line with the file and the annotation.
    """
    roles = _roles(positive, subtracted, none_group)
    outlines: list[Outline] = []
    points = 0
    for number, annotation in enumerate(_annotations(path)):
        name = annotation.get("Name") or f"number {number}"
        where = f"{path.name}: annotation {name!r}"
        kind = annotation.get("Type", "")
        if kind in _POINT_TYPES:
            points += 1
        elif kind in _AREA_TYPES:
            role = _role(roles, annotation.get("PartOfGroup") or "None", where)
            outlines.append(Outline(name, role, _area(kind, _vertices(annotation, where), where)))
        else:
            types = ", ".join(_AREA_TYPES + _POINT_TYPES)
            raise SlideError(f"{where} has unknown type {kind!r}; allowed: {types}; redraw it as a polygon")
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


def _annotations(path: Path) -> Iterator[Element]:
    """Yield every Annotation element with its children; each is emptied once the next is asked for."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SlideError(
                f"{path.name}: {size} bytes, more than the {MAX_BYTES} an annotation file may have; check the file"
            )
        with path.open("rb") as stream:
            yield from _elements(stream, path.name)
    except DefusedXmlException as error:
        raise SlideError(
            f"{path.name}: declares a document type or entities ({type(error).__name__}), which ASAP never"
            " writes and which can be hostile; save it again from ASAP"
        ) from error
    except (ParseError, LookupError, ValueError) as error:  # ValueError: an encoding that expat does not take
        raise SlideError(f"{path.name}: not well-formed XML ({error}); save it again from ASAP, as UTF-8") from error
    except OSError as error:
        raise SlideError(f"{path.name}: cannot be read ({error.strerror}); check the file") from error


def _elements(stream: IO[bytes], file_name: str) -> Iterator[Element]:
    root: Element | None = None
    for event, element in iterparse(stream, events=("start", "end"), forbid_dtd=True):
        if root is None:
            root = element
            if element.tag != "ASAP_Annotations":
                raise SlideError(
                    f"{file_name}: root element is <{element.tag}>, not <ASAP_Annotations>; export the"
                    " annotations as ASAP XML"
                )
        if event == "end" and element.tag == "Annotation":
            yield element
            element.clear()
    if root is None or root.find("Annotations") is None:
        raise SlideError(f"{file_name}: has no <Annotations> element; save it again from ASAP")


def _vertices(annotation: Element, where: str) -> np.ndarray:
    """Return the vertices in Order, float64 (n, 2) of x0, y0."""
    attributes = [coordinate.attrib for coordinate in annotation.iterfind("Coordinates/Coordinate")]
    plain = _plain_vertices(attributes)
    if plain is not None:
        return plain
    rows = []
    for values in attributes:
        order = values.get("Order")
        if order is None or not _ORDER.match(order):
            raise SlideError(f"{where}: a coordinate has Order {order!r}; expected a whole number from 0")
        rows.append((int(order), *(_number(values.get(axis), axis, where) for axis in ("X", "Y"))))
    rows.sort(key=lambda row: row[0])
    for (before, *_), (after, *_) in itertools.pairwise(rows):
        if after != before + 1:
            what = f"Order {after} stands twice" if after == before else f"Order {before + 1} is missing"
            raise SlideError(f"{where}: {what}; number its coordinates 0, 1, 2, ... without gap or repetition")
    return np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 2)


def _plain_vertices(attributes: list[dict[str, str]]) -> np.ndarray | None:
    """Return what `_vertices` does where they are as ASAP writes them, all at once; None: look at them one by one."""
    try:
        orders = [a["Order"] for a in attributes]
        texts = [a[axis] for axis in ("X", "Y") for a in attributes]
        if orders != [str(place) for place in range(len(orders))] or not _PLAIN.fullmatch("".join(texts)):
            return None
        values = np.array([float(text) for text in texts], dtype=np.float64)
    except (KeyError, ValueError):
        return None
    return values.reshape(2, -1).T.copy() if (np.abs(values) <= MAX_COORDINATE).all() else None


def _number(text: str | None, axis: str, where: str) -> float:
    """Return a level-0 coordinate; a comma is a decimal mark, as some locales write it."""
    if text is None or not _NUMBER.match(text):
        raise SlideError(f"{where}: a coordinate has {axis} {text!r}; expected a number of level-0 pixels")
    value = float(text.replace(",", "."))
    if not abs(value) <= MAX_COORDINATE:
        raise SlideError(f"{where}: a coordinate has {axis} {text!r}; expected a level-0 pixel")
    return value


def _area(kind: str, vertices: np.ndarray, where: str) -> shapely.Geometry:
    """Return the valid polygonal area an outline goes around."""
    distinct = np.unique(vertices[:, 0] + 1j * vertices[:, 1]).size
    if kind == "Rectangle":
        # Corner order must not matter: two opposite corners, or all four in any order.
        if distinct not in (2, 4):
            raise SlideError(f"{where}: a Rectangle with {distinct} distinct corners; expected 2 or 4; redraw it")
        hull = polygonal(shapely.convex_hull(shapely.MultiPoint(vertices)))
        area = shapely.box(*vertices.min(0), *vertices.max(0)) if distinct == 2 else hull
    else:
        if distinct < 3:
            raise SlideError(
                f"{where}: {distinct} distinct points enclose no area; delete it in ASAP, or draw at least 3"
            )
        # "structure" fills what a ring goes around more than once; "linework" would punch a hole there.
        area = polygonal(shapely.make_valid(shapely.Polygon(vertices), method="structure", keep_collapsed=False))
    if not shapely.area(area) > 0:
        raise SlideError(f"{where}: its points lie on a line and enclose no area; delete it in ASAP, or redraw it")
    return area
