"""The rgb_mask demonstration cohort: biopsies beside colour-coded masks of the same size."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from acinus import seeds
from acinus.files import atomic_path, write_text
from acinus.params import RgbMaskDemo
from acinus_demo import layout, nuclei, render, stain, tissues
from acinus_demo.texture import stream

# background, yellow, grey, green, blue, red: the data set's own names, in class order
COLOURS = ((0, 0, 0), (255, 255, 0), (150, 150, 150), (0, 255, 0), (0, 0, 255), (0, 150, 255))
SIZE_STEPS = ((0, 0), (46, -28), (-18, 30))  # no two neighbours of the list have the same size
Split = Literal["train", "val", "test"]
MaskForm = Literal["rgb", "palette", "alpha", "blended"]
MASK_FORMS: tuple[MaskForm, ...] = ("rgb", "blended", "palette", "alpha")  # of the first training slides


@dataclasses.dataclass(frozen=True)
class BiopsyPlan:
    """All that is needed to draw one image and its mask; paths are relative to the root."""

    slide_id: str
    split: Split
    patient: str
    image: str
    mask: str
    mask_form: MaskForm
    size: tuple[int, int]  # width, height
    seed: int


def plan(seed: int, settings: RgbMaskDemo) -> list[BiopsyPlan]:
    """Return the plans of all images in drawing order; cheap, and the same for the same arguments."""
    plans: list[BiopsyPlan] = []
    for split in get_args(Split):
        plans += [_plan_slide(seed, settings, split, i, len(plans) + i) for i in range(getattr(settings, split))]
    return plans


def _plan_slide(seed: int, settings: RgbMaskDemo, split: Split, number: int, overall: int) -> BiopsyPlan:
    slide_id = f"biopsy_{overall + 1:03d}"
    suffix = ".jpg" if (split, number) == ("train", 4) else ".tif" if (split, number) == ("test", 1) else ".png"
    wider, taller = SIZE_STEPS[overall % len(SIZE_STEPS)]
    in_pairs = number - number % 2 if split == "train" else number  # two training biopsies per patient
    return BiopsyPlan(
        slide_id=slide_id,
        split=split,
        patient=f"{split}_{in_pairs + 1:02d}",
        image=f"images/{slide_id}{suffix}",
        mask=f"masks/{slide_id}.png",
        mask_form=MASK_FORMS[number] if split == "train" and number < len(MASK_FORMS) else "rgb",
        size=(settings.width_px + wider, settings.height_px + taller),
        seed=seeds.derive(seed, "demo", "rgb_mask", slide_id),
    )


def picture(slide: BiopsyPlan) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return an image (h, w, 3) and the class of each of its pixels (h, w), drawn from the plan alone."""
    rings = layout.tissue(stream(slide.seed, "outline"), slide.size, 1)
    labels, owner = tissues.divide(stream(slide.seed, "territories"), slide.size, rings)
    section = tissues.build(stream(slide.seed, "tissues"), labels, owner)
    rng = stream(slide.seed, "cells")
    canvases = nuclei.populate(rng, slide.size, tissues.MPP, section, tissues.SPACING_UM, tissues.LOOKS)
    tiles = render.make_tiles(stream(slide.seed, "tiles"))
    dye = stain.vary(stream(slide.seed, "stain"))
    return render.render(slide.size, section.ground, *canvases, tiles, dye), labels


def draw_slide(slide: BiopsyPlan, root: Path) -> None:
    """Draw one image and its mask under `root`.

    Raises:
        AcinusError: `root` cannot be written.
    """
    pixels, labels = picture(slide)
    with atomic_path(root / slide.image) as part:
        if part.suffix == ".tif":
            # strips, which OpenSlide does not open
            tifffile.imwrite(part, pixels, photometric="rgb", rowsperstrip=64, compression="zlib", metadata=None)
        elif part.suffix == ".jpg":
            Image.fromarray(pixels).save(part, quality=95, subsampling=0)
        else:
            Image.fromarray(pixels).save(part, compress_level=1)
    with atomic_path(root / slide.mask) as part:
        coded(labels, slide.mask_form).save(part, compress_level=6)


def coded(labels: NDArray[np.uint8], form: MaskForm) -> Image.Image:
    """Return class indices (h, w) as a picture in the colour code."""
    if form == "palette":
        indexed = Image.fromarray(labels, "P")
        indexed.putpalette([value for colour in COLOURS for value in colour])
        return indexed
    rgb = np.array(COLOURS, np.uint8)[labels]
    if form == "alpha":
        return Image.fromarray(np.concatenate([rgb, np.full((*labels.shape, 1), 255, np.uint8)], axis=2))
    return Image.fromarray(blend(blend(rgb)) if form == "blended" else rgb)


def blend(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the 3 x 3 mean, rounded down: what a drawing program's smooth edges leave in a mask."""
    total = ndimage.convolve(rgb.astype(np.uint16), np.ones((3, 3, 1)), mode="nearest")
    return (total // 9).astype(np.uint8)


def finish(plans: Sequence[BiopsyPlan], root: Path) -> None:
    """Write splits.csv: slide_id, split, patient."""
    lines = [f"{slide.slide_id},{slide.split},{slide.patient}\n" for slide in plans]
    write_text(root / "splits.csv", "slide_id,split,patient\n" + "".join(lines))
