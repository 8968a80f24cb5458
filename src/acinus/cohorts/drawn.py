"""One slide's annotation, of any tool or a mask, as what later stages read, and what the manifest says of it."""

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import shapely
import tifffile
from PIL import Image

from acinus import params, plugin_code
from acinus.annotations.frame import Frame
from acinus.annotations.outline import AnnotationFile, ClassCount
from acinus.annotations.reading import read_annotations
from acinus.cohorts.matching import is_mask
from acinus.errors import SlideError
from acinus.files import atomic_path
from acinus.labels import layers
from acinus.labels.colours import LOSSY_REMEDY, colours_in, is_coloured, to_class_mask
from acinus.labels.drawn import write_areas
from acinus.labels.labels import LabelRow, LabelRules, check_source, open_labels
from acinus.labels.places import mpp_of
from acinus.params import section_hash
from acinus.params.cohorts import IGNORED
from acinus.scoring.confusion import IGNORE
from acinus.slides.open import below
from acinus.slides.raster import TILE_PX, check_budget, declared_size

MAX_MASK_PX = 2**28
"""Largest PNG mask, which is decoded as a whole."""
_ONE_PX0 = 1.0
Row = dict[str, Any]


@dataclass(frozen=True)
class Meaning:
    """What a recipe says of annotations. classes: its own. positive: those that count as tumour."""

    cohort: params.SlidesCohort
    classes: tuple[str, ...]
    positive: tuple[str, ...]


def label(row: Row, root: Path, rasters: Path, meaning: Meaning, properties: Mapping[str, str]) -> Row:
    """Return what a manifest row says of its label, after a look at all of it; files that stages read go to `rasters`.

    properties: OpenSlide's, of the slide. Beside columns of the manifest: `_notes`, lines to say, and `_unmapped`.

    Raises:
        SlideError: an annotation that cannot be used, or that contradicts what the table says of the slide.
    """
    if row["label_source"] is None:
        return {"label_kind": "none" if row["slide_label"] == "normal" else "unknown"}
    known = _mask if is_mask(row["label_source"]) else _outlines
    try:
        result, label_areas = known(row, root, rasters, meaning, properties)
    except SlideError as error:  # which names the file that was read; a person knows it by its path
        files = (PurePosixPath(row["label_source"]).name, _made(row, rasters).name)
        named = rf"(?<!\S)({'|'.join(map(re.escape, files))}): "
        raise SlideError(re.sub(named, lambda _: f"{row['label_source']}: ", str(error), count=1)) from error
    has = {name for name, area in zip(meaning.classes, label_areas, strict=False) if area >= _ONE_PX0}
    seen = None
    if has & set(meaning.positive):
        seen = "tumor"
    elif has and result["exhaustive"]:
        seen = "normal"
    if row["slide_label"] and seen and row["slide_label"] != seen:
        raise SlideError(
            f"slide {row['slide_id']}: {meaning.cohort.table} says {row['slide_label']}, but "
            f"{row['label_source']} has {'something' if seen == 'tumor' else 'nothing'} of a positive class "
            f"({', '.join(meaning.positive)}); correct the one or the other"
        )
    return result | {"slide_label": row["slide_label"] or seen}


