"""Colour-coded masks: RGB -> class index, exactly, else by the nearest colour within a tolerance, else to be ignored.

Giant masks are decoded in stripes and become single-channel TIFFs of class indices, with every colour
accounted for.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from acinus.errors import SlideError
from acinus.files import atomic_path
from acinus.labels.masks import LOSSLESS
from acinus.labels.palette import Colour
from acinus.scoring.confusion import IGNORE
from acinus.slides.raster import TILE_PX, Raster, open_raster, regrouped, stripes, tiles

MAX_COLOURS = 100
COLOURS_SHOWN = 20

_UNSEEN = 254
_PACKED = 2**24  # packed colours: red * 65536 + green * 256 + blue
_CHUNK = 2**18
LOSSY_REMEDY = (
    "it smears values, so that some lie between those of the classes; export the mask again as PNG, or as TIFF with LZW"
)


@dataclass(frozen=True)
class Counts:
    """How the pixels of a mask were decoded. Class -> px for exact and near; unknown: the most frequent colours.

    ignored_px = px of colours beyond the tolerance + transparent_px.
    """

    exact_px: dict[str, int]
    near_px: dict[str, int]
    ignored_px: int
    transparent_px: int
    unknown: tuple[tuple[Colour, int], ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        account = asdict(self)
        del account["unknown"]
        return account | {"unknown_colours": [{"rgb": list(colour), "px": px} for colour, px in self.unknown]}


def decode(rgb: np.ndarray, colours: Sequence[Colour], tolerance: int) -> np.ndarray:
    """Return uint8 (h, w) of uint8 (h, w, 3): the index of each pixel's colour in `colours`, else 255 to ignore.

    What is none of the colours is the nearest one's (by the channel that differs most; of equally near
    ones the first), if no channel differs by more than `tolerance`.
    """
    return _Decoder(colours, tolerance).classes(rgb)


def to_class_mask(
    source: Path, target: Path, colours: Sequence[Colour], tolerance: int, classes: Sequence[str]
) -> Counts:
    """Write a colour-coded mask as a tiled, deflated TIFF of class indices (255 = ignore); return what was found.

    Fully transparent pixels are ignored; other alpha is without meaning. Same source, same bytes.

    Raises:
        SlideError: a lossy mask (JPEG), damage, or what `open_raster` refuses; nothing is left behind.
    """
    raster = open_raster(source)
    _refuse_lossy(raster)
    decoder = _Decoder(colours, tolerance)
    with atomic_path(target) as part, tifffile.TiffWriter(part, bigtiff=True, byteorder="<") as tiff:
        tiff.write(
            tiles(regrouped((decoder.classes(stripe) for stripe in stripes(raster)), TILE_PX)),
            shape=(raster.height, raster.width),
            dtype=np.uint8,
            photometric="minisblack",
            tile=(TILE_PX, TILE_PX),
            compression="adobe_deflate",
            resolution=(1, 1),
            resolutionunit="NONE",
            software=False,
            metadata=None,
            maxworkers=1,
        )
    return decoder.counts(classes)


def is_coloured(path: Path) -> bool:
    """Return whether a mask has colours instead of values, by its header: RGB, with or without alpha, no palette."""
    raster = open_raster(path)
    if raster.loader == "pngload":
        with Image.open(path) as image:
            return image.mode.startswith("RGB")
    return raster.channels >= 3


def colours_in(path: Path, grid: tuple[int, int]) -> tuple[list[tuple[Colour, int]], np.ndarray]:
    """Return the colours of a mask and how many px have each, the commonest first, and a small copy of the mask.

    grid: (columns, rows) of the copy, uint8 (rows, columns, 3), whose px are px of the mask. Transparent px are black
    in the copy and not counted.

    Raises:
        SlideError: as `to_class_mask` does.
    """
    raster = open_raster(path)
    _refuse_lossy(raster)
    at_x, at_y = (
        ((np.arange(count) + 0.5) * edge / count).astype(np.int64)
        for count, edge in zip(grid, (raster.width, raster.height), strict=True)
    )
    per_colour = np.zeros(_PACKED, dtype=np.uint32)  # zeros cost no memory until written
    small = np.zeros((grid[1], grid[0], 3), dtype=np.uint8)
    top = 0
    for stripe in stripes(raster):
        packed = _packed(stripe)
        seen = stripe[..., -1] > 0 if stripe.shape[2] in (2, 4) else np.ones(packed.shape, dtype=bool)
        colours, px = np.unique(packed[seen], return_counts=True)
        per_colour[colours] += px.astype(np.uint32)
        inside = (at_y >= top) & (at_y < top + len(stripe))
        chosen = np.ix_(at_y[inside] - top, at_x)
        rgb = np.where(seen[chosen], packed[chosen], 0)
        small[inside] = np.stack([rgb >> 16, rgb >> 8 & 255, rgb & 255], axis=-1)
        top += len(stripe)
    found = np.flatnonzero(per_colour)
    most = found[np.lexsort((found, -per_colour[found].astype(np.int64)))]
    return [((int(one) >> 16, int(one) >> 8 & 255, int(one) & 255), int(per_colour[one])) for one in most], small


def _packed(stripe: np.ndarray) -> np.ndarray:
    """Return the packed colours, uint32 (rows, width), of a stripe (rows, width, 1 to 4 channels)."""
    colour = stripe[..., :3] if stripe.shape[2] >= 3 else np.repeat(stripe[..., :1], 3, axis=2)
    wide = colour.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _refuse_lossy(raster: Raster) -> None:
    if raster.loader == "jpegload":
        raise SlideError(f"{raster.path.name}: a JPEG is no mask: {LOSSY_REMEDY}")
    if raster.loader == "tiffload":
        with tifffile.TiffFile(raster.path) as tiff:
            compression = tiff.pages.first.compression
        if int(compression) not in LOSSLESS:
            name = getattr(compression, "name", compression)
            raise SlideError(f"{raster.path.name}: compression {name} is no mask's: {LOSSY_REMEDY}")


class _Decoder:
    """Colours to class indices, stripe by stripe, and what the stripes hold.

    The code of a colour is k if it is colour k, C + k if it is near to colour k of C, IGNORE if it is neither.
    """

    def __init__(self, colours: Sequence[Colour], tolerance: int) -> None:
        if not 1 <= len(colours) <= MAX_COLOURS:
            raise SlideError(f"{len(colours)} colours; expected 1 to {MAX_COLOURS}; correct cohort.colours")
        self._colours = [tuple(int(value) for value in colour) for colour in colours]
        self._tolerance = tolerance
        self._table = np.full(_PACKED, _UNSEEN, dtype=np.uint8)  # colour -> code, 16 MB; a colour is looked for once
        for k, (red, green, blue) in reversed(list(enumerate(self._colours))):
            self._table[red << 16 | green << 8 | blue] = k
        self._per_code = np.zeros(256, dtype=np.int64)
        self._transparent = 0
        self._unknown = np.zeros(_PACKED, dtype=np.uint32)  # px per colour; zeros cost no memory until written

    def classes(self, stripe: np.ndarray) -> np.ndarray:
        """Return uint8 (rows, width) of a stripe (rows, width, 1 to 4 channels)."""
        packed = _packed(stripe)
        codes = self._codes(packed)
        unknown = codes == IGNORE
        if stripe.shape[2] in (2, 4):
            clear = stripe[..., -1] == 0
            unknown &= ~clear
            codes = np.where(clear, IGNORE, codes)
            self._transparent += int(clear.sum())
        if unknown.any():
            colours, px = np.unique(packed[unknown], return_counts=True)
            self._unknown[colours] += px.astype(np.uint32)
        self._per_code += np.bincount(codes.ravel(), minlength=256)
        return np.where(codes == IGNORE, codes, codes % len(self._colours)).astype(np.uint8)

    def _codes(self, packed: np.ndarray) -> np.ndarray:
        """Return the uint8 codes of packed colours, in their shape."""
        codes = self._table[packed]
        unseen = codes == _UNSEEN
        if unseen.any():
            new = np.unique(packed[unseen])
            for start in range(0, len(new), _CHUNK):
                chunk = new[start : start + _CHUNK]
                self._table[chunk] = self._near(chunk)
            codes = self._table[packed]
        return codes

    def _near(self, packed: np.ndarray) -> np.ndarray:
        """Return the codes of colours (n,) that are none of ours."""
        best = np.full(len(packed), self._tolerance + 1, dtype=np.int16)
        codes = np.full(len(packed), IGNORE, dtype=np.uint8)
        channels = [(packed >> shift & 255).astype(np.int16) for shift in (16, 8, 0)]
        for k, colour in enumerate(self._colours):
            apart = np.max([np.abs(channel - value) for channel, value in zip(channels, colour, strict=True)], axis=0)
            nearer = apart < best
            best[nearer] = apart[nearer]
            codes[nearer] = len(self._colours) + k
        return codes

    def counts(self, classes: Sequence[str]) -> Counts:
        """Return the sums so far; classes in the order of the colours."""
        number = len(self._colours)
        exact, near = self._per_code[:number].tolist(), self._per_code[number : 2 * number].tolist()
        packed = np.flatnonzero(self._unknown)
        px = self._unknown[packed].astype(np.int64)
        most = np.lexsort((packed, -px))[:COLOURS_SHOWN]
        unknown = [
            ((colour >> 16, colour >> 8 & 255, colour & 255), count)
            for colour, count in zip(packed[most].tolist(), px[most].tolist(), strict=True)
        ]
        return Counts(
            dict(zip(classes, exact, strict=True)),
            dict(zip(classes, near, strict=True)),
            int(self._per_code[IGNORE]),
            self._transparent,
            tuple(unknown),
        )
