"""Slides of JPEG tiles, written tile by tile, so that a test knows every byte."""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import simplejpeg
import tifffile
from PIL import Image

TILE = 64
Encode = Callable[[np.ndarray], bytes]


def texture(height: int, width: int, seed: int = 1) -> np.ndarray:
    """Smooth colour with grain, so that chroma differs between neighbours: uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(90, 250, (height // 6 + 2, width // 6 + 2, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return np.clip(smooth + rng.normal(0, 3, (height, width, 1)), 0, 255).astype(np.uint8)


def ycbcr(subsampling: str) -> Encode:
    return lambda pixels: bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), 85, "RGB", subsampling))


def rgb(pixels: np.ndarray) -> bytes:
    """A JPEG whose three components are red, green and blue."""
    return bytes(imagecodecs.jpeg_encode(np.ascontiguousarray(pixels), 85, colorspace="RGB", outcolorspace="RGB"))


def write_slide(path: Path, picture: np.ndarray, encode: Encode, subsampling: tuple[int, int] = (1, 1)) -> Path:
    """Write levels 1 and 1/2 in tiles of TILE px; those over the border are filled up with the last px."""
    with tifffile.TiffWriter(path) as tiff:
        for number, level in enumerate((picture, picture[::2, ::2])):
            high, wide = level.shape[:2]
            full = np.pad(level, ((0, -high % TILE), (0, -wide % TILE), (0, 0)), "edge")
            tiles = [
                encode(full[y : y + TILE, x : x + TILE]) for y in range(0, high, TILE) for x in range(0, wide, TILE)
            ]
            photometric = "rgb" if encode is rgb else "ycbcr"
            more = {} if encode is rgb else {"subsampling": subsampling}
            tiff.write(
                iter(tiles), shape=level.shape, dtype="uint8", tile=(TILE, TILE), photometric=photometric,
                compression="jpeg", subfiletype=int(number > 0), metadata=None, **more,
            )  # fmt: skip
    return path


def tile_bytes(path: Path, page: int = 0) -> list[bytes]:
    """The tiles of a level as they lie in the file."""
    data = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        own = tiff.pages[page]
        return [data[at : at + count] for at, count in zip(own.dataoffsets, own.databytecounts, strict=True)]


@pytest.fixture
def jpeg_slide(tmp_path: Path) -> Callable[..., Path]:
    """Write a slide of 300 x 232 px; subsampling 444, 422 or 420, or the colour space rgb."""

    def make(kind: str = "420", name: str = "slide.tif") -> Path:
        if kind == "rgb":
            return write_slide(tmp_path / name, texture(232, 300), rgb)
        across, down = {"444": (1, 1), "422": (2, 1), "420": (2, 2)}[kind]
        return write_slide(tmp_path / name, texture(232, 300), ycbcr(kind), (across, down))

    return make


@pytest.fixture
def tiles_in() -> Callable[..., list[bytes]]:
    return tile_bytes


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    return texture
