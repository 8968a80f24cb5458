"""Where the tissue of a slide is, and the grid of patches that lie on it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import shapely

from acinus import params
from acinus.api.arguments import Mpp, level_of, one_mpp, shown
from acinus.api.slide import Slide, a_slide
from acinus.api.wording import in_calls, settings
from acinus.errors import AcinusError
from acinus.patches.index import SlideFacts, squares
from acinus.regions.outlines import outlines
from acinus.slides.geometry import at_downsample
from acinus.slides.tiles import check_under
from acinus.tissue import mask as masks

MAX_PATCHES = 50_000_000
"""Most patches of one grid: a few GB while it is made."""


@dataclass(frozen=True, eq=False)
class Tissue:
    """The tissue of a slide of `width` x `height` level-0 px.

    mask: bool (rows, columns), True is tissue. downsample: (x, y) level-0 px per px of the mask.
    mpp: (x, y) um per px of the mask, None where the slide's are not known.
    """

    mask: np.ndarray
    width: int
    height: int
    slide_mpp: tuple[float, float] | None = None

    @property
    def downsample(self) -> tuple[float, float]:
        """(x, y) level-0 px per px of the mask."""
        return self.width / self.mask.shape[1], self.height / self.mask.shape[0]

    @property
    def mpp(self) -> tuple[float, float] | None:
        """(x, y) um per px of the mask, None where not known."""
        x, y = self.downsample
        return None if self.slide_mpp is None else (x * self.slide_mpp[0], y * self.slide_mpp[1])

    @property
    def area_mm2(self) -> float | None:
        """Area of the tissue, None where um/px are not known."""
        return None if self.mpp is None else float(self.mask.sum()) * self.mpp[0] * self.mpp[1] / 1e6

    @cached_property
    def polygons(self) -> shapely.MultiPolygon:
        """The tissue along the borders of its px, with holes, in level-0 px."""
        scale = np.array(self.downsample)
        shapes = [shapely.Polygon(rings[0] * scale, [ring * scale for ring in rings[1:]]) for rings in self._rings]
        return shapely.MultiPolygon(shapes)

    @property
    def _rings(self) -> list[list[np.ndarray]]:
        return outlines(self.mask)

    @cached_property
    def shares(self) -> masks.TissueMask:
        """The mask as the pipeline has it: `shares.fractions(x0, y0, edge0)` are exact shares of square patches."""
        return masks.TissueMask(self.mask, self.width, self.height)


def find_tissue(slide: Slide, **changes: Any) -> Tissue:
    """Return the tissue of a slide, as stage `index` finds it.

    changes: keys of a recipe's section index.tissue (docs/recipes.md) in place of their defaults: method (density,
    otsu or all), downsample, min_density, closing_um, max_hole_um2, min_saturation, min_area_um2, min_area_px.

    Raises:
        AcinusError: an unknown key or impossible value, damaged pixels, an overview that is too large.
    """
    pixels = a_slide(slide).pixels
    wanted = settings(params.Tissue, changes)
    if wanted.method == "annotation":
        raise AcinusError("method = 'annotation': needs the labels of a cohort; use density, otsu or all")
    edge_um = 0.0 if slide.mpp is None else max(slide.width * slide.mpp[0], slide.height * slide.mpp[1])
    if wanted.closing_um > max(edge_um, params.Tissue().closing_um):
        raise AcinusError(f"closing_um = {wanted.closing_um:g}: is wider than the slide ({edge_um:g} um)")
    corner = np.zeros(1, dtype=np.int64)
    with in_calls():
        overview = at_downsample(pixels.level_downsamples, wanted.downsample)
        check_under(pixels, overview, corner, corner, float(max(slide.dimensions)))  # the whole slide
        found = masks.find_tissue(pixels, wanted, slide.mpp)
    return Tissue(found.mask, slide.width, slide.height, slide.mpp)


def patch_grid(
    slide: Slide,
    patch_px: int,
    stride_px: int | None = None,
    *,
    mpp: Mpp | None = None,
    level: int | None = None,
    tissue: Tissue | None = None,
    min_tissue_fraction: float = 0.25,
    cell_px: int | None = None,
) -> pd.DataFrame:
    """Return the patches of a slide that have enough tissue, one a row by y0, then x0, as stage `index` places them.

    Columns: x0, y0: the top-left corner, level-0 px. downsample: level-0 px per px of the patch. patch_px: its edge,
    px of the working resolution. tissue_fraction: exact share of tissue in it.

    patch_px, stride_px: px of the working resolution, stride_px patch_px where not given. mpp or level: the
    working resolution, level 0 without either. tissue: `find_tissue(slide)` where not given.
    min_tissue_fraction: 0 keeps every patch of the slide. cell_px: only the central square of a patch counts, as in
    a recipe with index.cell_px. (A recipe also keeps patches with less tissue where tumour is annotated.) At most
    50 million patches, before tissue is looked at.

    Raises:
        AcinusError: impossible settings, a resolution that the slide does not have, a tissue of another slide.
    """
    a_slide(slide)
    if not (tissue is None or isinstance(tissue, Tissue)):
        raise AcinusError(f"tissue = {shown(tissue)}: give a Tissue: acinus.find_tissue(slide)")
    chosen = {"patch_px": patch_px, "stride_px": patch_px if stride_px is None else stride_px, "cell_px": cell_px}
    place = {"level": 0 if level is None and mpp is None else level_of(level), "mpp": one_mpp(mpp)}
    index = settings(params.Index, chosen | place | {"min_tissue_fraction": min_tissue_fraction})
    tissue = find_tissue(slide) if tissue is None else tissue
    if (tissue.width, tissue.height) != slide.dimensions:
        raise AcinusError(
            f"slide {slide.name}: has {slide.width} x {slide.height} px, the tissue is of a slide of {tissue.width} x "
            f"{tissue.height} px; give find_tissue(slide) of this slide"
        )
    at = slide.resolution(level=index.level, mpp=index.mpp)
    count = slide.width * slide.height / (index.stride_px * at.downsample) ** 2
    if count > MAX_PATCHES:
        raise AcinusError(
            f"stride_px = {index.stride_px}: about {count:,.0f} patches; at most {MAX_PATCHES:,} fit into one table: "
            "raise it, or give a coarser level or mpp"
        )
    with in_calls():
        every = squares(SlideFacts(slide.name, "test", slide.width, slide.height), at, index)
    share = np.clip(tissue.shares.fractions(every.inner_x0, every.inner_y0, every.inner_edge0), 0.0, 1.0)
    keep = share >= index.min_tissue_fraction
    columns = {"x0": every.x0[keep], "y0": every.y0[keep], "downsample": at.downsample, "patch_px": index.patch_px}
    return pd.DataFrame(columns | {"tissue_fraction": share[keep]})
