"""Written slides of JPEG tiles, in all the ways that a TIFF may hold them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import tifffile

STEPS = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1)}  # (across, down)
TAGS = {key: value for key, value in STEPS.items() if key != "440"}  # which the TIFF tag cannot say
ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
MARKERS = {"none": b"", "jfif": JFIF, "rgb": ADOBE + b"\0", "ycc": ADOBE + b"\1", "both": JFIF + ADOBE + b"\0"}


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, the segment's bytes) up to the scan, which comes with all that follows."""
    place = 2
    while data[place + 1] != 0xDA:
        stop = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        yield data[place + 1], data[place:stop]
        place = stop
    yield 0xDA, data[place:]


def jpeg_of(tile: np.ndarray, subsampling: str, marker: str) -> bytes:
    """A JPEG of three planes as they are, ids 1 to 3, with the markers asked for and no others."""
    across, down = STEPS[subsampling]
    planes = [np.ascontiguousarray(tile[..., 0])]
    planes += [np.ascontiguousarray(tile[::down, ::across, channel]) for channel in (1, 2)]
    data = simplejpeg.encode_jpeg_yuv_planes(*planes, quality=85)
    parts = [part for kind, part in segments(data) if kind not in (0xE0, 0xEE)]
    return data[:2] + MARKERS[marker] + b"".join(parts)


def without_tables(data: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG without its tables, and a JPEG of nothing but those tables."""
    parts = list(segments(data))
    rest = b"".join(part for kind, part in parts if kind not in (0xDB, 0xC4))
    tables = b"".join(part for kind, part in parts if kind in (0xDB, 0xC4))
    return data[:2] + rest, b"\xff\xd8" + tables + b"\xff\xd9"


def tiles_in(picture: np.ndarray, tile_px: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the tiles of a picture row by row; what hangs over it is grey."""
    wide, high = tile_px
    for y in range(0, picture.shape[0], high):
        for x in range(0, picture.shape[1], wide):
            part = picture[y : y + high, x : x + wide]
            tile = np.full((high, wide, 3), 90, dtype=np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


@pytest.fixture(scope="session")
def jpeg_tiff() -> Callable[..., Path]:
    """Write a pyramid of JPEG tiles: see `write`."""

    def write(
        path: Path,
        levels: Sequence[np.ndarray],
        *,
        tile_px: tuple[int, int] = (64, 64),
        photometric: str = "ycbcr",
        subsampling: str = "420",
        marker: str = "none",
        tables: bool = False,
        holes: Sequence[int] = (),
        description: str | None = None,
        software: str | None = None,
        **form: object,
    ) -> Path:
        with tifffile.TiffWriter(path, **form) as tiff:
            for number, picture in enumerate(levels):
                own = [jpeg_of(tile, subsampling, marker) for tile in tiles_in(picture, tile_px)]
                shared = without_tables(own[0])[1] if tables else None
                own = [without_tables(data)[0] if tables else data for data in own]
                tiff.write(
                    iter([b"" if index in holes else data for index, data in enumerate(own)]),
                    shape=picture.shape,
                    dtype=np.uint8,
                    tile=tile_px[::-1],
                    photometric=photometric,
                    compression="jpeg",
                    subsampling=TAGS.get(subsampling, (1, 1)) if photometric == "ycbcr" else None,
                    jpegtables=shared,
                    subfiletype=0 if number == 0 else 1,
                    description=description if number == 0 else None,
                    software=software,
                    metadata=None,
                )
        return path

    return write


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """Uint8 (371, 450, 3): blocks of colour with noise, a multiple of no tile."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 200, (24, 29, 3)), np.ones((16, 16, 1), dtype=np.int64))
    return (blocks[:371, :450] + rng.integers(0, 50, (371, 450, 3))).astype(np.uint8)
