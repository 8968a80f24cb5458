"""OME-XML of an OME-TIFF: which images the file holds, where they begin and how large a px is.

Source: the OME schema 2016-06, https://www.openmicroscopy.org/Schemas/OME/2016-06. The text is an outsider's: entities
are refused, its size is bounded, and no file that it names is opened.
"""

import math
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

MAX_XML_BYTES = 2**25
"""Longest OME-XML that is read; those of slides have some kB."""
_PREFIXES = {"Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1}
_PREFIXES |= {"": 0, "d": -1, "c": -2, "m": -3, "µ": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24}
_INCH = 25_400.0
_UM = {f"{prefix}m": 10.0 ** (power + 6) for prefix, power in _PREFIXES.items()}
_UM |= {"Å": 1e-4, "thou": _INCH / 1000, "li": _INCH / 12, "in": _INCH, "ft": 12 * _INCH, "yd": 36 * _INCH}
_UM |= {"mi": 63_360 * _INCH, "pt": _INCH / 72, "ua": 1.495978707e17, "ly": 9.4607304725808e21, "pc": 3.0856776e22}
"""UnitsLength of the schema -> um. Its `pixel` and `reference frame` are no lengths."""
_ALIKE = str.maketrans({"\u03bc": "µ", "\u212b": "Å"})  # Greek mu, and the sign for Angstrom


@dataclass(frozen=True)
class OmeImage:
    """An image of the file. ifd: number of its first plane's directory, None where that lies in another file.

    width, height: px. planes: focal planes and times. mpp: um per px (x, y), None where the text does not say.
    """

    name: str
    ifd: int | None
    width: int
    height: int
    planes: int
    mpp: tuple[float, float] | None


def is_ome(description: str) -> bool:
    """Return whether a TIFF's description is OME-XML."""
    return description.rstrip("\0 \r\n\t")[-10:].endswith("OME>") or "<OME " in description[:1000]


def images(xml: str) -> list[OmeImage]:
    """Return the images in the order of the text; none where it only names the file that has them (BinaryOnly).

    Raises:
        ValueError: no sound OME-XML, a size that is no number, entities, or more than MAX_XML_BYTES.
    """
    data = xml.rstrip("\0 \r\n\t").encode("utf-8", "replace")
    if len(data) > MAX_XML_BYTES:
        raise ValueError(f"its OME-XML has {len(data)} bytes, more than {MAX_XML_BYTES}")
    try:
        root = fromstring(data, forbid_dtd=True)
    except (ParseError, DefusedXmlException, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise ValueError(f"its OME-XML does not parse ({' '.join(str(error).split())[:100]})") from error
    result: list[OmeImage] = []
    planes = 0  # of the images before, where they do not say their directories
    for image in root.findall("{*}Image"):
        pixels = image.find("{*}Pixels")
        if pixels is None:
            continue
        width, height = _number(pixels, "SizeX"), _number(pixels, "SizeY")
        stack = _number(pixels, "SizeZ", 1) * _number(pixels, "SizeT", 1)
        mpp = _um(pixels, "X"), _um(pixels, "Y")
        name = " ".join(image.get("Name", "").split())[:40]
        ifd = _first_directory(pixels, planes, root.get("UUID"))
        both = (mpp[0], mpp[1]) if mpp[0] is not None and mpp[1] is not None else None
        result.append(OmeImage(name, ifd, width, height, stack, both))
        planes += stack * max(1, len(pixels.findall("{*}Channel")))
    return result


def _first_directory(pixels: Element, planes: int, own: str | None) -> int | None:
    """Return the directory of the first plane: as TiffData says, else behind the planes of the images before."""
    places = pixels.findall("{*}TiffData")
    if not places:
        return planes
    first = [place for place in places if all(_number(place, f"First{axis}", 0) == 0 for axis in "CZT")]
    place = (first or places)[0]
    file = place.find("{*}UUID")
    if file is not None and own is not None and (file.text or "").strip() not in ("", own):
        return None
    return _number(place, "IFD", 0)


def _number(element: Element, key: str, default: int | None = None) -> int:
    """Return an attribute that is a whole number >= 0, as long as TIFF has them."""
    text = element.get(key, "" if default is None else str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise ValueError(f"its OME-XML has {key} = {text[:20]!r}; expected a whole number")
    return int(text)


def _um(pixels: Element, axis: str) -> float | None:
    """Return the length of a px along an axis in um, None where it is not told as a positive length."""
    factor = _UM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm").strip().translate(_ALIKE))
    try:
        size = float(pixels.get(f"PhysicalSize{axis}", ""))
    except ValueError:
        return None
    return size * factor if factor is not None and size > 0 and math.isfinite(size * factor) else None
