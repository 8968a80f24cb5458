"""Where the tissue is: Otsu on the saturation of an overview (or everywhere), and exact area shares per patch."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from acinus import params
from acinus.errors import AcinusError, SlideError
from acinus.files import atomic_path
from acinus.slides.geometry import pixel_centres
from acinus.slides.open import SlidePixels

MAX_MASK_PX = 64_000_000
DARK_VALUE = 0.2  # of 1; the brightest channel of stained tissue is well above
INK_SATURATION, INK_GREEN = 0.5, 0.1  # vivid, and green above red by this share of the brightness
SATURATION_CAP = 0.4  # what is more saturated is tissue anyway
OTSU_BINS = 256
BIMODAL = 0.7  # share of the variance between Otsu's classes; see saturation_threshold
GLASS_FACTOR = 2.0  # glass may be this many floors grey in the mean (old slides are tinted)
SPECK_SHARE = 16  # a speck is never more than this part of a small overview


@dataclass(frozen=True, eq=False)
class TissueMask:
    """Tissue (True) of one slide. mask: bool (rows, columns); width, height: the slide, level-0 px.

    One mask px covers width / columns by height / rows level-0 px.
    """

    mask: np.ndarray
    width: int
    height: int

    @cached_property
    def _summed(self) -> np.ndarray:
        """Return float64 (rows + 1, columns + 1): tissue px above and left of each px corner."""
        table = np.zeros((self.mask.shape[0] + 1, self.mask.shape[1] + 1))
        table[1:, 1:] = self.mask.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
        return table

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
        """Return float64 (n,): the tissue share of each square patch of edge0 level-0 px at (x0, y0).

        Exact for the mask as a piecewise constant picture, also where edges cut mask px. The whole
        patch is the denominator: what lies beyond the border is not tissue.
        """
        rows, columns = self.mask.shape
        cell_width, cell_height = self.width / columns, self.height / rows
        left, right = x0 / cell_width, (x0 + edge0) / cell_width
        top, bottom = y0 / cell_height, (y0 + edge0) / cell_height
        cells = self._area(right, bottom) - self._area(left, bottom)
        cells -= self._area(right, top) - self._area(left, top)
        share: np.ndarray = np.clip(cells * (cell_width * cell_height / edge0**2), 0.0, 1.0)
        return share

    def _area(self, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the tissue px left of and above fractional mask coordinates (bilinear in the summed table)."""
        table = self._summed
        c = np.clip(np.asarray(columns, dtype=np.float64), 0.0, self.mask.shape[1])
        r = np.clip(np.asarray(rows, dtype=np.float64), 0.0, self.mask.shape[0])
        c_low = np.minimum(c.astype(np.int64), self.mask.shape[1] - 1)
        r_low = np.minimum(r.astype(np.int64), self.mask.shape[0] - 1)
        c_part, r_part = c - c_low, r - r_low
        upper = table[r_low, c_low] * (1.0 - c_part) + table[r_low, c_low + 1] * c_part
        lower = table[r_low + 1, c_low] * (1.0 - c_part) + table[r_low + 1, c_low + 1] * c_part
        area: np.ndarray = upper * (1.0 - r_part) + lower * r_part
        return area

    def raster(self, columns: int, rows: int, downsample: float, top: int = 0) -> np.ndarray:
        """Return bool (rows, columns): the mask under the centre of each px of another grid, from its row `top` on.

        Px (c, r) covers level-0 [c*downsample, (c+1)*downsample) across and the same down.
        """
        own_rows, own_columns = self.mask.shape
        r = _under(pixel_centres(rows, downsample, self.height, top), own_rows, self.height)
        c = _under(pixel_centres(columns, downsample, self.width), own_columns, self.width)
        picked: np.ndarray = self.mask[np.ix_(r, c)]
        return picked


def _under(centres: np.ndarray, count: int, extent: int) -> np.ndarray:
    """Return which of `count` mask px over `extent` level-0 px lie under the centres."""
    return np.minimum((centres * count / extent).astype(np.int64), count - 1)


