"""What lies in a folder of slides, and what belongs together: slides, annotation files, tables, and all the rest.

Works on names alone, but for annotation files, whose tool is asked for: metadata may be XML or JSON too.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from acinus.cohorts.adapter import TABLE_SUFFIXES
from acinus.cohorts.slide_names import SUFFIXES, SlideNames, safe_id, stem_of
from acinus.plugins import finding
from acinus.slides import formats
from acinus.slides.formats import FORMATS

FOLDERS = frozenset({"annotations", "geojson", "masks", "xml"})
"""Folders, in any case and at any depth, of annotation files that do not lie beside their slides."""
OUTLINE_SUFFIXES = (
    *(".geojson.gz", ".json.gz", ".geojson.zip", ".json.zip", ".geojson", ".json", ".xml", ".ndpa", ".annotations"),
    *(".zip", ".gz"),
)
"""Of files with outlines; those of two parts first."""
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
FLAT_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Of pictures that are slides only where no other slide beside them has their stem: else they are its thumbnail."""
_MASK_ENDING = re.compile(r"[ _.-]masks?\Z", re.IGNORECASE)
_ENDING = re.compile(r"[ _.-](annotations?|masks?)\Z", re.IGNORECASE)

Tool = Callable[[str], str | None]
"""Path of a file with outlines -> the tool that wrote it, None where no tool is known to."""


@dataclass
class Match:
    """What belongs together. Paths are relative to the root.

    slides: id -> path. annotations: slide id -> its file. orphans: annotation file -> why it goes with no slide.
    foreign: file -> what makes it readable. ignored: file -> why. faults: a line for each thing a person must decide.
    """

    slides: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    orphans: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def match(files: Iterable[str], tool: Tool, stated: Mapping[str, str] | None = None) -> Match:
    """Return what the files are to each other.

    stated: path of a slide -> annotation file as a table has it: a path from the root or from the slide's folder,
    or a file name. Where a table says nothing, an annotation file goes with the slide of its name (see
    `annotated_name`) that lies beside it, or anywhere below the root where it lies in one of FOLDERS.
    """
    found = Match()
    outlines: list[str] = []
    paths = sorted(files)
    parts = formats.parts(paths)
    for path in sorted(set(paths) - set(parts)):
        form = FORMATS.get(next((suffix for suffix in SUFFIXES if path.lower().endswith(suffix)), ""))
        if is_annotation(path) and (form is None or is_mask(path)):  # a zip may be a slide's
            outlines.append(path)
        elif form is not None and form.readable:
            found.slides[path] = path  # by its path until all are known
        elif form is not None:
            found.foreign[path] = f"{form.name} is not read; {form.remedy}"
        elif PurePosixPath(path).suffix.lower() in TABLE_SUFFIXES:
            found.tables.append(path)
        else:
            found.ignored[path] = "by its name no slide, annotation or table"
    slides = _slides(found)
    _assign(found, outlines, slides, tool, stated or {})
    _set_tables_apart(found, slides)
    return found


def is_mask(path: str) -> bool:
    """Return whether an annotation file is a mask, by its name."""
    return path.lower().endswith(MASK_SUFFIXES)


def is_annotation(path: str) -> bool:
    """Return whether a file is one of outlines, or an image that is a mask: in one of FOLDERS, or called so."""
    if is_mask(path):
        in_folder = not FOLDERS.isdisjoint(part.lower() for part in PurePosixPath(path).parts[:-1])
        return in_folder or _MASK_ENDING.search(stem_of(path)) is not None
    return path.lower().endswith(outline_suffixes())


def outline_suffixes() -> tuple[str, ...]:
    """Return the suffixes of files with outlines, those that plug-ins read first."""
    readers = finding.found("annotation_reader").values()
    plugged = [suffix for reader in readers for suffix in reader.options.get("suffixes", ())]
    return (*sorted(plugged, key=len, reverse=True), *OUTLINE_SUFFIXES)


def annotated_name(path: str) -> tuple[str, str]:
    """Return the slide's name that an annotation file's name has, as it is and without an ending.

    a.geojson, a.svs.geojson, a_annotations.xml and a_mask.png belong to a; endings are annotation(s) and mask(s)
    behind a space, dot, dash or underscore.
    """
    stem = stem_of(path) if is_mask(path) else stem_of(path, outline_suffixes())
    return stem, _ENDING.sub("", stem)


