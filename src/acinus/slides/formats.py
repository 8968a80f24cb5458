"""Formats of slides by their suffix: whether they are read, and if not, what makes them readable."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath


@dataclass(frozen=True)
class Format:
    """A format. readable: Acinus has a reader for it. remedy: what to do with a file that is not, or does not open."""

    name: str
    readable: bool
    remedy: str


_TO_OME = "convert it to an OME-TIFF with bfconvert (Bio-Formats)"
REPLACE = "replace the file"
_SAVE = "save it as 8-bit RGB PNG, JPEG or TIFF"
_VENDOR = "export it as SVS or TIFF with its vendor's viewer"


def _read(name: str, remedy: str = REPLACE) -> Format:
    return Format(name, True, remedy)


def _unread(name: str, remedy: str = _TO_OME) -> Format:
    return Format(name, False, remedy)


_TIFF = _read("TIFF", f"save it as 8-bit RGB, in tiles, or {_TO_OME}")
_OME_TIFF = _read("OME-TIFF", "write it as 8-bit RGB, in tiles (raw2ometiff --rgb, or bfconvert -tilex 512 -tiley 512)")
_DICOM = _read("DICOM", "copy all files of its series into one folder")
_PICTURE = _read("picture", _SAVE)
_LEICA_LIF = _unread("Leica LIF")
_ZARR = _read(
    "OME-Zarr",
    "write it as 8-bit RGB of NGFF 0.4 or 0.5, or as an OME-TIFF: raw2ometiff --rgb for what bioformats2raw wrote",
)
_ZIPPED_ZARR = _unread("OME-Zarr in a zip", "unzip it into a folder NAME.ome.zarr")
_DEEP_ZOOM = _unread("Deep Zoom", "use the slide that it was made of, or join its tiles with vips")
_PART = _unread("part of a slide", "it is read with the slide's own file")

FORMATS: dict[str, Format] = {
    ".ome.tif": _OME_TIFF,
    ".ome.tiff": _OME_TIFF,
    ".ome.btf": _OME_TIFF,
    ".ome.tf2": _OME_TIFF,
    ".ome.tf8": _OME_TIFF,
    ".ome.zarr": _ZARR,
    ".bif": _read("Ventana BIF"),
    ".btf": _TIFF,
    ".czi": _read("Zeiss CZI", f"{_TO_OME}, or write its pixels with pylibCZIrw and tifffile"),
    ".dcm": _DICOM,
    ".dicom": _DICOM,
    ".jpeg": _PICTURE,
    ".jpg": _PICTURE,
    ".mrxs": _read("3DHISTECH MRXS", "copy its folder (of the same name, with Slidedat.ini) beside it"),
    ".ndpi": _read("Hamamatsu NDPI"),
    ".png": _PICTURE,
    ".qptiff": _read("Akoya QPTIFF", f"{_TO_OME}; fluorescence cannot be used"),
    ".scn": _read("Leica SCN"),
    ".svs": _read("Aperio SVS"),
    ".svslide": _read("Sakura SVSLIDE"),
    ".tf8": _TIFF,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".vms": _read("Hamamatsu VMS", "copy the files that it names beside it"),
    ".vmu": _read("Hamamatsu VMU", "copy the files that it names beside it"),
    ".zarr": _ZARR,
    # what nothing here reads
    ".afi": _unread("Aperio AFI (fluorescence)", "only stained tissue under white light can be used"),
    ".avif": _unread("AVIF picture", _SAVE),
    ".bmp": _unread("BMP picture", _SAVE),
    ".dzc": _DEEP_ZOOM,
    ".dzi": _DEEP_ZOOM,
    ".ets": _PART,
    ".gif": _unread("GIF picture", _SAVE),
    ".heic": _unread("HEIC picture", _SAVE),
    ".i2syntax": _unread("Philips i2Syntax", "export it as TIFF with Philips' software"),
    ".ims": _unread("Imaris IMS"),
    ".isyntax": _unread(
        "Philips iSyntax", "convert it with isyntax2raw and raw2ometiff --rgb, or with isyntax-to-tiff"
    ),
    ".j2k": _unread("JPEG 2000", _SAVE),
    ".jp2": _unread("JPEG 2000", _SAVE),
    ".jpx": _unread("JPEG 2000", _SAVE),
    ".jxl": _unread("JPEG XL picture", _SAVE),
    ".kfb": _unread("KFBIO KFB", _VENDOR),
    ".lif": _LEICA_LIF,
    ".lof": _LEICA_LIF,
    ".lsm": _unread("Zeiss LSM"),
    ".mds": _unread("Motic MDS", _VENDOR),
    ".mdsx": _unread("Motic MDSX", _VENDOR),
    ".nd2": _unread("Nikon ND2"),
    ".oib": _unread("Olympus OIB"),
    ".oif": _unread("Olympus OIF"),
    ".oir": _unread("Olympus OIR"),
    ".ozx": _ZIPPED_ZARR,
    ".sdpc": _unread("SQRAY SDPC", _VENDOR),
    ".szi": _DEEP_ZOOM,
    ".tmap": _unread("UNIC TMAP", _VENDOR),
    ".tron": _unread("InteliSlide TRON", _VENDOR),
    ".vsi": _unread("Olympus VSI", f"{_TO_OME}; its folder _NAME_ must lie beside it"),
    ".webp": _unread("WebP picture", _SAVE),
    ".zarr.zip": _ZIPPED_ZARR,
    ".zvi": _unread("Zeiss ZVI"),
}
"""Suffix, lower case -> format. One table: what is listed here is named wherever it is found, read or not."""

PICTURES = frozenset(suffix for suffix, form in FORMATS.items() if form in (_PICTURE, _TIFF, _OME_TIFF))
"""Suffixes that masks, overviews and figures have, too."""

ZARR_METADATA = frozenset({".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"})
"""Names of the files of a Zarr that are no chunks."""


def format_of(path: Path) -> Format | None:
    """Return the format of a file or folder by its name, None where that is no slide's.

    The disk is asked where the name does not say enough: of a file without suffix (or a UID for a name) for DICOM's
    signature, of a folder for DICOM files, of an MRXS for its folder. What opens in the end only opening tells.
    """
    name = path.name.lower()
    suffix = next((suffix for suffix in (_compound(name), PurePath(name).suffix) if suffix in FORMATS), None)
    if suffix == ".mrxs" and path.exists() and not (path.with_suffix("") / "Slidedat.ini").is_file():
        return Format("3DHISTECH MRXS without its folder", False, FORMATS[suffix].remedy)
    if suffix is not None:
        return FORMATS[suffix]
    may_be_dicom = path.suffix == "" or path.suffix[1:].isdigit()
    return _DICOM if is_dicom_folder(path) or (may_be_dicom and is_dicom(path)) else None


def unread(files: Collection[str]) -> dict[str, Format]:
    """Return the files with a suffix of slides that nothing here reads, sorted; parts go with their slide.

    files: paths relative to one root, '/' separated.
    """
    slide_of = parts(files)
    slides = {slide_of.get(file, file) for file in files}  # an MRXS or VSI is in `files` itself
    forms = ((slide, FORMATS.get(PurePosixPath(slide).suffix.lower())) for slide in sorted(slides))
    return {slide: form for slide, form in forms if form is not None and not form.readable}


def is_tiff(path: Path) -> bool:
    """Return whether a file begins as a TIFF does."""
    return _head(path, 4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_picture(path: Path) -> bool:
    """Return whether a file begins as a PNG or a JPEG does."""
    return _head(path, 8).startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))


def is_dicom(path: Path) -> bool:
    """Return whether a file begins as a DICOM file does, or, where it is not there, is called one."""
    return _head(path, 132)[128:] == b"DICM" or (not path.exists() and path.suffix.lower() in (".dcm", ".dicom"))


def is_dicom_folder(path: Path) -> bool:
    """Return whether a folder holds a DICOM file; folders in it are not looked into."""
    return path.is_dir() and any(is_dicom(file) for file in path.iterdir() if file.is_file())


def parts(files: Collection[str]) -> dict[str, str]:
    """Return part -> the slide that it is a part of, for files that are no slides of their own.

    files: paths relative to one root, '/' separated. Parts are: what lies in an MRXS's or a VSI's folder, and the
    pictures that a VMS or VMU is made of.
    """
    folders: dict[str, str] = {}
    prefixes: dict[str, list[tuple[str, str]]] = {}
    for file in sorted(files):
        path = PurePosixPath(file)
        suffix = path.suffix.lower()
        if suffix == ".mrxs":
            folders[str(path.with_suffix(""))] = file
        elif suffix == ".vsi":
            folders[str(path.with_name(f"_{path.stem}_"))] = file
        elif suffix in (".vms", ".vmu"):
            prefixes.setdefault(str(path.parent), []).append((path.stem, file))
    found: dict[str, str] = {}
    for file in files:
        path = PurePosixPath(file)
        for parent in reversed(path.parents):
            if str(parent) in folders:
                found[file] = folders[str(parent)]
                break
        for stem, slide in prefixes.get(str(path.parent), ()):
            if path.name.startswith(stem) and file != slide and path.suffix.lower() in (".jpg", ".opt", ".ngr"):
                found[file] = slide
    return found


def _compound(name: str) -> str:
    """Return the last two suffixes of a name, such as .ome.tif."""
    return "".join(PurePath(name).suffixes[-2:])


def _head(path: Path, count: int) -> bytes:
    """Return the first bytes of a file, none where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(count)
    except OSError:
        return b""
