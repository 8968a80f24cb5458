"""Pyramids made of pictures without levels, by streaming: memory depends on a picture's width, never on its area."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from acinus.files import atomic_path
from acinus.params import section_hash
from acinus.slides.formats import is_picture
from acinus.slides.jpeg_tiles import JpegTiles, tiles_of
from acinus.slides.open import open_slide
from acinus.slides.pages import read_pages
from acinus.slides.picture import FLAT_PX, open_picture, rows_of
from acinus.slides.pixels import SlidePixels
from acinus.slides.raster import TILE_PX, on_white, open_raster, regrouped, stripes, tiles
from acinus.slides.slide import Slide

# zstd at its usual level 3 makes no smaller files of stained tissue, in twice the time
_LOSSLESS: dict[str, Any] = {"compression": "zstd", "compressionargs": {"level": 1}, "predictor": True}
_LEVELS_QUALITY = 95  # JPEG quality of the levels over a level 0 that is JPEG itself
_MAKING = "1"  # of the fingerprint of what `slide_file` makes: another one for other pixels
_RGB = 2  # TIFF photometric
_PIECE_PX = 4096  # columns of a slide that are read at a time


def slide_file(path: Path, slide_id: str, made: Path, flat_px: int = FLAT_PX) -> Path:
    """Return the file that `open_slide` opens for a slide: `path` itself, or the pyramid `made`, written here.

    A pyramid is written of what has one level and more than flat_px px. Its level 0 has the pixels of the file,
    bit by bit: JPEG tiles are copied as they are, all else is stored without loss. The others are means of 2 x 2 px.

    Raises:
        SlideError: it cannot be opened, is grey or has 16 bits per sample, or its pixels are damaged.
    """
    if is_picture(path):
        raster = open_picture(path, slide_id)
        if raster.width * raster.height <= flat_px:
            return path
        bands = regrouped(rows_of(raster, slide_id), TILE_PX)
        _write(made, (raster.width, raster.height), raster.mpp, bands, _LOSSLESS)
        return made
    with open_slide(path, slide_id) as slide:
        refuse_deep(slide)
        if len(slide.level_dimensions) > 1 or slide.width * slide.height <= flat_px:
            return path
        own = tiles_of(slide, 0)
        form = _LOSSLESS if own is None else _jpeg(_LEVELS_QUALITY)
        _write(made, (slide.width, slide.height), slide.tag_mpp, _bands(slide), form, own)
    return made


def made_fingerprint(fingerprint: str) -> str:
    """Return the fingerprint of the pyramid that `slide_file` makes of a file with this one."""
    return f"{fingerprint}-{section_hash(_MAKING)[:16]}"


def refuse_deep(slide: SlidePixels) -> None:
    """Pass if a slide that OpenSlide reads has 8 bits per sample, as far as its TIFF directories tell.

    Raises:
        SlideError: it has more.
    """
    pages = read_pages(slide.path, slide.slide_id) if isinstance(slide, Slide) else []
    bits = max((page.bits for page in pages if page.tile is not None), default=8)
    if bits > 8:
        raise slide.fault(f"{slide.path.name} has {bits} bits per sample; only 8 are read; save it with 8 bits")


def to_pyramid(source: Path, target: Path, quality: int) -> None:
    """Write a raster as a tiled pyramid (BigTIFF, JPEG 4:4:4, halved level by level) that OpenSlide opens.

    Grey becomes RGB, alpha is laid on white. Resolution tags are written where the source has plausible
    ones. Same source, same bytes. Coarser levels pass through files beside the target.

    Raises:
        SlideError: a source that `open_raster` refuses, or damaged pixels; nothing is left behind.
    """
    raster = open_raster(source)
    bands = regrouped((on_white(stripe) for stripe in stripes(raster)), TILE_PX)
    _write(target, (raster.width, raster.height), raster.mpp, bands, _jpeg(quality))


def _jpeg(quality: int) -> dict[str, Any]:
    return {"compression": "jpeg", "compressionargs": {"level": quality}, "subsampling": (1, 1)}


def _write(
    target: Path,
    size: tuple[int, int],
    mpp: tuple[float, float] | None,
    bands: Iterable[np.ndarray],
    form: dict[str, Any],
    own: JpegTiles | None = None,
) -> None:
    """Write bands of TILE_PX rows as a pyramid. own: the tiles of level 0, copied in place of the bands."""
    with atomic_path(target) as part, tifffile.TiffWriter(part, bigtiff=True, byteorder="<") as tiff:
        (width, height), level = size, 0
        while True:
            coarser = part.with_suffix(f".level{level + 1}") if max(width, height) > TILE_PX else None
            resolution: dict[str, Any] = {"resolution": (1, 1), "resolutionunit": "NONE"}  # readers know of no mpp then
            if mpp is not None:
                px_per_cm = 1e4 / (mpp[0] * 2**level), 1e4 / (mpp[1] * 2**level)
                resolution = {"resolution": px_per_cm, "resolutionunit": "CENTIMETER"}
            through = bands if coarser is None else _halving(bands, coarser)
            tiff.write(
                tiles(through) if own is None else (own.data(number) for number in range(own.across * own.down)),
                shape=(height, width, 3),
                dtype=np.uint8,
                subfiletype=1 if level else 0,
                software=False,
                metadata=None,
                maxworkers=1,
                **({"photometric": "rgb", "tile": (TILE_PX, TILE_PX), **form} if own is None else _as_they_are(own)),
                **resolution,
            )
            if own is not None:
                for _ in through:
                    pass
                own = None
            if coarser is None:
                return
            width, height, level = (width + 1) // 2, (height + 1) // 2, level + 1
            bands = _stored(coarser, width)


def _as_they_are(own: JpegTiles) -> dict[str, Any]:
    """Return what describes a slide's own JPEG tiles to the writer; how they are subsampled they say themselves."""
    colours = "rgb" if own.page.photometric == _RGB else "ycbcr"
    steps = own.mcu_px[0] // 8, own.mcu_px[1] // 8
    fits = steps in ((1, 1), (2, 1), (2, 2), (4, 1)) and not any(edge % (8 * max(steps)) for edge in own.tile_px)
    form = {"photometric": colours, "tile": own.tile_px[::-1], "compression": "jpeg"}
    return form | {"compressionargs": {"outcolorspace": colours}, "subsampling": steps if fits else (1, 1)}


