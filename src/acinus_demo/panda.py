"""The panda demonstration cohort: prostate needle biopsies in PANDA's disk layout."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from acinus import seeds
from acinus.files import write_text
from acinus.params import PandaDemo
from acinus_demo import histology, prostate, pyramid, render, stain
from acinus_demo.ground import GRID_PX, grid_shape
from acinus_demo.prostate import Architecture, Core
from acinus_demo.stain import Stain
from acinus_demo.texture import stream

Provider = Literal["karolinska", "radboud"]
PROVIDERS: tuple[Provider, ...] = ("karolinska", "radboud")
MPP = {"karolinska": (0.4520, 0.5032), "radboud": (0.4862, 0.4862)}  # the scanners of PANDA
QUALITY = 80

# ISUP 0..5 -> the mixtures of patterns that amount to it, as shares of the cancer
MIXTURES: tuple[tuple[dict[int, float], ...], ...] = (
    ({},),
    ({3: 1.0},),
    ({3: 0.64, 4: 0.36}, {3: 0.70, 4: 0.30}),
    ({3: 0.32, 4: 0.68}, {3: 0.38, 4: 0.62}),
    ({4: 1.0}, {3: 0.66, 5: 0.34}, {3: 0.34, 5: 0.66}),
    ({4: 0.66, 5: 0.34}, {4: 0.34, 5: 0.66}, {5: 1.0}),
)

PATTERNS = (3, 4, 5)
SECONDARY_SHARE = 0.05  # a second pattern is named from this share of the cancer on
ISUP = {"3+3": 1, "3+4": 2, "4+3": 3, "4+4": 4, "3+5": 4, "5+3": 4, "4+5": 5, "5+4": 5, "5+5": 5}

# factors on the optical densities of haematoxylin and eosin in R, G, B: one laboratory's stain is
# bluish and strong, the other's pink and light
LABORATORY: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "karolinska": ((1.12, 1.02, 0.86), (1.50, 0.88, 0.80)),
    "radboud": ((0.92, 0.96, 1.12), (0.75, 0.98, 1.30)),
}


@dataclasses.dataclass(frozen=True)
class SlidePlan:
    """All that is needed to draw one slide; paths are relative to the root."""

    slide_id: str
    provider: Provider
    isup: int  # what the mixture of patterns is planned to amount to
    size: tuple[int, int]  # width, height
    mpp: float
    seed: int
    cores: tuple[Core, ...]
    has_mask: bool

    @property
    def image(self) -> str:
        """Path of the picture."""
        return f"train_images/{self.slide_id}.tiff"

    @property
    def mask(self) -> str | None:
        """Path of the label mask, if there is one."""
        return f"train_label_masks/{self.slide_id}_mask.tiff" if self.has_mask else None


def plan(seed: int, settings: PandaDemo) -> list[SlidePlan]:
    """Return the plans of all slides in drawing order; cheap, and the same for the same arguments.

    Slide after slide runs through ISUP 0 to 5, first of one provider, then of the other: 36 slides are
    three of each ISUP and provider. The first Radboud slide of ISUP 1 has no mask: a real case of PANDA.
    """
    return [_plan_slide(seed, settings, number) for number in range(settings.slides)]


def _plan_slide(seed: int, settings: PandaDemo, number: int) -> SlidePlan:
    isup, provider, turn = number % 6, PROVIDERS[number // 6 % 2], number // 12
    own_seed = seeds.derive(seed, "demo", "panda", number)
    rng = stream(own_seed, "layout")
    width, height = (edge + 2 * int(rng.integers(0, 13)) for edge in (settings.width_px, settings.height_px))
    size = (width + (width % 4 == 0), height + (height % 4 == 0))  # so that no downsample is a whole number
    mpp = MPP[provider][turn % 2]
    mixture = MIXTURES[isup][turn % len(MIXTURES[isup])]
    return SlidePlan(
        slide_id="".join(f"{seeds.derive(own_seed, 'id', part):016x}" for part in "ab"),
        provider=provider,
        isup=isup,
        size=size,
        mpp=mpp,
        seed=own_seed,
        cores=prostate.plan_cores(rng, (size[0] * mpp, size[1] * mpp), mixture),
        has_mask=(provider, isup, turn) != ("radboud", 1, 0),
    )


def architecture(slide: SlidePlan) -> Architecture:
    """Return the glands of a slide on the ground's grid."""
    strips = prostate.strips(stream(slide.seed, "strips"), grid_shape(slide.size), slide.mpp, slide.cores)
    return prostate.glands(stream(slide.seed, "glands"), strips)