def _slides(found: Match) -> SlideNames:
    """Give the slides their ids; name those that share one, and pictures that are thumbnails of slides."""
    whole = {path.lower() for path in found.slides if not path.lower().endswith(FLAT_SUFFIXES)}
    stems = {path[: len(path) - len(PurePosixPath(path).name)] + stem_of(path) for path in whole}
    by_id: dict[str, list[str]] = {}
    for path in list(found.slides):
        name = PurePosixPath(path).name
        beside = path[: len(path) - len(name)].lower() + stem_of(path).lower()
        if path.lower().endswith(FLAT_SUFFIXES) and beside in stems:
            found.ignored[path] = "a picture with the name of a slide beside it"
        else:
            by_id.setdefault(safe_id(stem_of(path)).casefold(), []).append(path)
    found.slides = {safe_id(stem_of(paths[0])): paths[0] for paths in by_id.values()}
    for paths in by_id.values():
        if len(paths) > 1:
            found.faults.append(
                f"{' and '.join(paths)}: all would be slide {safe_id(stem_of(paths[0]))}; rename all but one, or move "
                "them away"
            )
    return SlideNames(path for paths in by_id.values() for path in paths)


def _assign(found: Match, outlines: list[str], slides: SlideNames, tool: Tool, stated: Mapping[str, str]) -> None:
    """Give every annotation file to its slide, or say why it has none."""
    ids = {path: slide_id for slide_id, path in found.slides.items()}
    of_slide: dict[str, list[str]] = {}
    for slide, text in sorted(stated.items()):
        file = _stated(text, slide, outlines)
        if file is None:
            found.faults.append(f"{slide}: its annotation {text!r} is no such file below the root; correct the table")
        elif slide in ids:
            of_slide[slide] = [file]
    taken = {file for files in of_slide.values() for file in files}
    by_table = set(of_slide)
    for path in outlines:
        if path in taken:
            continue
        written_by = "mask" if is_mask(path) else tool(path)
        if written_by is None:
            found.ignored[path] = "no tool known to Acinus writes such a file"
            continue
        owner, why = _owner(path, slides)
        if owner is None:
            found.orphans[path] = why
        elif owner in by_table:
            found.ignored[path] = f"the table names another annotation for {owner}"
        else:
            of_slide.setdefault(owner, []).append(path)
    for slide, files in sorted(of_slide.items()):
        if slide in ids:
            found.annotations[ids[slide]] = files[0]
        if len(files) > 1:
            found.faults.append(
                f"{' and '.join(files)}: annotations of one slide, {slide}; keep one, or name the one that counts in "
                "column annotation of slides.csv"
            )


def _set_tables_apart(found: Match, slides: SlideNames) -> None:
    """Make tables of the orphans that are one by their suffix, which a plug-in may read, and are called as no slide."""
    for path in list(found.orphans):
        suffix = next((suffix for suffix in outline_suffixes() if path.lower().endswith(suffix)), "")
        if suffix in TABLE_SUFFIXES and not any(slides.find(name) for name in annotated_name(path)):
            del found.orphans[path]
            found.tables = sorted([*found.tables, path])


def _stated(text: str, slide: str, outlines: Iterable[str]) -> str | None:
    """Return the file that a table's text means for a slide."""
    asked = text.replace("\\", "/").removeprefix("./").casefold()
    beside = str(PurePosixPath(slide).parent / asked).casefold()
    by_path = [path for path in outlines if path.casefold() in (asked, beside)]
    by_name = [path for path in outlines if PurePosixPath(path).name.casefold() == asked]
    return by_path[0] if by_path else by_name[0] if len(by_name) == 1 else None


def _owner(path: str, slides: SlideNames) -> tuple[str | None, str]:
    """Return the slide that an annotation file goes with by its name, else None and why."""
    place = PurePosixPath(path)
    in_folder = not FOLDERS.isdisjoint(part.lower() for part in place.parts[:-1])
    for name in annotated_name(path):
        paths = slides.find(name)
        beside = [slide for slide in paths if PurePosixPath(slide).parent == place.parent]
        if len(beside or paths) > 1:
            return None, f"may be of {' or '.join(beside or paths)}; name it in column annotation of slides.csv"
        if beside or (paths and in_folder):
            return (beside or paths)[0], ""
        if paths:
            return None, (
                f"is called as {paths[0]}, but lies neither beside it nor in a folder {', '.join(sorted(FOLDERS))}; "
                "move it, or name it in column annotation of slides.csv"
            )
    near = slides.near(annotated_name(path)[1])
    return None, f"no slide has its name{near}; add the slide, rename the file or move it away"
