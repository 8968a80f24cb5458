"""Which tool wrote an annotation file, and reading it, whichever that is."""

import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from acinus.annotations import asap, imagescope, ndpa, qupath
from acinus.annotations.areas import Drawing
from acinus.annotations.frame import Frame
from acinus.annotations.outline import AnnotationFile
from acinus.errors import SlideError

Tool = Literal["asap", "halo", "imagescope", "ndpa", "qupath"]
READERS: dict[Tool, Callable[[Path, Frame], Drawing]] = {
    "asap": asap.read,
    "halo": imagescope.read_halo,
    "imagescope": imagescope.read,
    "ndpa": ndpa.read,
    "qupath": qupath.read,
}
_HEAD_BYTES = 1 << 20
_ROOT = re.compile(r"<(ASAP_Annotations|Annotations|annotations)\b")
_GEOJSON = re.compile(r'"type"\s*:\s*"(Feature(Collection)?|(Multi)?(Point|LineString|Polygon)|GeometryCollection)"')
_HALO = re.compile(r"<V\s|<Region\b[^>]*\bType\s*=\s*[\"'][A-Za-z]")
_BY_SUFFIX: dict[str, Tool] = {".annotations": "halo", ".geojson": "qupath", ".ndpa": "ndpa"}
"""Files that can be nothing else: a damaged one is an error, not passed over."""


def tool_of(path: Path) -> Tool | None:
    """Return which tool wrote the file, by its content, else by a suffix that only one has; None: no annotations.

    Raises:
        SlideError: the file cannot be read.
    """
    try:
        with qupath.opened(path) as stream:
            head = stream.read(_HEAD_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, SlideError):
        head = b""
    except OSError as error:
        if path.is_file() and error.errno is None:  # gzip's: no gzip after all
            head = b""
        else:
            raise SlideError(f"{path.name}: cannot be read ({error.strerror}); check the file") from error
    tool = _tool_of_head(head)
    name = path.name.lower().removesuffix(".gz").removesuffix(".zip")
    return tool or _BY_SUFFIX.get(Path(name).suffix)


def _tool_of_head(head: bytes) -> Tool | None:
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = head.decode(encoding, errors="replace").lstrip()
    if text[:1] in ("{", "[") and _GEOJSON.search(text):
        return "qupath"
    root = _ROOT.search(text) if text[:1] == "<" else None
    if root is None:
        return None
    if root[1] == "Annotations":
        return "halo" if _HALO.search(text) else "imagescope"
    return "asap" if root[1] == "ASAP_Annotations" else "ndpa"


def read_annotations(path: Path, frame: Frame) -> AnnotationFile:
    """Return the outlines of an annotation file in level-0 px of the full slide, and what it holds beside them.

    Raises:
        SlideError: not the annotations of a known tool, damaged, hostile, or not of this slide. One line.
    """
    tool = tool_of(path)
    if tool is None:
        known = ", ".join(get_args(Tool))
        raise SlideError(f"{path.name}: no annotations of a tool that is known ({known}); export it as GeoJSON")
    return READERS[tool](path, frame).file(frame)
