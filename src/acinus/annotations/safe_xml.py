"""XML from outside, element by element: no entities, no document types, of bounded size; and its numbers."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from acinus.annotations.areas import MAX_COORDINATE
from acinus.errors import SlideError

MAX_BYTES = 200_000_000
"""No annotation file is larger; the largest of CAMELYON16 has a few megabytes."""
_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*\Z")
_PLAIN = re.compile(r"[0-9.eE+-]*", re.ASCII)
"""Of these characters Python's float() takes what _NUMBER does, and no more."""


def elements(
    path: Path, root: str, tags: Collection[str], tool: str, parent: str = ""
) -> Iterator[tuple[str, Element]]:
    """Yield ("start" or "end", element) of every element in `tags`; it is emptied after its end.

    root: the name that the root must have.  tool: as messages name it.  parent: a child of the root without which
    the file is not whole.

    Raises:
        SlideError: not readable, not well-formed, hostile, too large, or with another root.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SlideError(
                f"{path.name}: {size} bytes, more than the {MAX_BYTES} an annotation file may have; check the file"
            )
        with path.open("rb") as stream:
            yield from _elements(stream, path.name, root, tags, tool, parent)
    except DefusedXmlException as error:
        raise SlideError(
            f"{path.name}: declares a document type or entities ({type(error).__name__}), which {tool} never"
            f" writes and which can be hostile; save it again from {tool}"
        ) from error
    except (ParseError, LookupError, ValueError) as error:  # ValueError: an encoding that expat does not take
        raise SlideError(f"{path.name}: not well-formed XML ({error}); save it again from {tool}, as UTF-8") from error
    except OSError as error:
        raise SlideError(f"{path.name}: cannot be read ({error.strerror}); check the file") from error


def _elements(
    stream: IO[bytes], file_name: str, root_tag: str, tags: Collection[str], tool: str, parent: str
) -> Iterator[tuple[str, Element]]:
    root: Element | None = None
    for event, element in iterparse(stream, events=("start", "end"), forbid_dtd=True):
        if root is None:
            root = element
            if element.tag != root_tag:
                raise SlideError(
                    f"{file_name}: root element is <{element.tag}>, not <{root_tag}>; export the"
                    f" annotations as {tool} XML"
                )
        if element.tag in tags:
            yield event, element
            if event == "end":
                element.clear()
    if root is None or (parent and root.find(parent) is None):
        raise SlideError(f"{file_name}: has no <{parent}> element; save it again from {tool}")


def points(
    vertices: Sequence[Mapping[str, str]], where: str, most: float = MAX_COORDINATE, unit: str = "level-0 pixels"
) -> np.ndarray:
    """Return float64 (n, 2) from attributes X and Y; a comma is a decimal mark, as some locales write it.

    Raises:
        SlideError: no number, not finite, or beyond +-`most`; `where` begins the line.
    """
    plain = plain_points(vertices, most)
    if plain is not None:
        return plain
    rows = [[number(vertex.get(axis), axis, where, most, unit) for axis in ("X", "Y")] for vertex in vertices]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def plain_points(vertices: Sequence[Mapping[str, str]], most: float) -> np.ndarray | None:
    """Return what `points` does where numbers are as tools write them, all at once; None: look at them one by one."""
    try:
        texts = [vertex[axis] for axis in ("X", "Y") for vertex in vertices]
        if not _PLAIN.fullmatch("".join(texts)):
            return None
        values = np.array([float(text) for text in texts], dtype=np.float64)
    except (KeyError, ValueError):
        return None
    return values.reshape(2, -1).T.copy() if (np.abs(values) <= most).all() else None


def number(
    text: str | None, axis: str, where: str, most: float = MAX_COORDINATE, unit: str = "level-0 pixels"
) -> float:
    """Return a coordinate as `points` reads it."""
    value = float(text.replace(",", ".")) if text is not None and _NUMBER.match(text) else np.inf
    if not abs(value) <= most:
        raise SlideError(f"{where}: a coordinate has {axis} {text!r}; expected a number of {unit}, at most {most:g}")
    return value


def hex_colour(text: str | None) -> tuple[int, int, int] | None:
    """Return the colour of #rrggbb; None where it is none."""
    match = re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", (text or "").strip())
    return (int(match[1], 16), int(match[2], 16), int(match[3], 16)) if match else None
