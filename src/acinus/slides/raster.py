"""Giant PNG, JPEG and TIFF rasters: their size from the header, their pixels in stripes.

libvips decodes from top to bottom, so that memory depends on a raster's width, never on its area. What
cannot be decoded so (interlaced PNG, progressive JPEG) is refused above a stated size.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
import tifffile

from acinus.errors import SlideError
from acinus.slides.pages import MAX_TILE_PX, TILE_DAMAGE
from acinus.slides.slide import plausible_mpp

TILE_PX = 512
STRIPE_ROWS = 64
"""Rows decoded at a time."""
MAX_INTERLACED_PX = 2**25
"""Largest raster whose pixels come in passes: all of it is in memory before the first row is known."""
TWELVE_BITS = 2**12
"""16-bit values all below this are those of a camera or of 8 bits, and would become black."""
LOADERS = {
    b"\x89PNG\r\n\x1a\n": "pngload",
    b"\xff\xd8\xff": "jpegload",
    b"II*\0": "tiffload",
    b"MM\0*": "tiffload",
    b"II+\0": "tiffload",
    b"MM\0+": "tiffload",
}
"""First bytes of a file -> libvips' reader. Named, since left to itself it would open PDF, SVG and much else."""
_PICTURES = {"b-w", "grey16", "rgb16", "srgb"}  # other spaces are not told in 8-bit RGB
TILE_COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
"""Those of tiles that libvips decodes, as its wheels are built: none, CCITT, LZW, JPEG, deflate, packbits."""


@dataclass(frozen=True)
class Raster:
    """A raster opened as far as its header. channels: 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA (palettes are resolved).

    mpp: um per px (x, y) from its resolution tags where plausible.
    """

    path: Path
    loader: str
    width: int
    height: int
    channels: int
    mpp: tuple[float, float] | None
    image: Any


def declared_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in px as the header declares them; no pixel is decoded.

    Raises:
        SlideError: no PNG, JPEG or TIFF, or its header is damaged.
    """
    _, image = _open_image(path)
    return image.width, image.height


def check_budget(size: tuple[int, int], max_pixels: int, name: str) -> None:
    """Refuse a raster of more pixels than the recipe allows, before anything is decoded."""
    width, height = size
    if width * height > max_pixels:
        raise SlideError(
            f"{name}: {width} x {height} = {width * height} px, more than cohort.max_pixels = {max_pixels}; "
            "raise cohort.max_pixels or cut the raster"
        )


def open_raster(path: Path) -> Raster:
    """Open a raster whose pixels can be read in stripes.

    Raises:
        SlideError: no PNG, JPEG or TIFF; a damaged header; pixels that are not grey or RGB of 8 or 16
            bits; an orientation tag that turns the picture; a large interlaced or progressive file.
    """
    loader, image = _open_image(path)
    if image.interpretation not in _PICTURES or image.format not in ("uchar", "ushort") or not 1 <= image.bands <= 4:
        raise SlideError(
            f"{path.name}: pixels are {image.bands} x {image.format} ({image.interpretation}); expected grey or RGB "
            "of 8 or 16 bits; convert the file"
        )
    if "orientation" in image.get_fields() and image.get("orientation") not in (0, 1):
        raise SlideError(
            f"{path.name}: its orientation tag ({image.get('orientation')}) turns the picture against its stored "
            "pixels; save it upright, without the tag"
        )
    if "interlaced" in image.get_fields() and image.width * image.height > MAX_INTERLACED_PX:
        raise SlideError(
            f"{path.name}: {image.width} x {image.height} px, interlaced or progressive, would have to be decoded in "
            f"memory as a whole (at most {MAX_INTERLACED_PX} px are); save it without interlacing"
        )
    mpp = None
    if image.xres > 0 and image.yres > 0:  # px per mm, 1.0 where the file has none: 1000 um, implausible
        mpp = plausible_mpp(1000.0 / image.xres, 1000.0 / image.yres)
    return Raster(path, loader, image.width, image.height, image.bands, mpp, image)


def stripes(raster: Raster) -> Iterator[np.ndarray]:
    """Yield uint8 (rows, width, channels) from top to bottom, at most STRIPE_ROWS rows each; once per opened raster.

    16-bit values become v / 257, rounded.

    Raises:
        SlideError: the pixels are damaged or break off; 16-bit values that are of 8 or 12 bits, by the largest
            (told behind the last stripe: what is made of the others is no picture).
    """
    deep, largest = raster.image.format == "ushort", 0
    if raster.loader == "tiffload":
        check_tiles(raster.path)
    with _damage(raster.path):
        region = pyvips.Region.new(raster.image)
    for top in range(0, raster.height, STRIPE_ROWS):
        rows = min(STRIPE_ROWS, raster.height - top)
        with _damage(raster.path):
            data = region.fetch(0, top, raster.width, rows)
        values = np.frombuffer(data, dtype=np.uint16 if deep else np.uint8)
        values = values.reshape(rows, raster.width, raster.channels)
        largest = max(largest, int(values[..., : 3 if raster.channels >= 3 else 1].max()))
        yield ((values.astype(np.uint32) + 128) // 257).astype(np.uint8) if deep else values
    if deep and 0 < largest < TWELVE_BITS:
        raise SlideError(
            f"{raster.path.name}: 16-bit pixels of which the largest is {largest}, of 65535; save it with 8 bits"
        )


def check_tiles(path: Path) -> None:
    """Decode every tile of a TIFF's first directory once, one at a time: libvips paints those that do not decode black.

    A striped one passes unread.

    Raises:
        SlideError: a compression that libvips does not decode; a tile that is missing, breaks off or does not decode.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            if not page.is_tiled:
                return
            if page.compression not in TILE_COMPRESSIONS:
                name = getattr(page.compression, "name", page.compression)
                raise SlideError(
                    f"{path.name}: tiles of compression {name} cannot be read; save it with LZW or deflate"
                )
            if page.tilewidth * page.tilelength > MAX_TILE_PX:
                raise SlideError(
                    f"{path.name}: tiles of {page.tilewidth} x {page.tilelength} px, more than {MAX_TILE_PX} px; "
                    "save it with smaller ones"
                )
            offsets, counts = (np.array(values, dtype=np.int64) for values in (page.dataoffsets, page.databytecounts))
            broken = (offsets + counts > path.stat().st_size) | (counts == 0)
            if broken.any():
                number, what = int(broken.argmax()), "missing or breaks off"
                raise SlideError(f"{path.name}: tile {number} of {counts.size} is {what}; replace the file")
            segments = page.segments(maxworkers=1)
            for number in range(counts.size):
                try:
                    next(segments, None)  # None: more places than tiles, which nobody reads
                except TILE_DAMAGE as error:
                    what = f"damaged ({' '.join(str(error).split())[:100]})"
                    raise SlideError(
                        f"{path.name}: tile {number} of {counts.size} is {what}; replace the file"
                    ) from error
    except TILE_DAMAGE as error:
        raise SlideError(
            f"{path.name}: does not decode ({' '.join(str(error).split())[:200]}); replace the file"
        ) from error