def find_tissue(slide: SlidePixels, settings: params.Tissue, mpp: tuple[float, float] | None = None) -> TissueMask:
    """Return the tissue of a slide at settings.downsample (at least 1 px each way).

    Method `all` takes the whole slide without looking at it: images that were cut from within tissue.
    mpp: (x, y) um per level-0 px for settings.min_area_um2, the slide's own tag where not given.

    Raises:
        SlideError: unreadable pixels; an overview too large to hold; min_area_um2 without a known mpp.
    """
    columns = max(1, round(slide.width / settings.downsample))
    rows = max(1, round(slide.height / settings.downsample))
    if columns * rows > MAX_MASK_PX:
        raise SlideError(
            f"slide {slide.slide_id}: a tissue overview of {columns} x {rows} px is too large; "
            f"raise index.tissue.downsample (now {settings.downsample:g})"
        )
    if settings.method == "all":
        return TissueMask(np.ones((rows, columns), dtype=bool), slide.width, slide.height)
    mask = classify(slide.overview(columns, rows), settings.min_saturation)
    limit = float(min(settings.min_area_px, mask.size // SPECK_SHARE))
    if settings.min_area_um2 > 0:
        known = mpp or slide.tag_mpp
        if known is None:
            raise SlideError(
                f"slide {slide.slide_id}: index.tissue.min_area_um2 = {settings.min_area_um2:g} needs um/px, "
                "which the slide does not tell; set cohort.mpp or use min_area_px"
            )
        px_um2 = slide.width / columns * known[0] * slide.height / rows * known[1]
        limit = max(limit, settings.min_area_um2 / px_um2)
    return TissueMask(_without_specks(mask, limit), slide.width, slide.height)


def classify(rgb: np.ndarray, min_saturation: float) -> np.ndarray:
    """Return bool (rows, columns): which px of an overview (uint8 rgb) are tissue.

    Never tissue, and no part of the histogram: px whose brightest channel is below DARK_VALUE (scanner
    border, black pen, black filling), whose saturation is noise; and vivid green to blue ink.
    Haematoxylin, eosin and DAB all absorb green at least about as much as red, so a px with clearly
    more green than red is no stain. A red pen cannot be told from eosin.
    """
    high = np.maximum(np.maximum(rgb[..., 0], rgb[..., 1]), rgb[..., 2])
    low = np.minimum(np.minimum(rgb[..., 0], rgb[..., 1]), rgb[..., 2])
    pair = (high.astype(np.uint16) << 8) | low  # all that value and saturation depend on
    value, saturation = np.repeat(np.arange(256) / 255.0, 256), _saturations()
    stained = (value >= DARK_VALUE)[pair]
    stained &= ~ndimage.binary_dilation(_ink(rgb, high, (saturation > INK_SATURATION)[pair]), np.ones((3, 3)))
    counts = np.bincount(pair[stained], minlength=saturation.size)
    seen = counts > 0
    limit = saturation_threshold(saturation[seen], min_saturation, counts[seen])
    tissue: np.ndarray = stained & (saturation >= limit)[pair]
    return tissue


def _saturations() -> np.ndarray:
    """Return the HSV saturation of a px by its brightest channel x 256 + its darkest, float64 (65536,)."""
    high, low = np.divmod(np.arange(65536), 256)
    value, least = high / 255.0, low / 255.0
    saturation: np.ndarray = (value - least) / np.maximum(value, 1e-9)
    return saturation


def _ink(rgb: np.ndarray, high: np.ndarray, vivid: np.ndarray) -> np.ndarray:
    """Return which of the vivid px (bool) have clearly more green than red; their rim, thinned by glass, is not in."""
    red, green, value = rgb[vivid, 0] / 255.0, rgb[vivid, 1] / 255.0, high[vivid] / 255.0
    ink = vivid.copy()
    ink[vivid] = green - red > INK_GREEN * value
    return ink


def saturation_threshold(saturation: np.ndarray, min_saturation: float, counts: np.ndarray | None = None) -> float:
    """Return the saturation from which on a px is tissue: Otsu's, or the floor where Otsu has no say.

    saturation: float64 (n,). counts: how many px have each of them; None: one each.
    Otsu always cuts a histogram in two. The cut is believed only where it separates glass from
    tissue: the lower class is as grey as glass (mean below GLASS_FACTOR floors) and the two classes
    stand apart (share of the variance between them at least BIMODAL; one Gaussian has 0.64).
    Otherwise the slide is nearly all tissue (both classes coloured) or nearly all glass (one grey
    hump) and the floor decides: it keeps all of the one and none of the other.
    Saturation is capped first, so that a few vivid px cannot pull the cut above the tissue.
    Source: Otsu 1979, IEEE Trans. SMC 9(1), equation 12 for the share of the variance.
    """
    capped = np.minimum(saturation, SATURATION_CAP)
    if capped.size == 0 or float(np.ptp(capped)) < 1e-3:
        return min_saturation
    weights = np.ones(capped.size) if counts is None else counts.astype(np.float64)
    histogram, edges = np.histogram(capped, bins=OTSU_BINS, weights=weights)
    cut = float(threshold_otsu(hist=(histogram, (edges[:-1] + edges[1:]) / 2.0)))
    upper = capped > cut
    if not upper.any() or upper.all():
        return min_saturation
    high, low = np.average(capped[upper], weights=weights[upper]), np.average(capped[~upper], weights=weights[~upper])
    share, variance = weights[upper].sum() / weights.sum(), np.cov(capped, aweights=weights, ddof=0)
    between = share * (1.0 - share) * (high - low) ** 2 / variance
    if low <= GLASS_FACTOR * min_saturation and between >= BIMODAL:
        return max(cut, min_saturation)
    return min_saturation


def _without_specks(mask: np.ndarray, limit: float) -> np.ndarray:
    """Return the mask without 8-connected pieces of fewer than `limit` px."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3), dtype=bool))
    keep = np.bincount(labels.ravel()) >= limit
    keep[0] = False
    kept: np.ndarray = keep[labels]
    return kept


def save_tissue(mask: TissueMask, path: Path) -> None:
    """Write the mask as a 1-bit PNG, white = tissue."""
    with atomic_path(path) as part:
        Image.fromarray(mask.mask).save(part, format="PNG")


def load_tissue(path: Path, width: int, height: int) -> TissueMask:
    """Read a mask that save_tissue wrote, of a slide of width x height level-0 px."""
    try:
        with Image.open(path) as picture:
            mask = np.asarray(picture.convert("1"))
    except FileNotFoundError as error:
        raise AcinusError(f"{path}: not found; run the stage that writes it (dvc repro)") from error
    except (OSError, SyntaxError) as error:
        raise AcinusError(f"{path}: not a readable PNG ({error}); delete it and run its stage again") from error
    return TissueMask(mask, width, height)
