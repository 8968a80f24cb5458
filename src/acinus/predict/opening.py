"""A slide before its map: opened, its resolution, tissue and stain, and what of these makes a prediction doubtful."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from acinus import params
from acinus.annotations.frame import qupath_corner
from acinus.errors import SlideError
from acinus.learning.colour import TrainingStain, optical_density
from acinus.patches.index import SlideFacts, squares
from acinus.predict.model import Model
from acinus.regions.operating_point import ASSUMED_MPP, ENGINE, PRECISION
from acinus.slides import brightfield
from acinus.slides.formats import format_of
from acinus.slides.geometry import MPP_TOLERANCE, Resolution, at_downsample, resolve
from acinus.slides.open import SlidePixels, open_slide
from acinus.slides.pyramid import to_pyramid
from acinus.slides.raster import declared_size
from acinus.slides.slide import FileSlide
from acinus.slides.tiles import check_under
from acinus.tissue.mask import TissueMask, find_tissue, save_tissue

STEPS = ("opening", "tissue", "probability map", "regions", "grade", "picture")

MAX_RASTER_PX = 4_000_000_000
"""Largest PNG, JPEG or TIFF that is made into a pyramid: it is streamed, so this bounds the disk, not the memory."""
PYRAMID_QUALITY = 90
STAIN_PATCHES = 32

MPP_RATIO = 1.25
"""A working resolution off by more than this factor, either way, is worth a warning."""

STAIN_FAR = 3.0
STAIN_FLOOR = 0.05
"""Least deviation of a slide's mean optical density that counts as one: a few slides alike say little of others."""

Mpp = tuple[float, float]


@dataclass(frozen=True)
class Order:
    """What to predict: a slide's file, into its folder. mpp: um per level-0 px instead of the slide's own tag.

    step: told the name of every step of STEPS as it begins.
    """

    path: Path
    folder: Path
    mpp: float | None
    device: str
    step: Callable[[str], None]

    @property
    def name(self) -> str:
        """The name of the slide and of its folder."""
        return self.folder.name

    @property
    def threads(self) -> int:
        """How many threads the network takes."""
        return max(1, torch.get_num_threads())


@dataclass(frozen=True)
class Opened:
    """What is known of a slide before its map. density: mean optical density of its tissue, None without any;
    distance: how far that is from the training slides', None where it cannot be told. corner0: the level-0 px (x0, y0)
    that QuPath counts from.
    """

    image: Path
    width: int
    height: int
    mpp: Mpp | None
    at: Resolution
    tissue: Path
    density: np.ndarray | None
    distance: float | None
    warnings: tuple[str, ...]
    corner0: tuple[int, int]


def open_order(order: Order, model: Model, work: Path) -> Opened:
    """Open the slide (a raster by way of a pyramid), find its tissue and look at its stain."""
    order.step("opening")
    image = openable(order, work)
    with open_slide(image, order.name) as slide:
        brightfield.check(slide)
        mpp = (order.mpp, order.mpp) if order.mpp is not None else slide.tag_mpp
        at = resolution(slide, model.card.level, model.card.mpp, mpp)
        warnings = _resolution_warnings(slide, model, at, mpp, order.mpp is not None)
        order.step("tissue")
        corner, edge0 = np.zeros(1, dtype=np.int64), float(max(slide.width, slide.height))
        at_tissue = at_downsample(slide.level_downsamples, model.index.tissue.downsample)
        check_under(slide, at_tissue, corner, corner, edge0)  # the whole slide
        tissue = find_tissue(slide, tissue_settings(model.index, mpp, warnings), mpp)
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
            density=density,
            distance=distance,
            warnings=tuple(warnings),
            corner0=qupath_corner(slide.properties),
        )


def openable(order: Order, work: Path) -> Path:
    """Return the slide itself where it has levels, or a pyramid made of a PNG, JPEG or TIFF raster."""
    if order.path.is_dir() and format_of(order.path) is None:
        raise SlideError(f"slide {order.name}: {order.path} is a folder; give the slides' files, such as FOLDER/*.svs")
    if not order.path.exists():
        raise SlideError(f"slide {order.name}: {order.path} is not there; check the path, or mount its disk")
    try:
        with open_slide(order.path, order.name) as slide:
            if isinstance(slide, FileSlide) and not (slide.directories and slide.directories[0].tile is None):
                return order.path
            width, height = slide.width, slide.height
    except SlideError as error:
        try:
            width, height = declared_size(order.path)
        except (SlideError, OSError):  # no raster either: what the reader said is the reason
            raise error from None
    if width * height > MAX_RASTER_PX:
        raise SlideError(
            f"slide {order.name}: {width} x {height} px, more than the {MAX_RASTER_PX} px that a PNG, JPEG or TIFF may "
            "have here; convert it to a tiled pyramid"
        )
    to_pyramid(order.path, work / "pyramid.tif", PYRAMID_QUALITY)
    return work / "pyramid.tif"