def _outlines(
    row: Row, root: Path, rasters: Path, meaning: Meaning, properties: Mapping[str, str]
) -> tuple[Row, list[float]]:
    """Return the label of a file with outlines, and the area of each class, level-0 px."""
    rules, size = meaning.cohort.annotations, (row["width"], row["height"])
    assert rules is not None, "files with outlines are refused where the recipe does not say what they mean"
    file = read_annotations(below(root, row["label_source"]), Frame.of(size, properties, mpp_of(row)))
    result: Row = {"label_kind": "outlines", "_notes": _notes(row, file, rules)}
    unmapped = layers.unmapped(file.outlines, rules)
    if unmapped:
        result["_unmapped"] = dict(unmapped)
        if rules.unmapped == "refuse":  # the cohort is, with all such classes
            return result | {"exhaustive": False}, []
    areas = layers.areas_of(file.outlines, rules, meaning.classes, size)
    write_areas(areas, rasters / f"{row['slide_id']}_areas.parquet")
    sizes = [
        float(shapely.area(areas.by_label[i])) if i in areas.by_label else 0.0 for i in range(len(meaning.classes))
    ]
    if areas.rest != IGNORE:
        sizes[areas.rest] = max(
            0.0, size[0] * size[1] - sum(float(shapely.area(area)) for area in areas.by_label.values())
        )
    negative = [name for name, px in zip(meaning.classes, sizes, strict=True) if px and name not in meaning.positive]
    counted = layers.used(file.outlines, rules)
    reader = plugin_code.digest([("annotation_reader", file.tool)])
    fingerprint = f"{row['label_fingerprint']}-{section_hash(rules)[:16]}{f'-{reader[:16]}' if reader else ''}"
    result |= {"label_fingerprint": fingerprint, "exhaustive": bool(negative) or rules.outside != IGNORED}
    if rules.outside != IGNORED and layers.lacks_region(file.outlines, rules):
        result["findings"] = "no_region"
    if not counted:  # an empty file says nothing
        return {
            "label_kind": "unknown",
            "findings": "nothing_outlined",
            "exhaustive": True,
            "_notes": result["_notes"],
        }, []
    return result, sizes


def _notes(row: Row, file: AnnotationFile, rules: params.Annotations) -> list[str]:
    """Return lines about what of a file is not used, and what looks odd in it."""
    name = row["label_source"]
    lines = list(file.warnings)
    if file.passed_over:
        counts = ", ".join(f"{count} {kind}" for kind, count in file.passed_over.items())
        lines.append(f"{name}: passed over, since they have no area that is used: {counts}")
    others = Counter(outline.object_type for outline in file.outlines if outline.object_type not in rules.objects)
    if others:
        counts = ", ".join(f"{count} of kind {kind}" for kind, count in sorted(others.items()))
        lines.append(f"{name}: objects not used: {counts}; name the kind in cohort.annotations.objects to use them")
    if file.repaired:
        lines.append(f"{name}: {file.repaired} outlines cross or touch themselves; all that they go around is theirs")
    return lines


def _mask(
    row: Row, root: Path, rasters: Path, meaning: Meaning, properties: Mapping[str, str]
) -> tuple[Row, list[float]]:
    """Return the label of a mask, read where it lies or from a copy made here, and each class's area, level-0 px."""
    del properties
    source, made = below(root, row["label_source"]), _made(row, rasters)
    _refuse_jpeg(source)
    rules = LabelRules.of(meaning.classes, meaning.cohort)
    kind = "mask"
    result: Row = {}
    if meaning.cohort.mask_colours:
        colours = [(red, green, blue) for red, green, blue in meaning.cohort.mask_colours.values()]
        to_class_mask(source, made, colours, 0, list(meaning.cohort.mask_colours))
        kind = "class_mask"
    elif PurePosixPath(row["label_source"]).suffix.lower() == ".png":
        _index_mask(source, made, rules)
        kind = "class_mask"
    elif row["derived"]:
        with atomic_path(made) as part:
            shutil.copyfile(source, part)
    if kind == "class_mask":
        means = [f"{key} {name}" for key, name in meaning.cohort.mask_values.items()]
        means += [f"{name} {colour}" for name, colour in meaning.cohort.mask_colours.items()]
        result["label_fingerprint"] = f"{row['label_fingerprint']}-{section_hash(list(meaning.classes), means)[:16]}"
    path = made if kind == "class_mask" or row["derived"] else source
    counts = check_source(LabelRow.of(row | {"label_kind": kind}, path), rules)
    assert counts is not None, "a mask has pixels"
    scale = row["width"] * row["height"] / max(1, int(counts.sum()))
    exhaustive = bool(sum(counts[i] for i, name in enumerate(meaning.classes) if name not in meaning.positive))
    findings = "one_class_mask" if np.count_nonzero(counts) == 1 else ""
    result |= {"label_kind": kind, "exhaustive": exhaustive, "findings": findings}
    return result, [float(px) * scale for px in counts[:-1]]


