"""Regions as ASAP XML, in level-0 px: what ASAP opens beside the slide, and `labels.asap` reads back."""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO
from xml.sax.saxutils import quoteattr

import numpy as np
from scipy import ndimage

from acinus.files import atomic_path
from acinus.regions.cleaned import FOUR
from acinus.regions.outlines import Polygon, Shape, cut

Colour = tuple[int, int, int]
Add = Callable[[str, str, np.ndarray], None]
EXCLUSION = "Exclusion"
"""The group of what is cut out of all others."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@contextlib.contextmanager
def annotations(path: Path, groups: Sequence[tuple[str, Colour]]) -> Iterator[Add]:
    """Give what adds a polygon: its name, its group (of `groups`, or EXCLUSION), its ring (n, 2) in level-0 px.

    The file appears whole at the end or not at all.
    """
    colours = {**dict(groups), EXCLUSION: (255, 255, 255)}
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write('<?xml version="1.0" encoding="UTF-8"?>\n<ASAP_Annotations>\n\t<Annotations>\n')

        def add(name: str, group: str, ring: np.ndarray) -> None:
            _write(stream, name, (group, colours[group]), ring)

        yield add
        stream.write("\t</Annotations>\n\t<AnnotationGroups>\n")
        for name, colour in colours.items():
            stream.write(f'\t\t<Group Name={_quoted(name)} PartOfGroup="None" Color="{_hex(colour)}">\n')
            stream.write("\t\t\t<Attributes />\n\t\t</Group>\n")
        stream.write("\t</AnnotationGroups>\n</ASAP_Annotations>\n")


def rings_of(shape: Shape, polygons: Sequence[Polygon]) -> Iterator[tuple[bool, np.ndarray]]:
    """Yield (whether it is to be cut out, ring) of a region whose `outlines` are `polygons`.

    An ASAP polygon has no hole: a hole becomes a polygon to be cut out. Such a cut goes through whatever lies
    within, so a region around another one, or around a part of itself, is divided into polygons without holes
    instead (`cut`).
    """
    if _goes_around_others(shape, polygons):
        for polygon in cut(shape.mask):
            yield False, polygon[0]
        return
    for polygon in polygons:
        for number, ring in enumerate(polygon):
            yield number > 0, ring


def _goes_around_others(shape: Shape, polygons: Sequence[Polygon]) -> bool:
    """Return whether px of any region lie within a hole: then the hole's ring encloses more than its empty px."""
    holes = [ring for polygon in polygons for ring in polygon[1:]]
    if not holes:
        return False
    empty, number = ndimage.label(~(shape.mask | shape.others), FOUR)
    px = np.bincount(empty.ravel(), minlength=number + 1)
    for ring in holes:
        column, row = ring[0].tolist()
        if not empty[row, column] or px[empty[row, column]] != _area(ring):
            return True
    return False


def _area(ring: np.ndarray) -> int:
    """Return the area of a simple ring of whole corners along px borders (shoelace formula)."""
    x, y = ring.T
    return abs(int(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) // 2


def _write(stream: TextIO, name: str, group: tuple[str, Colour], ring: np.ndarray) -> None:
    stream.write(f'\t\t<Annotation Name={_quoted(name)} Type="Polygon" PartOfGroup={_quoted(group[0])}')
    stream.write(f' Color="{_hex(group[1])}">\n\t\t\t<Coordinates>\n')
    for order, (x0, y0) in enumerate(ring.tolist()):
        stream.write(f'\t\t\t\t<Coordinate Order="{order}" X="{_number(x0)}" Y="{_number(y0)}" />\n')
    stream.write("\t\t\t</Coordinates>\n\t\t</Annotation>\n")


def _quoted(text: str) -> str:
    """Return text as an attribute, quoted; what XML cannot hold becomes a question mark."""
    return quoteattr(_NOT_XML.sub("?", text))


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
