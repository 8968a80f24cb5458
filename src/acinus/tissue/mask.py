"""Where the tissue is, by the recipe's method, and exact area shares per patch."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from acinus import params
from acinus.errors import AcinusError, SlideError
from acinus.files import atomic_path
from acinus.labels.labels import Labels
from acinus.slides.geometry import pixel_centres
from acinus.slides.open import SlidePixels
from acinus.tissue import density, saturation
from acinus.tissue.density import Sizes
from acinus.tissue.pixels import pieces_of

MAX_MASK_PX = 64_000_000
SPECK_SHARE = 16  # a speck is never more than this part of a small overview
UNKNOWN_PX = Sizes(closing=2, hole=500.0)
"""Overview px that method density works with where a slide does not tell its um/px."""
LABELS_PX = 1 << 20  # px of a mask that are asked of the labels at a time


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
        centres = pixel_centres(rows, downsample, self.height, top), pixel_centres(columns, downsample, self.width)
        under = (
            np.minimum((at * count / extent).astype(np.int64), count - 1)
            for at, count, extent in zip(centres, self.mask.shape, (self.height, self.width), strict=True)
        )
        picked: np.ndarray = self.mask[np.ix_(*under)]
        return picked


def find_tissue(
    slide: SlidePixels,
    settings: params.Tissue,
    mpp: tuple[float, float] | None = None,
    annotated: Labels | None = None,
) -> TissueMask:
    """Return the tissue of a slide at settings.downsample (at least 1 px each way).

    Methods: density (`density.classify`), otsu (`saturation.classify`), `all`: the whole slide without looking at it
    (images that were cut from within tissue), annotation: where the annotation has tissue, half of a mask px or more.
    mpp: (x, y) um per level-0 px, the slide's own tag where not given. Without any, density takes UNKNOWN_PX for the
    sizes that the recipe gives in um, and specks are those of settings.min_area_px alone.
    annotated: labels whose class 1 is tissue (`labels.open_tissue`), for method annotation alone.

    Raises:
        SlideError: unreadable pixels; an overview too large to hold; method otsu with min_area_um2 and no known mpp.
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
    if settings.method == "annotation":
        if annotated is None:
            raise SlideError(f"slide {slide.slide_id}: index.tissue.method = annotation without labels; write density")
        return TissueMask(_annotated(annotated, columns, rows, slide), slide.width, slide.height)
    mpp = mpp or slide.tag_mpp
    px_um = (slide.width / columns * mpp[0], slide.height / rows * mpp[1]) if mpp else None
    overview = slide.overview(columns, rows)
    if settings.method == "otsu":
        mask = saturation.classify(overview, settings.min_saturation)
    else:
        mask = density.classify(overview, settings.min_density, _sizes(settings, px_um))
    limit = float(min(settings.min_area_px, mask.size // SPECK_SHARE))
    if px_um is not None:
        limit = max(limit, settings.min_area_um2 / (px_um[0] * px_um[1]))
    elif settings.min_area_um2 > 0 and settings.method == "otsu":
        raise SlideError(
            f"slide {slide.slide_id}: index.tissue.min_area_um2 = {settings.min_area_um2:g} needs um/px, "
            "which the slide does not tell; set cohort.mpp or use min_area_px"
        )
    return TissueMask(pieces_of(mask, limit), slide.width, slide.height)


def _sizes(settings: params.Tissue, px_um: tuple[float, float] | None) -> Sizes:
    """Return the sizes of method density in overview px of px_um (x, y) um."""
    if px_um is None:
        return UNKNOWN_PX
    closing = math.floor(settings.closing_um / math.sqrt(px_um[0] * px_um[1]))
    return Sizes(max(1, closing) if settings.closing_um > 0 else 0, settings.max_hole_um2 / (px_um[0] * px_um[1]))


def _annotated(labels: Labels, columns: int, rows: int, slide: SlidePixels) -> np.ndarray:
    """Return where class 1 of the labels covers half of a px or more, bool (rows, columns)."""
    wide, high = slide.width / columns, slide.height / rows
    edge0 = math.sqrt(wide * high)  # of a square with a px's area, around its centre
    result = np.zeros((rows, columns), dtype=bool)
    step = max(1, LABELS_PX // columns)
    for top in range(0, rows, step):
        part = result[top : top + step]
        x0 = (np.arange(columns) + 0.5) * wide - edge0 / 2
        y0 = (np.arange(top, top + len(part)) + 0.5) * high - edge0 / 2
        shares = labels.fractions(np.tile(x0, len(y0)), np.repeat(y0, columns), edge0)
        part[:] = (shares[1] >= 0.5).reshape(part.shape)
    return result


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