def _made(row: Row, rasters: Path) -> Path:
    """Return where the mask of class indices lies that is made of a slide's own."""
    return rasters / f"{row['slide_id']}_mask.tif"


def _refuse_jpeg(source: Path) -> None:
    if source.suffix.lower() in (".jpg", ".jpeg"):
        raise SlideError(f"{source.name}: a JPEG is no mask: {LOSSY_REMEDY}")


def _index_mask(source: Path, target: Path, rules: LabelRules) -> None:
    """Write a PNG of values (grey, or indices of a palette) as a TIFF of class indices.

    Raises:
        SlideError: coloured, too large, damaged, or with a value that the recipe does not declare.
    """
    check_budget(declared_size(source), MAX_MASK_PX, source.name)
    try:
        with Image.open(source) as image:
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SlideError(
            f"{source.name}: does not decode ({' '.join(str(error).split())[:100]}); export it again"
        ) from error
    if pixels.ndim == 3:
        if np.any(pixels[..., :3] != pixels[..., :1]):
            raise SlideError(f"{source.name}: the mask is coloured; say in cohort.mask_colours what its colours mean")
        pixels = pixels[..., 0]
    pixels = pixels.astype(np.int64)
    values = rules.values("*")
    table = np.full(max(int(pixels.max(initial=0)), 255) + 1, -1, dtype=np.int16)
    for value, index in values.of.items():
        table[value] = index
    labels = table[pixels]
    if (labels < 0).any():
        r, c = np.argwhere(labels < 0)[0]
        raise SlideError(
            f"{source.name}: value {pixels[r, c]} at mask pixel ({c}, {r}) is not declared; {values.declared}; declare "
            "it there or correct the mask"
        )
    with atomic_path(target) as part:
        tifffile.imwrite(
            part,
            labels.astype(np.uint8),
            tile=(TILE_PX, TILE_PX),
            compression="adobe_deflate",
            photometric="minisblack",
            software=False,
            metadata=None,
        )


def mask_values(
    path: Path, size: tuple[int, int], grid: tuple[int, int], coloured: bool = False
) -> tuple[list[ClassCount], np.ndarray]:
    """Return how many px of a mask have each value or colour (the name of the class), and the mask on a small grid.

    size: (width, height) of the slide, level-0 px. grid: (columns, rows); uint8 (rows, columns) of a mask with values,
    (rows, columns, 3) of one with colours, whose classes are called #rrggbb and have their colour. What is grey all
    over, or a TIFF that has nothing but red, has values. coloured: it has colours all the same, as other masks of its
    cohort do.

    Raises:
        SlideError: lossy, damaged, of another shape than the slide.
    """
    _refuse_jpeg(path)
    if coloured or is_coloured(path):
        colours, small = colours_in(path, grid)
        only_red = path.suffix.lower() != ".png" and all(green == blue == 0 for (_, green, blue), _ in colours)
        if coloured or (not only_red and any(len(set(colour)) > 1 for colour, _ in colours)):
            return [ClassCount(hex_of(colour), 1, float(px), colour) for colour, px in colours], small
    names = tuple(str(value) for value in range(IGNORE))
    rules = LabelRules(names, {"*": {**dict(enumerate(names)), IGNORE: "ignore"}})
    with tempfile.TemporaryDirectory() as scratch:
        if path.suffix.lower() == ".png":
            _index_mask(path, made := Path(scratch) / path.with_suffix(".tif").name, rules)
            path = made
        row = LabelRow(path.stem, path, "mask", True, "*", *size)
        counts = check_source(row, rules)
        values = open_labels(row, rules).raster(*grid, max(size[0] / grid[0], size[1] / grid[1]))
    assert counts is not None, "a mask has pixels"
    return [ClassCount(str(value), 1, float(px), None) for value, px in enumerate(counts) if px], values


def hex_of(colour: tuple[int, int, int]) -> str:
    """Return a colour as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
