"""Tissue by optical density: the glass of a slide is estimated, and what absorbs or scatters more than it is tissue.

An overview px is looked at three ways. Density: mean of log10(glass / px) over the channels. Colour: the densest
channel above the least dense one, which stains have, and shadows, dust and bubbles have not. Texture: the range of its
3 x 3 neighbourhood, which glass has not. Source of the measure: Ruifrok and Johnston 2001, Anal Quant Cytol Histol
23(4); of growing from what is sure to what touches it: Canny 1986, IEEE PAMI 8(6).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from acinus.tissue.pixels import DARK, extremes, holes, inked, least, mean_of_nine, most, pieces_of

BRIGHT, TINT = 180, 0.12  # glass: brightest channel at least, saturation at most
SMOOTH = 10  # glass: range of levels over its neighbourhood at most
ENOUGH, A_LITTLE = 0.01, 0.001  # share of the overview that tells the colour of its glass
TINY = 25  # px of an overview in which nothing has neighbours: its brightest px is glass
WHITE = 255.0  # of glass where a slide shows none: all of it is tissue
STRONG_COLOUR = 0.03  # from here on an area is tissue by its colour alone ...
WEAK_COLOUR = 0.012  # ... and from here on where it touches such an area
TEXTURE = 10  # levels; more than glass has, and more than its noise
RIM = 0.28  # a px at the border with less of its neighbours' density is mostly glass
SPOT = 0.02  # density of a cell above what surrounds it
SHEET = 3  # closings; cells nearer than twice that make a sheet, which is at least so wide
NOISE = 4.0  # standard deviations of the glass that are no stain
GRADIENT = 0.06  # density by which light or tint may change over a slide
LEVEL = 0.004  # what changes less is one colour
FITTED = 20_000  # px of glass, evenly taken, from which a gradient is estimated
STRIP_PX = 1_000_000
BLOCK, LOOKED_AT = 64, 4_000_000  # rows that are looked at together for the glass, and px in all
SURE, LIKELY, SPOTS, PEN, BLACK = (np.uint8(1 << bit) for bit in range(5))


@dataclass(frozen=True)
class Sizes:
    """Lengths and areas in overview px. closing: half of the widest gap that is closed. hole: largest hole filled."""

    closing: int
    hole: float


@dataclass(frozen=True, eq=False)
class Glass:
    """The light that passes a slide where it holds nothing.

    colour: float64 (3,), levels. gradient: float64 (6, 3) or None, density over 1, x, y, x^2, xy, y^2 of places in
    [-1, 1]. spread: density (and colour) that its noise reaches. texture: levels that its neighbourhoods range over.
    """

    colour: np.ndarray
    gradient: np.ndarray | None
    spread: float
    texture: int

    def density(self, rgb: np.ndarray, top: int, rows: int) -> list[np.ndarray]:
        """Return float32 (n, columns) per channel, of uint8 (n, columns, 3): from row `top` on of `rows` rows."""
        tables = np.log10((self.colour[:, None] + 1.0) / (np.arange(256) + 1.0)).astype(np.float32)
        channels = [table.take(rgb[..., channel]) for channel, table in enumerate(tables)]
        if self.gradient is not None:
            y = _places(rows)[top : top + len(rgb), None].astype(np.float32)
            x = _places(rgb.shape[1])[None, :].astype(np.float32)
            for channel, (c, by_x, by_y, by_xx, by_xy, by_yy) in zip(channels, self.gradient.T.tolist(), strict=True):
                light = x * (by_x + by_xx * x + by_xy * y) + (c + by_y * y + by_yy * y * y)
                channel -= np.clip(light, -GRADIENT, GRADIENT)
        return channels


def _places(count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) * (2.0 / count) - 1.0


def classify(rgb: np.ndarray, min_density: float, sizes: Sizes) -> np.ndarray:
    """Return bool (rows, columns): which px of an overview (uint8 rgb) are tissue.

    min_density: of the palest tissue. Pen marks are never tissue, and what is black (`ink`) only where it is enclosed.

    1. `find_glass`: the commonest colour of what is bright, hardly coloured and smooth, with its gradient.
    2. Sure: px of clear colour. Likely: of at least min_density, with some colour or texture; they count where they
       touch what is sure. Px at the border with less than RIM of their neighbours' density are mostly glass.
    3. Sheets of cells too small or pale to have a colour here: spots less than two SHEETs of closings apart, over two
       each way. Single grains of dust, hairs and rims of bubbles make no sheets.
    4. Gaps up to two closings wide are closed, holes up to sizes.hole px filled (lumina, mucin, fat).
    """
    glass, (rows, columns) = find_glass(rgb), rgb.shape[:2]
    looks = np.zeros((rows, columns), dtype=np.uint8)
    step, halo = max(1, STRIP_PX // columns), 4 + 2 * sizes.closing  # rows of a strip; those beyond it that it needs
    for top in range(0, rows, step):
        first, bottom = max(0, top - halo), min(rows, top + step)
        strip = _looks(rgb[first : bottom + halo], glass, (first, rows), min_density, sizes.closing)
        looks[top:bottom] = strip[top - first : bottom - first]
    tissue = _grown((looks & SURE) > 0, (looks & (SURE | LIKELY)) > 0)
    spots = ((looks & SPOTS) > 0) & ~most(tissue, sizes.closing)
    if spots.any():
        cells = pieces_of(spots, most_px=(2 * sizes.closing + 1) ** 2)
        tissue |= _opened(_closed(cells, SHEET * sizes.closing), SHEET * sizes.closing)
    tissue = _closed(tissue, sizes.closing)
    tissue &= (looks & (PEN | BLACK)) == 0
    tissue |= holes(tissue, sizes.hole)
    tissue &= (looks & PEN) == 0
    return tissue


def _grown(sure: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """Return the pieces of `likely` that hold a sure px; apart, so that their numbers (int32) are let go."""
    pieces, number = ndimage.label(likely, np.ones((3, 3), dtype=bool))
    hold_sure = np.zeros(number + 1, dtype=bool)
    hold_sure[pieces[sure]] = True
    hold_sure[0] = False
    grown: np.ndarray = hold_sure[pieces]
    return grown


def find_glass(rgb: np.ndarray) -> Glass:
    """Return the glass of an overview, uint8 (rows, columns, 3); of a large one some of its rows tell.

    Its colour is the commonest of px that are bright, hardly coloured and smooth. Px without any noise are the
    scanner's filling, not glass, unless there is nothing else.
    """
    rows = _some_rows(*rgb.shape[:2])
    part = rgb if len(rows) == len(rgb) else rgb[rows]
    high, low = extremes(part)
    bright = (high >= BRIGHT) & (high - low <= TINT * high)
    near = _widest(part, 3)
    flat = bright & (near == 0)
    for group, share in (
        (bright & (_widest(part, 5) <= SMOOTH) & ~flat, ENOUGH),
        (flat, ENOUGH),
        (bright & (near <= SMOOTH), A_LITTLE),
    ):
        if np.count_nonzero(group) > share * group.size:
            row, column = np.nonzero(group)
            step = max(1, len(row) // FITTED)
            row, column = row[::step], column[::step]
            places = _terms(_places(rgb.shape[1])[column], _places(rgb.shape[0])[rows[row]])
            return _glass_of(part[row, column].astype(np.float64), places, near[row, column])
    if bright.any() and bright.size < TINY:
        return Glass(part[bright][part[bright].sum(axis=1).argmax()].astype(np.float64), None, 0.0, TEXTURE)
    return Glass(np.full(3, WHITE), None, 0.0, TEXTURE)


def _some_rows(rows: int, columns: int) -> np.ndarray:
    """Return rows of an overview, int64: all, or evenly taken blocks of BLOCK of them."""
    blocks = -(-rows // BLOCK)
    wanted = max(1, LOOKED_AT // (BLOCK * columns))
    chosen = np.unique(np.linspace(0, blocks - 1, min(blocks, wanted)).astype(np.int64))
    every = (chosen[:, None] * BLOCK + np.arange(BLOCK)).ravel()
    return every[every < rows]


def _terms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _glass_of(levels: np.ndarray, terms: np.ndarray, near: np.ndarray) -> Glass:
    """Return the glass that the commonest of some px show.

    levels: float64 (n, 3); terms: (n, 6), those of Glass.gradient where each px lies; near: the range around each.
    """
    grey = np.rint(levels.mean(axis=1)).astype(np.int64)
    mode = int(np.convolve(np.bincount(grey, minlength=256), np.ones(3), "same").argmax())
    colour = levels[np.abs(grey - mode) <= 2].mean(axis=0)
    density = np.log10((colour + 1.0) / (levels + 1.0))
    fit, kept = np.zeros((6, 3)), np.abs(density).max(axis=1) < GRADIENT / 3
    for count in (3, 3, 6, 6):  # a plane first: what is far from the commonest colour is reached by and by
        if np.count_nonzero(kept) < 10 * count:
            break
        fit[:] = 0.0
        fit[:count] = np.linalg.lstsq(terms[kept, :count], density[kept], rcond=None)[0]
        kept = np.abs(density - terms @ fit).max(axis=1) < GRADIENT / 4
    light = terms @ fit
    if not kept.any():
        return Glass(colour, None, 0.0, TEXTURE)
    rest = (density - light)[kept]
    colours = rest.max(axis=1) - rest.min(axis=1)
    spread = max(float(np.median(np.abs(rest.mean(axis=1)))), float(np.median(colours)))
    texture = max(TEXTURE, int(np.percentile(near[kept], 99)) + 2)
    return Glass(colour, fit if np.ptp(light, axis=0).max() > LEVEL else None, spread, texture)


def _looks(rgb: np.ndarray, glass: Glass, place: tuple[int, int], min_density: float, closing: int) -> np.ndarray:
    """Return what each px of some rows looks like, uint8 (n, columns): SURE, LIKELY, SPOTS, PEN, BLACK, added up.

    place: the first of the rows in the overview, and how many that has.
    """
    high, low = extremes(rgb)
    pen, dark = inked(rgb, high, low), high < DARK
    red, green, blue = glass.density(rgb, *place)
    density = (red + green + blue) * np.float32(1 / 3)
    colour = mean_of_nine(np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue))
    noise = NOISE * glass.spread  # of a px; less of the mean colour of nine
    ranges = _range(rgb[..., 1], 3)
    filling = (ranges == 0) & (rgb[..., 1] >= BRIGHT)
    dense = (density >= max(min_density / 2, noise / 2)) & ~(pen | dark | filling)
    sure = dense & (colour >= max(STRONG_COLOUR, noise))
    likely = dense & (density + colour >= max(min_density, noise))
    likely &= (colour >= max(WEAK_COLOUR, noise / 2)) | (ranges >= glass.texture)
    either = sure | likely
    kept = ~(either & ~least(either, 1) & (density < RIM * most(density, 1)))
    spots = dense & (density - _opened(density, closing) >= max(SPOT, noise))
    looks = {SURE: sure & kept, LIKELY: likely & kept, SPOTS: spots, PEN: pen, BLACK: dark}
    return sum((mask.astype(np.uint8) * bit for bit, mask in looks.items()), np.zeros(high.shape, dtype=np.uint8))


def _range(levels: np.ndarray, edge: int) -> np.ndarray:
    """Return the range of levels, uint8 (rows, columns), over edge x edge px."""
    levels = np.ascontiguousarray(levels)
    return most(levels, edge // 2) - least(levels, edge // 2)


def _widest(rgb: np.ndarray, edge: int) -> np.ndarray:
    """Return the range over edge x edge px of the channel where it is largest."""
    red, green, blue = (_range(rgb[..., channel], edge) for channel in range(3))
    return np.maximum(np.maximum(red, green), blue)


def _closed(mask: np.ndarray, radius: int) -> np.ndarray:
    """Return the mask with gaps of up to 2 * radius px closed."""
    wide = most(np.pad(mask, radius), radius)
    rows, columns = mask.shape
    return least(wide, radius)[radius : radius + rows, radius : radius + columns]


def _opened(mask: np.ndarray, radius: int) -> np.ndarray:
    """Return the parts of the mask that hold a square of 2 * radius + 1 px."""
    return most(least(mask, radius), radius)