def regrouped(pieces: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Yield the same rows in pieces of `rows` (the last may have fewer)."""
    parts: list[np.ndarray] = []
    count = 0
    for piece in pieces:
        while len(piece):
            part, piece = piece[: rows - count], piece[rows - count :]
            parts.append(part)
            count += len(part)
            if count == rows:
                yield np.concatenate(parts)
                parts, count = [], 0
    if parts:
        yield np.concatenate(parts)


def tiles(bands: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the TILE_PX x TILE_PX tiles of bands of TILE_PX rows; at the right and bottom the last px is repeated."""
    for band in bands:
        for left in range(0, band.shape[1], TILE_PX):
            tile = band[:, left : left + TILE_PX]
            if tile.shape[:2] != (TILE_PX, TILE_PX):
                missing = [(0, TILE_PX - edge) for edge in tile.shape[:2]]
                tile = np.pad(tile, [*missing, (0, 0)][: tile.ndim], mode="edge")
            yield np.ascontiguousarray(tile)


def _open_image(path: Path) -> tuple[str, Any]:
    """Return libvips' reader and what it reads, opened as far as the header."""
    with _damage(path), path.open("rb") as stream:
        head = stream.read(8)
    loader = next((loader for magic, loader in LOADERS.items() if head.startswith(magic)), None)
    if loader is None:
        raise SlideError(
            f"{path.name}: begins with {head.hex() or 'nothing'}; expected a PNG, JPEG or TIFF; convert the file"
        )
    with _damage(path):  # revalidate: libvips would answer from its cache for a file that was replaced
        image = getattr(pyvips.Image, loader)(str(path), access="sequential", fail_on="error", revalidate=True)
    return loader, image


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what a missing or damaged file raises into one line without its folder."""
    try:
        yield
    except OSError as error:
        raise SlideError(f"{path.name}: cannot be read ({error.strerror or error}); check the file") from error
    except pyvips.Error as error:
        text = " ".join(f"{error.message} {error.detail}".replace(f"{path.parent}/", "").split())[:200]
        raise SlideError(f"{path.name}: does not decode ({text}); replace the file") from error


def on_white(stripe: np.ndarray) -> np.ndarray:
    """Return RGB (rows, width, 3) of grey or RGB with or without alpha."""
    colour = stripe[..., : 3 if stripe.shape[2] >= 3 else 1]
    if stripe.shape[2] in (2, 4):
        alpha = stripe[..., -1:].astype(np.uint16)
        colour = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.broadcast_to(colour, (*colour.shape[:2], 3))