def resolution(slide: SlidePixels, level: int | None, model_mpp: float | None, mpp: Mpp | None) -> Resolution:
    """Return the working resolution of a model on a slide. level, model_mpp: what the model works at, one of the two.

    Raises:
        SlideError: um/px unknown where the model is defined by them, or more resolution than the slide has.
    """
    name, mean = slide.slide_id, sum(mpp) / 2 if mpp else None
    if model_mpp is not None:
        if mean is None:
            raise SlideError(
                f"slide {name}: the model works at {model_mpp:g} um/px, and the slide does not tell its um/px "
                f"({tag_of(slide)}); give it by --mpp"
            )
        if model_mpp < mean * (1.0 - MPP_TOLERANCE):
            raise SlideError(
                f"slide {name}: the model works at {model_mpp:g} um/px, the slide has {mean:g} um/px at best; "
                "scan it finer, or use a model trained at that resolution"
            )
    elif level is not None and level >= len(slide.level_downsamples):
        raise SlideError(
            f"slide {name}: the model works at level {level}, the slide has levels 0 to "
            f"{len(slide.level_downsamples) - 1}; use a model that is defined by um/px or works at such a level"
        )
    return resolve(slide.level_downsamples, mean, level=level, mpp=model_mpp)


def tag_of(slide: SlidePixels) -> str:
    """Return what the slide's own resolution tag says, for a sentence."""
    value = slide.properties.get("openslide.mpp-x")
    return "no tag" if value is None else f"its tag says {value[:20]}"


def _resolution_warnings(slide: SlidePixels, model: Model, at: Resolution, mpp: Mpp | None, assumed: bool) -> list[str]:
    """Return what is doubtful about a slide's um/px and about the maps that the operating point was chosen on.

    assumed: um/px were given, not read from the slide.
    """
    warnings, card, maps, point = [], model.card, model.maps, model.point
    if mpp is None:
        warnings.append(f"um/px unknown ({tag_of(slide)}): areas in mm2 are null; give it by --mpp")
    elif assumed:
        warnings.append(f"um/px assumed: {mpp[0]:g} as given by --mpp ({tag_of(slide)})")
    if mpp is not None and card.mpp_mean is not None:
        works = sum(mpp) / 2 * at.downsample
        ratio = max(works / card.mpp_mean, card.mpp_mean / works)
        if ratio > MPP_RATIO:
            warnings.append(
                f"um/px far from training: the model sees {works:.3g} um/px, it was trained at {card.mpp_mean:.3g} "
                f"({ratio:.2f} x off, more than {MPP_RATIO:g})"
            )
    if (maps.precision, maps.engine) != (PRECISION, ENGINE):
        warnings.append(
            f"maps of another kind: the operating point was chosen on maps by {maps.engine} at {maps.precision}, "
            f"this one is by {ENGINE} at {PRECISION}"
        )
    if mpp is None and (point.min_region_um2 or point.max_hole_um2):
        warnings.append(
            f"regions below {point.min_region_um2:g} um2 are removed and holes up to {point.max_hole_um2:g} um2 filled "
            f"as at {ASSUMED_MPP:g} um/px: um/px unknown"
        )
    return warnings


def tissue_settings(index: params.Index, mpp: Mpp | None, warnings: list[str]) -> params.Tissue:
    """Return how tissue is found; specks cannot be measured in um2 on a slide without um/px."""
    settings = index.tissue
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


def stain_distance(density: np.ndarray, training: TrainingStain | None) -> float | None:
    """Return the Mahalanobis distance of a slide's mean optical density (3,) from the training slides'.

    STAIN_FLOOR squared is added to every variance. None where training tells nothing of how stains vary.
    """
    if training is None or training.mean is None or training.covariance is None:
        return None
    apart = density - np.array(training.mean, dtype=np.float64)
    covariance = np.array(training.covariance, dtype=np.float64) + STAIN_FLOOR**2 * np.eye(3)
    return float(np.sqrt(apart @ np.linalg.solve(covariance, apart)))


def stain_warnings(distance: float | None, training: TrainingStain | None) -> list[str]:
    """Return what is doubtful about a slide's stain. distance: of `stain_distance`."""
    if training is None:
        return ["stain not judged: no stain.json beside the model's weights; copy it there, or train again"]
    if distance is None:
        slides = f"{training.n} slide{'' if training.n == 1 else 's'}"
        return [f"stain not judged: the model was trained on {slides}, which does not tell how stains vary"]
    if distance <= STAIN_FAR:
        return []
    return [
        f"stain far from training: mean optical density is {distance:.1f} deviations (Mahalanobis) from the training "
        f"slides', more than {STAIN_FAR:g}; look at the picture before trusting the figures"
    ]
