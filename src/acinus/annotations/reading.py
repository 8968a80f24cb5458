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
from acinus.errors import AcinusError, SlideError, brief
from acinus.plugins import finding, loading
from acinus.plugins.finding import Plugin

Tool = Literal["asap", "halo", "imagescope", "ndpa", "qupath"]
Reader = Callable[[Path, Frame], Drawing]
READERS: dict[Tool, Reader] = {
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


def plugged_readers() -> dict[str, Plugin]:
    """Return the readers of plug-ins by name.

    Raises:
        AcinusError: a plug-in that cannot be used, a name that is a tool's, or two readers of one suffix.
    """
    readers = finding.with_builtin("annotation_reader", READERS, "annotations/reading.py")
    by_suffix: dict[str, Plugin] = {}
    for plugin in readers.values():
        for suffix in plugin.options.get("suffixes", ()):
            other = by_suffix.setdefault(suffix, plugin)
            if other is not plugin:
                raise AcinusError(f"{plugin.place}: {other.place} reads files {suffix} too; give one another suffix")
    return readers


def _plugged(path: Path) -> str | None:
    """Return the plug-in that reads files with this suffix."""
    name = path.name.lower()
    fitting = [
        (len(suffix), reader)
        for reader, plugin in plugged_readers().items()
        for suffix in plugin.options.get("suffixes", ())
        if name.endswith(suffix)
    ]
    return max(fitting)[1] if fitting else None


def tool_of(path: Path) -> str | None:
    """Return which tool wrote the file, by its content, else by a suffix that only one has; None: no annotations.

    A file of no tool known to Acinus is a plug-in's that reads files with its suffix.

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
    return tool or _BY_SUFFIX.get(Path(name).suffix) or _plugged(path)


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
        known = ", ".join([*get_args(Tool), *plugged_readers()])
        raise SlideError(f"{path.name}: no annotations of a tool that is known ({known}); export it as GeoJSON")
    return _reader(tool)(path, frame).file(frame)


def _reader(tool: str) -> Reader:
    for name, reader in READERS.items():
        if name == tool:
            return reader
    plugin = loading.get(plugged_readers()[tool])
    where = plugin.plugin.place

    def read(path: Path, frame: Frame) -> Drawing:
        try:
            drawing = plugin.function(path, frame)
        except loading.FAULTS as error:
            raise SlideError(
                f"{path.name}: {where}: {type(error).__name__}: {brief(error)}; mend the reader"
            ) from error
        if not isinstance(drawing, Drawing):
            raise SlideError(f"{path.name}: {where}: gave {type(drawing).__name__}; expected a Drawing")
        return drawing

    return read
