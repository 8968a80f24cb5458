"""A slide before its map: opened (a raster by way of a pyramid), its resolution, its tissue, its stain."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acinus import params
from acinus.errors import SlideError
from acinus.learning.colour import optical_density
from acinus.patches.index import SlideFacts, squares
from acinus.predict.checks import (
    Mpp,
    mpp_warnings,
    resolution,
    running_warnings,
    size_warnings,
    stain_distance,
    stain_warnings,
)
from acinus.predict.model import Model
from acinus.slides import brightfield
from acinus.slides.geometry import Resolution, at_downsample
from acinus.slides.open import SlidePixels, open_slide
from acinus.slides.raster import declared_size, to_pyramid
from acinus.slides.slide import Slide
from acinus.slides.tiles import check_under
from acinus.tissue.mask import TissueMask, find_tissue, save_tissue

STEPS = ("opening", "tissue", "probability map", "regions", "grade", "picture")

MAX_RASTER_PX = 4_000_000_000
"""Largest PNG, JPEG or TIFF that is made into a pyramid: it is streamed, so this bounds the disk, not the memory."""
PYRAMID_QUALITY = 90
STAIN_PATCHES = 32


@dataclass(frozen=True)
class Order:
    """What to predict. name: of the slide and its folder. mpp: um per level-0 px instead of the slide's own tag.

    step: told the name of every step of STEPS as it begins.
    """

    path: Path
    name: str
    folder: Path
    mpp: float | None
    device: str
    threads: int
    step: Callable[[str], None]


@dataclass(frozen=True)
class Opened:
    """What is known of a slide before its map. density: mean optical density of its tissue, None without any;
    distance: how far that is from the training slides', None where it cannot be told.
    """

    image: Path
    width: int
    height: int
    mpp: Mpp | None
    at: Resolution
    tissue: Path
    tissue_share: float
    density: np.ndarray | None
    distance: float | None
    warnings: tuple[str, ...]


def open_order(order: Order, model: Model, work: Path) -> Opened:
    """Open the slide (a raster by way of a pyramid), find its tissue and look at its stain."""
    order.step("opening")
    image = _openable(order, work)
    with open_slide(image, order.name) as slide:
        brightfield.check(slide)
        mpp = (order.mpp, order.mpp) if order.mpp is not None else slide.tag_mpp
        at = resolution(slide, model.card, mpp)
        warnings = mpp_warnings(slide, model.card, at, mpp, order.mpp is not None) + running_warnings(model.maps)
        warnings += size_warnings(model.point, mpp)
        order.step("tissue")
        check_under(slide, at_downsample(slide.level_downsamples, model.index.tissue.downsample), *_everywhere(slide))
        tissue = find_tissue(slide, _tissue_settings(model, mpp, warnings), mpp)
        save_tissue(tissue, work / "tissue.png")
        density = _density(slide, at, tissue, model.index)
        distance = None if density is None else stain_distance(density, model.stain)
        if density is None:
            warnings.append("no tissue found: nothing was looked at, every figure is 0 or null")
        else:
            warnings += stain_warnings(distance, model.stain)
        return Opened(
            image=image,
            width=slide.width,
            height=slide.height,
            mpp=mpp,
            at=at,
            tissue=work / "tissue.png",
            tissue_share=float(tissue.mask.mean()),
            density=density,
            distance=distance,
            warnings=tuple(warnings),
        )


def _openable(order: Order, work: Path) -> Path:
    """Return the slide itself where OpenSlide opens it, or a pyramid made of a PNG, JPEG or TIFF raster."""
    if order.path.is_dir():
        raise SlideError(f"slide {order.name}: {order.path} is a folder; give the slides' files, such as FOLDER/*.svs")
    if not order.path.exists():
        raise SlideError(f"slide {order.name}: {order.path} is not there; check the path, or mount its disk")
    try:
        Slide(order.path, order.name).close()
        return order.path
    except SlideError as error:
        try:
            width, height = declared_size(order.path)
        except SlideError:  # no raster either: what OpenSlide said is the reason
            raise error from None
    if width * height > MAX_RASTER_PX:
        raise SlideError(
            f"slide {order.name}: {width} x {height} px, more than the {MAX_RASTER_PX} px that a PNG, JPEG or TIFF may "
            "have here; convert it to a tiled pyramid"
        )
    to_pyramid(order.path, work / "pyramid.tif", PYRAMID_QUALITY)
    return work / "pyramid.tif"


def _tissue_settings(model: Model, mpp: Mpp | None, warnings: list[str]) -> params.Tissue:
    """Return how tissue is found; specks cannot be measured in um2 on a slide without um/px."""
    settings = model.index.tissue
    if settings.method == "annotation":
        warnings.append("the model's tissue came from annotations; this slide's is found by density")
        settings = settings.model_copy(update={"method": "density"})
    if mpp is None and settings.min_area_um2 > 0:
        warnings.append(f"specks of tissue below {settings.min_area_um2:g} um2 are kept: um/px unknown")
        return settings.model_copy(update={"min_area_um2": 0.0})
    return settings


def _density(slide: SlidePixels, at: Resolution, tissue: TissueMask, index: params.Index) -> np.ndarray | None:
    """Return the mean optical density of patches as training had them, evenly taken; None without tissue."""
    every = squares(SlideFacts(slide.slide_id, "test", slide.width, slide.height), at, index)
    share = tissue.fractions(every.inner_x0, every.inner_y0, every.inner_edge0)
    enough = np.flatnonzero(share >= max(index.min_tissue_fraction, 1e-9))
    enough = enough if enough.size else np.flatnonzero(share > 0)
    if not enough.size:
        return None
    chosen = enough[np.unique(np.linspace(0, enough.size - 1, STAIN_PATCHES).astype(np.int64))]
    places = zip(every.x0[chosen].tolist(), every.y0[chosen].tolist(), strict=True)
    edge = index.patch_px
    return optical_density(slide.read(x0, y0, edge, edge, at) for x0, y0 in places)


def _everywhere(slide: SlidePixels) -> tuple[np.ndarray, np.ndarray, float]:
    return np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), float(max(slide.width, slide.height))