def labels(slide: SlidePlan, drawn: Architecture) -> NDArray[np.uint8]:
    """Return a slide's true classes (h, w): 0 glass, 1 stroma, 2 benign epithelium, 3, 4, 5 the patterns."""
    return _enlarged(slide, drawn.labels())


def _enlarged(slide: SlidePlan, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return plane.repeat(GRID_PX, axis=0).repeat(GRID_PX, axis=1)[: slide.size[1], : slide.size[0]]


def provider_mask(slide: SlidePlan, drawn: Architecture) -> NDArray[np.uint8]:
    """Return a slide's mask (h, w) in its provider's codes.

    Radboud outlines glands: 0 background, 1 stroma, 2 benign epithelium, 3, 4, 5 Gleason patterns.
    Karolinska outlines regions: 0 background, 1 benign tissue, 2 cancer with the stroma in it.
    """
    if slide.provider == "radboud":
        return labels(slide, drawn)
    region = np.where(drawn.strips.pattern != prostate.BENIGN, np.uint8(2), np.uint8(1))
    region[drawn.strips.depth_um <= 0] = 0
    return _enlarged(slide, region)


def grade(area: Mapping[int, int]) -> tuple[str, int]:
    """Return Gleason score and ISUP grade ("0+0" and 0 without cancer) that the patterns' areas amount to, in any unit.

    Primary is the pattern with the largest area, secondary the next one if it takes at least
    `SECONDARY_SHARE` of the cancer, else the primary again; ties go to the higher pattern.
    """
    total = sum(area.get(pattern, 0) for pattern in PATTERNS)
    if total == 0:
        return "0+0", 0
    primary, secondary, _ = sorted(PATTERNS, key=lambda pattern: (area.get(pattern, 0), pattern), reverse=True)
    if area.get(secondary, 0) < SECONDARY_SHARE * total:
        secondary = primary
    score = f"{primary}+{secondary}"
    return score, ISUP[score]


def dye(slide: SlidePlan) -> Stain:
    """Return a slide's stain: its laboratory's, and a little of its own."""
    dye = stain.vary(stream(slide.seed, "stain"), 0.6)
    haematoxylin, eosin = map(stain.scaled, (dye.haematoxylin, dye.eosin), LABORATORY[slide.provider])
    return dataclasses.replace(dye, haematoxylin=haematoxylin, eosin=eosin)


def picture(slide: SlidePlan, drawn: Architecture) -> NDArray[np.uint8]:
    """Return the slide's level-0 picture (h, w, 3) uint8."""
    section = histology.paint(stream(slide.seed, "paint"), drawn)
    canvases = histology.populate(stream(slide.seed, "cells"), slide.size, slide.mpp, section)
    tiles = render.make_tiles(stream(slide.seed, "tiles"))
    return render.render(slide.size, section.ground, *canvases, tiles, dye(slide))


def draw_slide(slide: SlidePlan, root: Path) -> None:
    """Draw one slide and, if it has one, its label mask under `root`.

    Raises:
        AcinusError: `root` cannot be written.
    """
    drawn = architecture(slide)
    pyramid.write_biopsy(root / slide.image, picture(slide, drawn), slide.mpp, QUALITY)
    if slide.mask is not None:
        pyramid.write_biopsy_mask(root / slide.mask, provider_mask(slide, drawn), slide.mpp)


def finish(plans: Sequence[SlidePlan], root: Path) -> None:
    """Write train.csv: every slide with the grade that its drawn areas amount to, sorted by id.

    A slide without cancer reads "0+0" at Karolinska and "negative" at Radboud, as in PANDA.
    """
    lines = ["image_id,data_provider,isup_grade,gleason_score"]
    for slide in sorted(plans, key=lambda slide: slide.slide_id):
        areas = np.bincount(labels(slide, architecture(slide)).ravel()).tolist()
        score, isup = grade(dict(enumerate(areas)))
        score = "negative" if isup == 0 and slide.provider == "radboud" else score
        lines.append(f"{slide.slide_id},{slide.provider},{isup},{score}")
    write_text(root / "train.csv", "".join(line + "\n" for line in lines))
