"""How one patch becomes bytes: JPEG (small), PNG or raw (exact); and, exactly, the raster of its classes."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import simplejpeg

from acinus.errors import AcinusError
from acinus.slides.jpeg_pixels import pixels_of

_RAW_HEAD = struct.Struct("<4sII")  # magic, height, width; then height * width * 3 bytes, RGB, row by row
_RAW_MAGIC = b"RGB8"


class PatchDataError(AcinusError):
    """Bytes that are not a patch of the codec they are said to be."""


@dataclass(frozen=True)
class Codec:
    """A pair of functions between a uint8 array and bytes. suffix: as a file, "" where it is no image file.

    kind: what its bytes are. decode raises ValueError or imagecodecs.PngError where they are not.
    depth: what follows height and width in the array's shape: (3,) of pixels, () of class indices.
    """

    name: str
    suffix: str
    kind: str
    encode: Callable[[np.ndarray, int], bytes]
    decode: Callable[[bytes | memoryview], np.ndarray]
    depth: tuple[int, ...] = (3,)

    @property
    def shape(self) -> str:
        """The shape of an array, in words."""
        return f"({', '.join(['height', 'width', *map(str, self.depth)])})"

    def fits(self, image: np.ndarray) -> bool:
        """Return whether an array is what this codec keeps."""
        deep = image.ndim == 2 + len(self.depth) and image.shape[2:] == self.depth
        return deep and image.dtype == np.uint8 and image.size > 0


def encode(image: np.ndarray, codec: str, quality: int) -> bytes:
    """Return the bytes of a patch. image: uint8, of the codec's shape. quality: 1..100, of JPEG only.

    Raises:
        PatchDataError: an array of another shape or type.
    """
    coder = codec_of(codec)
    if not coder.fits(image):
        raise PatchDataError(f"patch is {image.dtype} {image.shape}, expected uint8 {coder.shape}")
    return coder.encode(image, quality)


def decode(data: bytes | memoryview, codec: str) -> np.ndarray:
    """Return the patch, uint8, of the codec's shape.

    Raises:
        PatchDataError: damaged bytes, or bytes of another codec.
    """
    coder = codec_of(codec)
    try:
        image = coder.decode(data)
    except (ValueError, imagecodecs.PngError) as error:
        raise PatchDataError(f"not a {coder.kind} ({error})") from error
    if not coder.fits(image):
        raise PatchDataError(f"{codec} holds {image.dtype} {image.shape}, expected uint8 {coder.shape}")
    return image


def codec_of(name: str) -> Codec:
    """Return a codec by its name: one of CODECS, or MASK."""
    return MASK if name == MASK.name else CODECS[name]


def _encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    # 4:4:4, since the colour of small nuclei is the signal and slides are 4:2:0 already: measured on
    # H&E at quality 90, 4:2:0 saves 19 % of the bytes and adds 15 % to the error.
    row, px, channel = image.strides
    if (px, channel) != (3, 1) or row < 3 * image.shape[1]:  # libjpeg-turbo can step over a tile's rows as they are
        image = np.ascontiguousarray(image)
    return bytes(simplejpeg.encode_jpeg(image, quality, "RGB", "444", fastdct=False))


def _decode_jpeg(data: bytes | memoryview) -> np.ndarray:
    return np.asarray(simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False))


def _decode_source(data: bytes | memoryview) -> np.ndarray:
    if bytes(data[-2:]) != b"\xff\xd9":
        raise ValueError("no end marker")
    return pixels_of(data)  # a slide's own bytes: what is whole to those who read slides is whole here


def _encode_png(image: np.ndarray, quality: int) -> bytes:
    # level 1: higher levels save 0.4 % on histology and take longer
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=1))


def _decode_png(data: Any) -> np.ndarray:  # imagecodecs' stubs know no memoryview
    return np.asarray(imagecodecs.png_decode(data))


def _encode_mask(image: np.ndarray, quality: int) -> bytes:
    # level 6: a third smaller than level 1 on masks of nuclei; 9 saves 16 % more and takes nine times as long
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=6))


def _encode_raw(image: np.ndarray, quality: int) -> bytes:
    return _RAW_HEAD.pack(_RAW_MAGIC, image.shape[0], image.shape[1]) + image.tobytes()


def _decode_raw(data: bytes | memoryview) -> np.ndarray:
    if len(data) < _RAW_HEAD.size:
        raise ValueError(f"{len(data)} bytes, its head alone has {_RAW_HEAD.size}")
    magic, height, width = _RAW_HEAD.unpack_from(data)
    expected = _RAW_HEAD.size + height * width * 3
    if magic != _RAW_MAGIC or len(data) != expected:
        raise ValueError(f"{len(data)} bytes, its head says {magic!r} and {expected} bytes")
    pixels = np.frombuffer(data, dtype=np.uint8, offset=_RAW_HEAD.size)
    return pixels.reshape(height, width, 3).copy()  # a copy, since a view of bytes cannot be written to


CODECS: dict[str, Codec] = {
    "jpeg": Codec("jpeg", ".jpg", "whole JPEG", _encode_jpeg, _decode_jpeg),
    "png": Codec("png", ".png", "whole PNG", _encode_png, _decode_png),
    "raw": Codec("raw", "", "raw patch", _encode_raw, _decode_raw),
    "source": Codec("source", ".jpg", "whole JPEG", _encode_jpeg, _decode_source),
}
"""Codecs of pixels, those a recipe may name. source: JPEG too, the slide's own bytes wherever it has them."""

JPEG_CODECS = ("jpeg", "source")
"""Codecs whose pixels lose something when they are encoded, by the quality that store.json names."""

MASK = Codec("mask", ".png", "whole PNG", _encode_mask, _decode_png, depth=())
"""The codec of class indices: an 8-bit grey PNG, whatever codec the pixels have."""
