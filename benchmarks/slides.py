"""CAMELYON-like pyramids of any size, made in seconds: encoded tiles repeat, levels fit together.

512-px JPEG tiles (4:2:0, quality 80) with shared tables as the scanner's files have them, levels by 2, tissue in
blobs, an ASAP XML beside each slide. A tile of a coarser level is the mean of the four below it; since the tiles of
level 0 repeat, so do they, and each different one is encoded once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
import tifffile

from acinus.files import atomic_path, read_json, write_json
from acinus_demo.outline import Outline, write_asap
from benchmarks.texture import squares

TILE_PX = 512
QUALITY = 80
MPP = 0.25
TISSUE_SHARE = 0.35
PATTERN = 16
"""Tissue repeats after so many tiles each way: PATTERN ** 2 different ones at most."""
GLASS = 243
LESIONS, VERTICES = 16, 300


@dataclass(frozen=True)
class BenchSlide:
    """A built slide. tissue: (row, column) of its tiles of tissue. texture: what they were made from."""

    path: Path
    width: int
    height: int
    tissue: tuple[tuple[int, int], ...]
    texture: str

    @property
    def annotation(self) -> Path:
        """The ASAP XML of the slide."""
        return self.path.with_suffix(".xml")

    def places(self, edge_px: int, stride_px: int) -> np.ndarray:
        """Return int64 (n, 2): x0, y0 of the squares of a grid that lie in tissue and on the slide, row by row."""
        rows, columns = -(-self.height // TILE_PX), -(-self.width // TILE_PX)
        mask = np.zeros((rows, columns), dtype=bool)
        mask[tuple(np.array(self.tissue).T)] = True
        y, x = np.mgrid[0 : self.height - edge_px + 1 : stride_px, 0 : self.width - edge_px + 1 : stride_px]
        last = edge_px - 1  # no square is larger than a tile, so its corners tell
        inside = mask[y // TILE_PX, x // TILE_PX] & mask[y // TILE_PX, (x + last) // TILE_PX]
        inside &= mask[(y + last) // TILE_PX, x // TILE_PX] & mask[(y + last) // TILE_PX, (x + last) // TILE_PX]
        return np.stack([x[inside], y[inside]], axis=1).astype(np.int64)


def build(path: Path, edge_px: int, shared: Path | None) -> BenchSlide:
    """Write an edge_px x edge_px slide to `path`, its annotation and, last, what is known of it as JSON beside it."""
    count = -(-edge_px // TILE_PX)
    rng = np.random.default_rng(edge_px)
    textures, source = squares(shared, TILE_PX, PATTERN**2)
    tissue = _blobs(rng, count)
    glass = np.clip(rng.normal(GLASS, 1.5, (TILE_PX, TILE_PX, 3)), 0, 255).astype(np.uint8)
    r, c = np.indices((count, count))
    ids = np.where(tissue, 1 + (r % PATTERN * PATTERN + c % PATTERN) % len(textures), 0)
    with atomic_path(path) as part, tifffile.TiffWriter(part, bigtiff=True) as tiff:
        _write_levels(tiff, edge_px, ids, [glass, *textures])
    write_asap(path.with_suffix(".xml"), list(_outlines(rng, np.argwhere(tissue))))
    facts = {"edge_px": edge_px, "texture": source, "tissue": np.argwhere(tissue).tolist()}
    write_json(path.with_suffix(".json"), facts)
    return load(path)


def load(path: Path) -> BenchSlide:
    """Return the slide that was built at `path`."""
    facts = read_json(path.with_suffix(".json"))
    tissue = tuple((int(row), int(column)) for row, column in facts["tissue"])
    return BenchSlide(path, facts["edge_px"], facts["edge_px"], tissue, facts["texture"])


def _blobs(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return bool (count, count): TISSUE_SHARE of the tiles, in a few smooth pieces."""
    rows, columns = np.indices((count, count)) / count
    field = np.zeros((count, count))
    for y, x, size in zip(*rng.uniform(0.15, 0.85, (2, 5)), rng.uniform(0.08, 0.18, 5), strict=True):
        field += np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * size**2))
    return field >= np.quantile(field, 1 - TISSUE_SHARE)


