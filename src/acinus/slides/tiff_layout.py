"""Which directories of a TIFF are a slide's levels, how large a px is, and why a directory cannot be one."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from acinus.slides import ome
from acinus.slides.pages import JPEG, MAX_TILE_PX, TILE_DAMAGE

MAX_SUBIFDS = 64
"""More levels than any slide has; a damaged directory may name millions."""
_COMPRESSIONS = frozenset({1, 5, 8, 32773, 32946, 34712, 34926, 50000, 50001, 50002, 52546})
"""None, LZW, deflate, packbits, JPEG 2000, zstd, WebP, JPEG XL; and JPEG."""
RGB, _YCBCR = 2, 6  # TIFF photometric
_SHOWN = 5
_UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}  # TIFF ResolutionUnit: inch, cm


class NoRgbError(ValueError):
    """A sound TIFF that has no picture of the kind that is read here."""


@dataclass(frozen=True)
class Layout:
    """The directories of the levels, finest first; mpp: um per px (x, y) as the file tells it, however odd."""

    pages: list[tifffile.TiffPage]
    mpp: tuple[float, float] | None


def sees_more(path: Path) -> bool:
    """Return whether a TIFF has what OpenSlide overlooks: OME-XML, or levels in SubIFDs. A damaged one has not."""
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            return bool(page.subifds) or ome.is_ome(page.description)
    except TILE_DAMAGE:
        return False


def layout_of(tiff: tifffile.TiffFile) -> Layout:
    """Return the levels of the slide in a TIFF: of an OME-TIFF those of the first image of 8-bit RGB.

    Raises:
        NoRgbError: there is none, with the reason of each image.
        One of pages.TILE_DAMAGE: a damaged directory.
    """
    _check_chain(tiff)
    first = tiff.pages.first
    images = ome.images(first.description) if ome.is_ome(first.description) else []
    if not images:
        if why := unusable(first) or _stack(tiff):
            raise NoRgbError(why)
        return Layout(_levels(tiff, first, of_file=True), _tag_mpp(first))
    reasons = []
    for number, image in enumerate(images):
        why = "it lies in another file"
        if image.ifd is not None:
            page = tiff.pages[image.ifd] if image.ifd < len(tiff.pages) else None
            why = _unfit(image, page)
            if not why and page is not None:
                return Layout(_levels(tiff, page, of_file=False), image.mpp or _tag_mpp(page))
        reasons.append(f"image {number} {image.name!r}: {why}")
    more = f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    raise NoRgbError(f"no image of 8-bit RGB ({'; '.join(reasons[:_SHOWN])}{more})")


def _check_chain(tiff: tifffile.TiffFile) -> None:
    """Pass if the last directory that tifffile comes to is the last one: it stops where the chain leads nowhere."""
    if len(tiff.pages) == 0:
        raise ValueError("none is where the header says")
    form, last = tiff.tiff, tiff.pages[len(tiff.pages) - 1]
    tiff.filehandle.seek(last.offset)
    (tags,) = struct.unpack(form.tagnoformat, tiff.filehandle.read(form.tagnosize))
    tiff.filehandle.seek(last.offset + form.tagnosize + tags * form.tagsize)
    (following,) = struct.unpack(form.offsetformat, tiff.filehandle.read(form.offsetsize))
    if following != 0:
        raise ValueError(f"directory {len(tiff.pages)} is not where directory {len(tiff.pages) - 1} says")


def unusable(page: tifffile.TiffPage) -> str:
    """Return why a directory's px are not read here: not 8-bit RGB, or stored in a way that is not decoded; else ""."""
    bits = int(np.max(page.bitspersample))
    samples = int(page.samplesperpixel)
    alpha = tuple(page.extrasamples or ())
    if bits > 8:
        return f"{bits} bits per sample; only 8 are read"
    if page.photometric not in (RGB, _YCBCR) or samples < 3:
        name = getattr(page.photometric, "name", str(page.photometric)).lower()
        return f"{samples} sample{'s' if samples > 1 else ''} per px ({name}): grey or fluorescence; only RGB is read"
    if bits < 8 or samples > 4 or (samples == 4 and alpha not in ((0,), (2,))):
        return f"{samples} samples of {bits} bits; expected RGB of 8 bits"
    if page.compression != JPEG and (page.compression not in _COMPRESSIONS or page.photometric != RGB):
        name = getattr(page.compression, "name", page.compression)
        return f"compression {name} (photometric {int(page.photometric)}) is not read; save it with LZW or deflate"
    if (page.is_tiled or page.compression != 1) and math.prod(segment_px(page)) > MAX_TILE_PX:
        return f"tiles or strips of more than {MAX_TILE_PX} px; save it in tiles"
    return ""


