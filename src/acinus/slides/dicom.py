"""Which series a DICOM file is of, from its header alone, and a folder of such files as one slide.

Source: DICOM PS3.10 (file format) and PS3.5 (encoding).
"""

import struct
from pathlib import Path

from acinus.errors import SlideError
from acinus.slides.formats import is_dicom

_HEADER_BYTES = 2**20
"""Bytes that are looked at: the series stands near the start."""
_SYNTAX, _SERIES = (0x0002, 0x0010), (0x0020, 0x000E)
_IMPLICIT, _BIG_ENDIAN, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)


def series_of(path: Path) -> str | None:
    """Return the SeriesInstanceUID of a DICOM file; None where it is none, is damaged, or names none."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_HEADER_BYTES)
    except OSError:
        return None
    if data[128:132] != b"DICM":
        return None
    try:
        return _series(data)
    except (struct.error, UnicodeDecodeError):  # the header breaks off, or is none
        return None


def file_of(folder: Path, slide_id: str) -> Path:
    """Return the file that stands for a folder of DICOM files, the first by name: OpenSlide finds the others.

    Raises:
        SlideError: none in it, or of several series; names a file of each.
    """
    first: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        series = series_of(file) if file.is_file() and is_dicom(file) else None
        if series is not None:
            first.setdefault(series, file)
    if len(first) == 1:
        return next(iter(first.values()))
    if not first:
        raise SlideError(f"slide {slide_id}: {folder} is a folder without DICOM files; give the slide's file")
    names = ", ".join(file.name for file in list(first.values())[:5])
    raise SlideError(
        f"slide {slide_id}: {folder.name} holds {len(first)} DICOM series, a slide each (the first files of some: "
        f"{names}); give a file of the one that is meant, or a folder to each"
    )


def _series(data: bytes) -> str | None:
    """Walk the elements up to the series; sequences are passed over, whatever is nested in them."""
    at, depth, implicit, syntax = 132, 0, False, ""
    while at + 8 <= len(data):
        tag = struct.unpack_from("<HH", data, at)
        if tag[0] != 0x0002 and syntax in (_BIG_ENDIAN, _DEFLATED):
            return None
        if tag in (_ITEM, _ITEM_END, _SEQUENCE_END):
            (length,) = struct.unpack_from("<I", data, at + 4)
            at += 8
            depth -= tag == _SEQUENCE_END
            if tag == _ITEM and depth == 0 and length != _UNDEFINED:
                at += length
            continue
        implicit = syntax == _IMPLICIT and tag[0] != 0x0002
        kind = b"" if implicit else data[at + 4 : at + 6]
        if implicit:
            (length,), at = struct.unpack_from("<I", data, at + 4), at + 8
        elif kind in _LONG:
            (length,), at = struct.unpack_from("<I", data, at + 8), at + 12
        else:
            (length,), at = struct.unpack_from("<H", data, at + 6), at + 8
        if length == _UNDEFINED:
            depth += 1
            continue
        if depth == 0 and tag in (_SYNTAX, _SERIES) and at + length <= len(data):
            text = data[at : at + length].decode("ascii").rstrip("\0 ")
            if tag == _SERIES:
                return text or None
            syntax = text
        if depth == 0 and tag > _SERIES:
            return None
        at += length
    return None