def _bands(slide: SlidePixels) -> Iterator[np.ndarray]:
    """Yield level 0 in bands of TILE_PX rows."""
    for top in range(0, slide.height, TILE_PX):
        band = np.empty((min(TILE_PX, slide.height - top), slide.width, 3), dtype=np.uint8)
        for left in range(0, slide.width, _PIECE_PX):
            wide = min(_PIECE_PX, slide.width - left)
            band[:, left : left + wide] = slide.region((left, top), 0, (wide, band.shape[0]))
        yield band


def _halving(bands: Iterable[np.ndarray], coarser: Path) -> Iterator[np.ndarray]:
    """Yield the bands unchanged and write the rounded means of their 2 x 2 px to a file.

    Bands but the last have an even number of rows; an odd last row or column stands for its missing neighbour.
    """
    with coarser.open("wb") as stream:
        for band in bands:
            stream.write(_halved(band).data)  # its own function: what it needs would else outlive the yield
            yield band


def _halved(band: np.ndarray) -> np.ndarray:
    odd = band.shape[0] % 2, band.shape[1] % 2
    even = np.pad(band, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge") if any(odd) else band
    rows = np.add(even[::2], even[1::2], dtype=np.uint16)
    four = rows[:, ::2] + rows[:, 1::2]
    four += 2
    four >>= 2
    return four.astype(np.uint8)


def _stored(path: Path, width: int) -> Iterator[np.ndarray]:
    """Yield a level's bands of TILE_PX rows from its file, which is then removed."""
    with path.open("rb") as stream:
        while data := stream.read(TILE_PX * width * 3):
            yield np.frombuffer(data, dtype=np.uint8).reshape(-1, width, 3)
    path.unlink()