def _write_levels(tiff: tifffile.TiffWriter, edge_px: int, ids: np.ndarray, pictures: list[np.ndarray]) -> None:
    """Write level by level until a tile holds all. ids: (rows, columns), which of `pictures` each tile is."""
    level = 0
    while True:
        encoded = [simplejpeg.encode_jpeg(one, QUALITY, "RGB", "420", fastdct=False) for one in pictures]
        px = 1e4 / (MPP * 2**level)  # per cm
        tiff.write(
            (_abbreviated(encoded[i]) for i in ids.ravel()),
            shape=(edge_px, edge_px, 3),
            dtype=np.uint8,
            tile=(TILE_PX, TILE_PX),
            photometric="ycbcr",
            compression="jpeg",
            subsampling=(2, 2),
            jpegtables=_tables(encoded[0]),
            subfiletype=1 if level else 0,
            resolution=(px, px),
            resolutionunit="CENTIMETER",
            metadata=None,
            maxworkers=1,
        )
        if edge_px <= TILE_PX:
            return
        ids, pictures = _coarser(ids, pictures)
        level, edge_px = level + 1, (edge_px + 1) // 2


def _coarser(ids: np.ndarray, pictures: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the tiles of the next level: which of the new pictures each is, and those, every different one once."""
    half = TILE_PX // 2
    small = [one.reshape(half, 2, half, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8) for one in pictures]
    even = np.pad(ids, [(0, edge % 2) for edge in ids.shape])  # glass, which is number 0
    four = np.stack([even[0::2, 0::2], even[0::2, 1::2], even[1::2, 0::2], even[1::2, 1::2]], axis=-1)
    glass_first = np.vstack([np.zeros((1, 4), dtype=four.dtype), four.reshape(-1, 4)])
    kinds, which = np.unique(glass_first, axis=0, return_inverse=True)
    made = [np.block([[[small[a]], [small[b]]], [[small[c]], [small[d]]]]) for a, b, c, d in kinds]
    return which.reshape(-1)[1:].reshape(four.shape[:2]), made


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, segment with its marker) of a JPEG up to the scan, and the scan to the end as the last one."""
    at = 2
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1], data[at:end]
        at = end
    yield 0xDA, data[at:]


def _tables(data: bytes) -> bytes:
    """Return the quantisation and Huffman tables of a JPEG as the tag JPEGTables holds them."""
    return b"\xff\xd8" + b"".join(own for marker, own in _segments(data) if marker in (0xDB, 0xC4)) + b"\xff\xd9"


def _abbreviated(data: bytes) -> bytes:
    """Return a JPEG without its tables and its JFIF marker, as scanners store a tile."""
    return b"\xff\xd8" + b"".join(own for marker, own in _segments(data) if marker not in (0xDB, 0xC4, 0xE0))


def _outlines(rng: np.random.Generator, tissue: np.ndarray) -> Iterator[Outline]:
    """Yield lesions with ragged borders in tissue, every third with a cut-out. tissue: (n, 2) rows and columns."""
    angle = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
    for number, (row, column) in enumerate(rng.choice(tissue, min(LESIONS, len(tissue)), replace=False)):
        ragged = rng.uniform(0.6, 2.0) * TILE_PX * (1 + 0.2 * np.sin(5 * angle) + rng.normal(0, 0.02, VERTICES))
        for group, share in (("_0", 1.0), ("_2", 0.4))[: 2 if number % 3 == 0 else 1]:
            x = (column + 0.5) * TILE_PX + share * ragged * np.cos(angle)
            y = (row + 0.5) * TILE_PX + share * ragged * np.sin(angle)
            yield Outline(group, tuple(zip(x.tolist(), y.tolist(), strict=True)))