def segment_px(page: tifffile.TiffPage) -> tuple[int, int]:
    """Return (width, height) of a tile or strip in px."""
    if page.is_tiled:
        return int(page.tilewidth), int(page.tilelength)
    return int(page.imagewidth), min(int(page.rowsperstrip or page.imagelength), int(page.imagelength))


def _unfit(image: ome.OmeImage, page: tifffile.TiffPage | tifffile.TiffFrame | None) -> str:
    """Return why an image of an OME-TIFF is not the slide, or "". page: its directory."""
    if not isinstance(page, tifffile.TiffPage):
        return f"directory {image.ifd} is not there"
    if why := unusable(page):
        return why
    if image.planes > 1:
        return f"{image.planes} focal planes or times; write one of them to a file"
    if (image.width, image.height) != (page.imagewidth, page.imagelength):
        return f"{image.width} x {image.height} px by OME-XML, {page.imagewidth} x {page.imagelength} by its directory"
    return ""


def _stack(tiff: tifffile.TiffFile) -> str:
    """Return why the first directory of a plain TIFF is not all of its picture, or "": others are as large."""
    first = tiff.pages.first
    others = [page for page in tiff.pages[1:] if isinstance(page, tifffile.TiffPage)]
    larger = sum(page.imagewidth >= first.imagewidth and page.imagelength >= first.imagelength for page in others)
    return f"{larger} further pictures are as large as the first; write one picture to a file" if larger else ""


def _levels(tiff: tifffile.TiffFile, page: tifffile.TiffPage, of_file: bool) -> list[tifffile.TiffPage]:
    """Return a page and the reductions of it: its SubIFDs or, where `of_file`, the file's reduced pages."""
    if page.subifds is not None and len(page.subifds) > MAX_SUBIFDS:
        raise ValueError(f"{len(page.subifds)} SubIFDs; expected at most {MAX_SUBIFDS}")
    smaller = list(page.pages) if page.subifds else tiff.pages[1:] if of_file else []
    if page.subifds and len(smaller) < len(page.subifds):
        raise ValueError(f"{len(page.subifds) - len(smaller)} of {len(page.subifds)} SubIFDs cannot be read")
    levels = [page]
    candidates = [other for other in smaller if isinstance(other, tifffile.TiffPage) and not unusable(other)]
    for other in sorted(candidates, key=lambda other: -int(other.imagewidth)):
        if _reduces(page, other) and other.imagewidth < levels[-1].imagewidth:
            levels.append(other)
    return levels


def _reduces(page: tifffile.TiffPage, other: tifffile.TiffPage) -> bool:
    """Return whether another directory shows all of a page, to one px of its own: no label and no macro."""
    if not 0 < other.imagewidth < page.imagewidth or (not page.subifds and not other.is_reduced):
        return False
    least, most = factors((page.imagewidth, page.imagelength), (other.imagewidth, other.imagelength))
    return least <= most


def factors(full: tuple[int, int], reduced: tuple[int, int]) -> tuple[float, float]:
    """Return the least and the largest downsample that make one (width, height) of the other, to one px of each edge.

    The first is the larger one where the reduced picture shows something else, or only a part.
    """
    edges = list(zip(full, reduced, strict=True))
    least = max(large / (small + 1) for large, small in edges)
    return least, min(large / (small - 1) if small > 1 else math.inf for large, small in edges)


def downsample_of(full: tuple[int, int], reduced: tuple[int, int]) -> float:
    """Return level-0 px per px: a whole number where the size is that reduction's, up or down; else the mean."""
    edges = sorted(zip(full, reduced, strict=True), reverse=True)  # of a thin slide the longer edge tells more
    for factor in (max(1, round(large / small)) for large, small in edges):
        if all(small in (large // factor, -(-large // factor)) for large, small in edges):
            return float(factor)
    return (full[0] / reduced[0] + full[1] / reduced[1]) / 2


def _tag_mpp(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Return um per px by the resolution tags, None where they say none."""
    unit = page.tags.get("ResolutionUnit")
    length = _UM_PER_UNIT.get(int(unit.value)) if unit is not None else None
    tags = page.tags.get("XResolution"), page.tags.get("YResolution")
    if length is None or tags[0] is None or tags[1] is None:
        return None
    (x_count, x_per), (y_count, y_per) = tags[0].value, tags[1].value
    if not all((x_count, x_per, y_count, y_per)):
        return None
    return length * x_per / x_count, length * y_per / y_count
