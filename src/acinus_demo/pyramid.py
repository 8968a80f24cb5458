"""Write a picture as the tiled pyramid that OpenSlide, QuPath and ASAP open."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from acinus.files import atomic_path

RGB = NDArray[np.uint8]
SMALLEST_EDGE_PX = 16
LEVELS = 8
BIOPSY_REDUCTIONS = (1, 4, 16)


def halve(picture: RGB) -> RGB:
    """Return the 2 x 2 box mean, rounded half up in integers; an odd last row or column counts twice."""
    odd_row, odd_column = picture.shape[0] % 2, picture.shape[1] % 2
    if odd_row or odd_column:
        picture = np.pad(picture, ((0, odd_row), (0, odd_column), (0, 0)), mode="edge")
    rows = picture[0::2].astype(np.uint16) + picture[1::2]
    return ((rows[:, 0::2] + rows[:, 1::2] + 2) >> 2).astype(np.uint8)


def levels(picture: RGB) -> Iterator[RGB]:
    """Yield the picture and its halvings, up to eight levels, while both edges are at least 16 px."""
    for level in range(LEVELS):
        if level and min(picture.shape[:2]) < SMALLEST_EDGE_PX:
            return
        yield picture
        picture = halve(picture)


def write_pyramid(path: Path, level0: RGB, mpp: float, tile_px: int = 512, quality: int = 85) -> None:
    """Write `level0` (h, w, 3) as a pyramidal BigTIFF of JPEG tiles with `mpp` in its resolution tags.

    Same pixels, same bytes: neither software nor date is written. `mpp` is um per level-0 pixel.

    Raises:
        AcinusError: the file cannot be written.
    """
    with atomic_path(path) as part, tifffile.TiffWriter(part, bigtiff=True) as writer:
        for level, picture in enumerate(levels(level0)):
            tags = _tags(level, mpp * 2**level, tile_px)
            writer.write(picture, compression="jpeg", compressionargs={"level": quality}, **tags)


def write_aperio(path: Path, level0: RGB, mpp: float, tile_px: int = 256, quality: int = 85) -> None:
    """Write `level0` (h, w, 3) as an Aperio SVS: JPEG tiles, levels 1, 2, 4 ..., um per px in the description.

    Raises:
        AcinusError: the file cannot be written.
    """
    with atomic_path(path) as part, tifffile.TiffWriter(part) as writer:
        for level, picture in enumerate(levels(level0)):
            height, width = picture.shape[:2]
            size = f"{width}x{height}"
            text = f"Aperio Image Library v12.0.15\r\n{size} [0,0 {size}] ({tile_px}x{tile_px}) JPEG/RGB Q={quality}"
            text += f"|AppMag = {round(10 / mpp)}|MPP = {mpp:.4f}"
            tags = _tags(level, mpp * 2**level, tile_px) | {"description": text}
            writer.write(picture, compression="jpeg", compressionargs={"level": quality}, **tags)


def write_ome(path: Path, level0: RGB, mpp: float, tile_px: int = 256, quality: int = 85) -> None:
    """Write `level0` (h, w, 3) as an OME-TIFF: JPEG tiles, lower levels in SubIFDs, um per px in the OME-XML alone.

    Raises:
        AcinusError: the file cannot be written.
    """
    height, width = level0.shape[:2]
    pictures = list(levels(level0))
    with atomic_path(path) as part, tifffile.TiffWriter(part) as writer:
        for level, picture in enumerate(pictures):
            tags = _tags(level, mpp, tile_px)
            del tags["resolution"], tags["resolutionunit"]
            first = {"subifds": len(pictures) - 1, "description": _OME.format(width=width, height=height, mpp=mpp)}
            options = tags | ({} if level else first)
            writer.write(picture, compression="jpeg", compressionargs={"level": quality}, **options)


_OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="{width}" SizeY="{height}" '
    'SizeC="3" SizeZ="1" SizeT="1" Interleaved="true" PhysicalSizeX="{mpp:.4f}" '
    'PhysicalSizeY="{mpp:.4f}"><Channel ID="Channel:0:0" SamplesPerPixel="3"/>'
    '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
)


def _tags(level: int, mpp: float, tile_px: int) -> dict[str, Any]:
    pixels_per_cm = 10_000 / mpp
    return {
        "photometric": "rgb",  # the JPEG encoder turns it into YCbCr 4:2:0 itself
        "tile": (tile_px, tile_px),
        "resolution": (pixels_per_cm, pixels_per_cm),
        "resolutionunit": "CENTIMETER",
        "subfiletype": 1 if level else 0,
        "software": False,
        "metadata": None,
    }


def _level_size(size: tuple[int, int], reduction: int) -> tuple[int, int]:
    """Return the size (w, h) of a level about `reduction` times smaller: whole pixels, rounded down."""
    return size[0] // reduction, size[1] // reduction


def write_biopsy(path: Path, level0: RGB, mpp: float, quality: int = 80, tile_px: int = 256) -> None:
    """Write `level0` (h, w, 3) as PANDA's slides are: JPEG tiles, three levels about 1, 4 and 16 times smaller.

    Level sizes are rounded down, so that downsamples are not whole numbers. Same pixels, same bytes.

    Raises:
        AcinusError: the file cannot be written.
    """
    image = Image.fromarray(level0)
    sizes = [_level_size(image.size, reduction) for reduction in BIOPSY_REDUCTIONS]
    pictures = (
        level0 if size == image.size else np.asarray(image.resize(size, Image.Resampling.BOX)) for size in sizes
    )
    options = {"compression": "jpeg", "compressionargs": {"level": quality}}
    _write_biopsy_levels(path, pictures, mpp, tile_px, options)


def write_biopsy_mask(path: Path, label: NDArray[np.uint8], mpp: float, tile_px: int = 256) -> None:
    """Write a label raster (h, w) as PANDA's masks are: RGB, label in red, lossless, levels as `write_biopsy`.

    A coarser level holds the labels at its pixels' centres.

    Raises:
        AcinusError: the file cannot be written.
    """
    height, width = label.shape

    def pictures() -> Iterator[RGB]:
        for reduction in BIOPSY_REDUCTIONS:
            columns, rows = _level_size((width, height), reduction)
            row, column = (2 * np.arange(n) + 1 for n in (rows, columns))
            level = np.zeros((rows, columns, 3), np.uint8)
            level[..., 0] = label[(row * height // (2 * rows))[:, None], (column * width // (2 * columns))[None, :]]
            yield level

    _write_biopsy_levels(path, pictures(), mpp, tile_px, {"compression": "lzw"})


def _write_biopsy_levels(
    path: Path, pictures: Iterator[RGB], mpp: float, tile_px: int, options: dict[str, Any]
) -> None:
    width = 0
    with atomic_path(path) as part, tifffile.TiffWriter(part) as writer:
        for level, picture in enumerate(pictures):
            width = width or picture.shape[1]
            tags = _tags(level, mpp * width / picture.shape[1], tile_px)
            tiles = _tiles(picture, tile_px)
            writer.write(tiles, shape=picture.shape, dtype=picture.dtype, **tags, **options)


def _tiles(picture: RGB, tile_px: int) -> Iterator[RGB]:
    """Yield whole tiles row by row; beyond the border the last pixels go on, so that JPEG does not ring there."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, -height % tile_px), (0, -width % tile_px), (0, 0)), mode="edge")
    for top in range(0, height, tile_px):
        for left in range(0, width, tile_px):
            yield padded[top : top + tile_px, left : left + tile_px]
