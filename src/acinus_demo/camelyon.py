"""The camelyon demonstration cohort: lymph nodes with metastases in CAMELYON16's disk layout."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from acinus import seeds
from acinus.files import write_text
from acinus.params import CamelyonDemo
from acinus_demo import artefacts, layout, node, nuclei, pyramid, render, stain
from acinus_demo.layout import Lesion, Wish
from acinus_demo.outline import Outline, Ring, write_asap
from acinus_demo.texture import stream

MACRO_UM = 2000.0  # CAMELYON16: a macro-metastasis is wider than 2 mm
MPP_FACTORS = (0.972, 1.0, 1.028)  # slides of several scanners
Split = Literal["training", "testing"]


@dataclasses.dataclass(frozen=True)
class SlidePlan:
    """All that is needed to draw one slide; rings are level-0 pixels, paths are relative to the root."""

    slide_id: str
    split: Split
    image: str
    annotation: str | None
    size: tuple[int, int]  # width, height
    mpp: float
    seed: int
    tissue: tuple[Ring, ...]
    lesions: tuple[Lesion, ...]
    fold: bool
    pen: bool
    histology: str | None

    @property
    def extent(self) -> str | None:
        """Macro, Micro or None, by the widest lesion."""
        if not self.lesions:
            return None
        widest = max(float(pdist(lesion.ring).max()) for lesion in self.lesions) * self.mpp
        return "Macro" if widest > MACRO_UM else "Micro"


def plan(seed: int, settings: CamelyonDemo) -> list[SlidePlan]:
    """Return the plans of all slides in drawing order; cheap, and the same for the same arguments."""
    plans = [_plan_slide(seed, settings, "training", True, i) for i in range(settings.training_tumor)]
    plans += [_plan_slide(seed, settings, "training", False, i) for i in range(settings.training_normal)]
    kinds = [True] * settings.test_tumor + [False] * settings.test_normal
    order = stream(seed, "demo", "camelyon", "order").permutation(len(kinds))
    plans += [_plan_slide(seed, settings, "testing", kinds[k], i) for i, k in enumerate(order.tolist())]
    return plans


def _wish(split: Split, number: int, rng: np.random.Generator) -> Wish:
    """Return what slide `number` of a split's tumour slides has to show; the first ones carry the rarities."""
    several = int(rng.integers(1, 4))
    if split == "testing":
        return Wish(max(2, several), hole_group="_2" if number % 2 else None, at_border=number % 2 == 0)
    rarities = (
        Wish(2, small=True, hole_group="_2"),
        Wish(2, close_pair=True),
        Wish(2, hole_group="Exclusion", at_border=True),
    )
    return rarities[number] if number < len(rarities) else Wish(max(2, several), at_border=number % 2 == 0)


def _plan_slide(seed: int, settings: CamelyonDemo, split: Split, tumour: bool, number: int) -> SlidePlan:
    kind = "test" if split == "testing" else "tumor" if tumour else "normal"
    slide_id = f"{kind}_{number + 1:03d}"
    own_seed = seeds.derive(seed, "demo", "camelyon", slide_id)
    rng = stream(own_seed, "layout")
    edge = settings.size_px
    size = {1: (edge + edge // 16, edge), 3: (edge + edge // 40 + 2, edge + edge // 20)}.get(number % 4, (edge, edge))
    mpp = round(settings.mpp * MPP_FACTORS[int(rng.integers(3))], 4)
    wish = _wish(split, number, rng) if tumour else Wish()
    rings = layout.tissue(rng, size, 2 if rng.random() < 0.4 and not wish.close_pair else 1)
    folder = "testing/images" if split == "testing" else f"training/{kind}"
    return SlidePlan(
        slide_id=slide_id,
        split=split,
        image=f"{folder}/{slide_id}.tif",
        annotation=f"{split}/lesion_annotations/{slide_id}.xml" if tumour else None,
        size=size,
        mpp=mpp,
        seed=own_seed,
        tissue=rings,
        lesions=layout.lesions(rng, size, rings, mpp, wish),
        fold=number % 3 == 1,
        pen=number % 4 == 2,
        histology=("IDC" if rng.random() < 0.7 else "ILC") if tumour else None,
    )


def picture(slide: SlidePlan) -> NDArray[np.uint8]:
    """Return the slide's level-0 picture (h, w, 3) uint8, drawn from its plan alone."""
    section = node.build(stream(slide.seed, "node"), slide.size, slide.tissue, slide.lesions)
    if slide.fold:
        artefacts.fold(stream(slide.seed, "fold"), section.ground)
    ink = artefacts.pen(stream(slide.seed, "pen"), section.ground) if slide.pen else None
    rng = stream(slide.seed, "cells")
    canvases = nuclei.populate(rng, slide.size, slide.mpp, section, node.SPACING_UM, node.LOOKS)
    tiles = render.make_tiles(stream(slide.seed, "tiles"))
    dye = stain.vary(stream(slide.seed, "stain"))
    return render.render(slide.size, section.ground, *canvases, tiles, dye, ink)


def draw_slide(slide: SlidePlan, root: Path) -> None:
    """Draw one slide and, if it has lesions, its ASAP XML under `root`.

    Raises:
        AcinusError: `root` cannot be written.
    """
    pyramid.write_pyramid(root / slide.image, picture(slide), slide.mpp)
    if slide.annotation is not None:
        write_asap(root / slide.annotation, outlines(slide))


def outlines(slide: SlidePlan) -> list[Outline]:
    """Return a slide's annotation: every lesion as `_0`, each followed by what is cut out of it."""
    return [ring for lesion in slide.lesions for ring in (Outline("_0", lesion.ring), *lesion.holes)]


def finish(plans: Sequence[SlidePlan], root: Path) -> None:
    """Write testing/reference.csv: id, Normal or Tumor, histological type, extent; no header."""
    lines = [
        f"{slide.slide_id},{'Tumor' if slide.lesions else 'Normal'},{slide.histology},{slide.extent}\n"
        for slide in sorted(plans, key=lambda slide: slide.slide_id)
        if slide.split == "testing"
    ]
    write_text(root / "testing" / "reference.csv", "".join(lines))
